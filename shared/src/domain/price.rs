//! Prices and sums of prices.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

// A string, because a binary float cannot represent most decimals.
/// An amount of money from 0 to 9999999999.99, as a string with two decimals such as `"100.00"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = r"^[0-9]+\.[0-9]{2}$", example = "100.00")]
pub struct Price(Decimal);

/// A sum of prices, such as the total of a booking. It looks like a price, but may exceed the largest price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Amount(Decimal);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an amount such as \"100.00\": not negative, at most 99999999999999.99, at most two decimals"
)]
pub struct AmountError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an amount such as \"100.00\": not negative, at most 9999999999.99, at most two decimals")]
pub struct PriceError;

impl Price {
    /// The largest price in hundredths: the limit of `numeric(12, 2)` in the database.
    const MAX_HUNDREDTHS: i64 = 999_999_999_999;

    pub fn new(amount: Decimal) -> Result<Self, PriceError> {
        let mut exact = amount.normalize();
        if exact.scale() > 2 || exact.is_sign_negative() && !exact.is_zero() {
            return Err(PriceError);
        }
        if exact > Decimal::new(Self::MAX_HUNDREDTHS, 2) {
            return Err(PriceError);
        }
        exact.rescale(2);
        exact.set_sign_positive(true);
        Ok(Self(exact))
    }

    /// A price from the database or from a worker's announcement, which is not validated.
    pub fn from_stored(amount: Decimal) -> Self {
        Self(in_hundredths(amount))
    }

    /// For serde: like [`Self::from_stored`], for an announced price.
    pub(super) fn deserialize_stored<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        decimal(deserializer).map(Self::from_stored)
    }

    pub fn amount(self) -> Decimal {
        self.0
    }

    /// The price of `count` seats.
    #[must_use]
    pub fn times(self, count: u32) -> Amount {
        // A decimal holds 10¹⁶ times the largest price. A larger stored price saturates.
        Amount(in_hundredths(self.0.saturating_mul(Decimal::from(count))))
    }
}

impl Amount {
    /// Digits before the decimal point that a client may send: the total of 10 000 seats has as many.
    const DIGITS_MAX: usize = 14;

    /// Parses an amount that a client has sent.
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "00"));
        let is_number = |digits: &str, max| {
            (1..=max).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit())
        };
        if !is_number(whole, Self::DIGITS_MAX) || !is_number(decimals, 2) {
            return Err(AmountError);
        }
        Decimal::from_str(text).map(|amount| Self(in_hundredths(amount))).map_err(|_| AmountError)
    }

    /// The sum of these prices. One that no decimal can hold saturates.
    pub fn sum(prices: impl IntoIterator<Item = Price>) -> Self {
        let sum = prices.into_iter().fold(Decimal::ZERO, |sum, price| sum.saturating_add(price.0));
        Self(in_hundredths(sum))
    }
}

/// Extends `amount` to two decimals; keeps any further ones.
fn in_hundredths(amount: Decimal) -> Decimal {
    let mut exact = amount.normalize();
    if exact.scale() < 2 {
        exact.rescale(2);
    }
    exact
}

fn decimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for Price {
    type Error = PriceError;

    fn try_from(text: String) -> Result<Self, PriceError> {
        Decimal::from_str(&text).map_err(|_| PriceError).and_then(Self::new)
    }
}

impl From<Price> for String {
    fn from(price: Price) -> Self {
        price.to_string()
    }
}

/// Only workers write amounts, so any number is accepted.
impl TryFrom<String> for Amount {
    type Error = rust_decimal::Error;

    fn try_from(text: String) -> Result<Self, rust_decimal::Error> {
        Ok(Self(in_hundredths(text.parse()?)))
    }
}

impl From<Amount> for String {
    fn from(amount: Amount) -> Self {
        amount.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(text: &str) -> Result<Price, PriceError> {
        Price::try_from(text.to_owned())
    }

    #[test]
    fn a_price_is_shown_with_two_decimals() {
        for (given, shown) in
            [("100", "100.00"), ("50.5", "50.50"), ("0", "0.00"), ("-0", "0.00"), ("1.230", "1.23")]
        {
            assert_eq!(price(given).unwrap().to_string(), shown);
        }
        assert_eq!(price("50.00").unwrap().times(3).to_string(), "150.00");
    }

    #[test]
    fn an_amount_holds_the_total_of_any_booking_and_survives_serialisation() {
        let largest = price("9999999999.99").unwrap();
        for (sum, written) in [
            (largest.times(10), "\"99999999999.90\""),
            (largest.times(u32::MAX), "\"42949672949957050327.05\""),
            (price("0").unwrap().times(3), "\"0.00\""),
        ] {
            assert_eq!(serde_json::to_string(&sum).unwrap(), written);
            assert_eq!(serde_json::from_str::<Amount>(written).unwrap(), sum);
        }
    }

    #[test]
    fn an_amount_from_a_client_looks_like_a_price_and_may_be_larger() {
        let shown = |text| Amount::parse(text).map(|amount| amount.to_string());
        for (given, expected) in
            [("0", "0.00"), ("20", "20.00"), ("150.5", "150.50"), ("99999999999999.99", "99999999999999.99")]
        {
            assert_eq!(shown(given).unwrap(), expected);
        }
        for bad in [
            "",
            " ",
            "ten",
            "-1",
            "-0.01",
            "-0",
            "+1",
            "1.234",
            "1.000",
            "1.",
            ".5",
            "1_0",
            "100000000000000",
            "NaN",
            "1e3",
            "€ 20",
            "20,00",
            "1.2.3",
        ] {
            assert_eq!(shown(bad), Err(AmountError), "{bad}");
        }
    }

    #[test]
    fn a_sum_equals_the_amount_that_a_client_sends_for_it() {
        let prices = ["50.00", "10.5", "0"].map(|text| price(text).unwrap());
        for spelling in ["60.5", "60.50", "060.50"] {
            assert_eq!(Amount::sum(prices), Amount::parse(spelling).unwrap(), "{spelling}");
        }
        assert_ne!(Amount::sum(prices), Amount::parse("60.49").unwrap());
        let largest = Price::from_stored(Decimal::MAX);
        assert!(Amount::sum([largest, largest]).to_string().starts_with(&Decimal::MAX.to_string()));
    }

    #[test]
    fn a_stored_price_is_not_validated_and_is_shown_with_two_decimals() {
        for (stored, shown) in
            [("-1", "-1.00"), ("0", "0.00"), ("10000000000", "10000000000.00"), ("1.234", "1.234")]
        {
            assert_eq!(Price::from_stored(stored.parse().unwrap()).to_string(), shown);
        }
        assert!(Price::from_stored(Decimal::MAX).times(2).to_string().starts_with(&Decimal::MAX.to_string()));
    }

    #[test]
    fn an_invalid_price_is_rejected() {
        for bad in ["", "ten", "-1", "1.234", "10000000000", "NaN"] {
            assert_eq!(price(bad), Err(PriceError), "{bad}");
        }
    }
}
