//! Money.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An amount of money: zero or more, at most 9 999 999 999.99, to the hundredth. On the wire a decimal string
/// (`"100.00"`), since a binary float cannot hold one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = r"^[0-9]+\.[0-9]{2}$", example = "100.00")]
pub struct Price(Decimal);

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

    pub fn amount(self) -> Decimal {
        self.0
    }

    /// The price of `count` of these. Cannot overflow: a decimal has room for 10¹⁶ times the largest price.
    #[must_use]
    pub fn times(self, count: u32) -> Self {
        Self(self.0 * Decimal::from(count))
    }
}

impl fmt::Display for Price {
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
    fn what_is_no_price_is_refused() {
        for bad in ["", "ten", "-1", "1.234", "10000000000", "NaN"] {
            assert_eq!(price(bad), Err(PriceError), "{bad}");
        }
    }
}
