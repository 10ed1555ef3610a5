//! An optional field of an update. Clients of the earlier system do not know the fields that were added since, so a
//! missing field keeps its value, and only an explicit `null` clears it.

use serde::{Deserialize, Deserializer};

/// A field of a JSON body, where a missing field differs from `null`. Needs `#[serde(default)]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Field<T> {
    #[default]
    Missing,
    Null,
    Value(T),
}

impl<T> Field<T> {
    /// The value of the field, if the body has one.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Missing | Self::Null => None,
        }
    }

    /// Parses the value, if the body has one.
    pub fn parse<U, E>(self, parse: impl FnOnce(T) -> Result<U, E>) -> Result<Field<U>, E> {
        Ok(match self {
            Self::Missing => Field::Missing,
            Self::Null => Field::Null,
            Self::Value(value) => Field::Value(parse(value)?),
        })
    }

    /// The new value of a field whose value is `stored`.
    pub fn merge(self, stored: Option<T>) -> Option<T> {
        match self {
            Self::Missing => stored,
            Self::Null => None,
            Self::Value(value) => Some(value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        field: Field<i32>,
    }

    #[test]
    fn a_missing_field_keeps_its_value_and_null_clears_it() {
        let merge = |json: &str| serde_json::from_str::<Body>(json).unwrap().field.merge(Some(1));
        assert_eq!(merge("{}"), Some(1));
        assert_eq!(merge(r#"{"field":null}"#), None);
        assert_eq!(merge(r#"{"field":2}"#), Some(2));
        assert!(serde_json::from_str::<Body>(r#"{"field":"2"}"#).is_err());
    }
}
