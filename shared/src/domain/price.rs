//! Money.

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

/// A sum of prices, such as what a booking costs. It has the form of a price and holds any sum of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Amount(Decimal);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an amount such as \"100.00\": not negative, at most 9999999999.99, at most two decimals")]
pub struct PriceError;

impl Price {
    /// The largest amount, in hundredths: what the database's `numeric(12, 2)` holds.
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

    /// A price that was stored, or announced by a worker.
    pub fn from_stored(amount: Decimal) -> Self {
        Self(in_hundredths(amount))
    }

    /// For serde: the announced form of [`Self::from_stored`].
    pub(super) fn deserialize_stored<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        decimal(deserializer).map(Self::from_stored)
    }

    pub fn amount(self) -> Decimal {
        self.0
    }

    /// The price of `count` of these.
    #[must_use]
    pub fn times(self, count: u32) -> Amount {
        // A decimal has room for 10¹⁶ times the largest price, and a stored one beyond that range stays at its limit.
        Amount(in_hundredths(self.0.saturating_mul(Decimal::from(count))))
    }
}

/// With exactly two decimals, where it has no more than that.
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

/// Only we write amounts, so that any number is one.
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
    fn a_price_always_shows_two_decimals() {
        for (given, shown) in
            [("100", "100.00"), ("50.5", "50.50"), ("0", "0.00"), ("-0", "0.00"), ("1.230", "1.23")]
        {
            assert_eq!(price(given).unwrap().to_string(), shown);
        }
        assert_eq!(price("50.00").unwrap().times(3).to_string(), "150.00");
    }

    #[test]
    fn a_sum_has_room_for_any_booking_and_reads_back_as_it_was_written() {
        let dearest = price("9999999999.99").unwrap();
        for (sum, written) in [
            (dearest.times(10), "\"99999999999.90\""),
            (dearest.times(u32::MAX), "\"42949672949957050327.05\""),
            (price("0").unwrap().times(3), "\"0.00\""),
        ] {
            assert_eq!(serde_json::to_string(&sum).unwrap(), written);
            assert_eq!(serde_json::from_str::<Amount>(written).unwrap(), sum);
        }
    }

    #[test]
    fn a_stored_price_is_trusted_and_has_two_decimals() {
        for (stored, shown) in
            [("-1", "-1.00"), ("0", "0.00"), ("10000000000", "10000000000.00"), ("1.234", "1.234")]
        {
            assert_eq!(Price::from_stored(stored.parse().unwrap()).to_string(), shown);
        }
        assert!(Price::from_stored(Decimal::MAX).times(2).to_string().starts_with(&Decimal::MAX.to_string()));
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for bad in ["", "ten", "-1", "1.234", "10000000000", "NaN"] {
            assert_eq!(price(bad), Err(PriceError), "{bad}");
        }
    }
}
