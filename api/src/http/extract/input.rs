//! A parsed JSON value or query, as the source of a request's fields.
//!
//! Its deserializer differs from that of `serde_json` in two ways. A whole number may be written as `21.0` or `2.1e1`, as
//! JSON Schema defines integers. And errors are [`InputError`]s, which say what to write.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer, StringDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::Number;

use super::input_error::InputError;
use crate::http::problem::FieldError;

/// A value. An object keeps duplicate fields, so that they can be reported.
#[derive(Clone)]
pub enum Input {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Input>),
    Object(Vec<(String, Input)>),
}

impl Input {
    /// Reads the fields of `T`, all of which are optional, or returns what is wrong with each.
    pub fn parse<T: DeserializeOwned>(mut self) -> Result<T, Vec<FieldError>> {
        let mut errors: Vec<FieldError> = Vec::new();
        loop {
            match self.clone().parse_until_error() {
                Ok(value) if errors.is_empty() => return Ok(value),
                Ok(_) => return Err(errors),
                // The field is duplicate, or must not be null.
                Err(error)
                    if errors.iter().any(|known| top_level(&known.field) == top_level(&error.field)) =>
                {
                    return Err(errors);
                }
                Err(error) => {
                    let is_cleared = self.clear(&error.field);
                    errors.push(error);
                    if !is_cleared {
                        return Err(errors);
                    }
                }
            }
        }
    }

    fn parse_until_error<T: DeserializeOwned>(self) -> Result<T, FieldError> {
        serde_path_to_error::deserialize(self).map_err(|error| {
            let path = error.path().to_string();
            let InputError { field, detail } = error.into_inner();
            // The path of a missing or duplicate field may be that of its object, or its own.
            let field = match (path.as_str(), field) {
                (".", None) => "body".to_owned(),
                (".", Some(field)) => field.to_owned(),
                (_, Some(field)) if !path.ends_with(field) => format!("{path}.{field}"),
                _ => path,
            };
            FieldError { field, detail }
        })
    }

    /// Removes the value of the field that contains this one. Returns false if it has none.
    fn clear(&mut self, path: &str) -> bool {
        let Self::Object(fields) = self else { return false };
        let field = fields.iter_mut().find(|(name, _)| name == top_level(path));
        let is_found = field.is_some();
        if let Some((_, value)) = field {
            *value = Self::Null;
        }
        is_found
    }
}

/// The field of the body that contains the field at this path.
fn top_level(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or_default()
}

impl IntoDeserializer<'_, InputError> for Input {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Input {
    type Error = InputError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InputError> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Number(number) => visit_number(&number, visitor),
            Self::Text(text) => visitor.visit_string(text),
            Self::List(values) => visitor.visit_seq(SeqDeserializer::new(values.into_iter())),
            Self::Object(fields) => visitor.visit_map(MapDeserializer::new(fields.into_iter())),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InputError> {
        match self {
            Self::Null => visitor.visit_none(),
            value => visitor.visit_some(value),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, InputError> {
        visitor.visit_newtype_struct(self)
    }

    /// Not from a list of the fields' values, which serde would accept.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, InputError> {
        match self {
            Self::Object(_) => self.deserialize_any(visitor),
            _ => Err(InputError::new("must be an object")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, InputError> {
        match self {
            Self::Text(text) => visitor.visit_enum(StringDeserializer::new(text)),
            _ => Err(InputError::unknown_variant("", variants)),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

/// Visits an integer if the number is whole, in whatever notation.
fn visit_number<'de, V: Visitor<'de>>(number: &Number, visitor: V) -> Result<V::Value, InputError> {
    /// Up to here, every whole number has an exact `f64`.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Some(number) = number.as_u64() {
        return visitor.visit_u64(number);
    }
    if let Some(number) = number.as_i64() {
        return visitor.visit_i64(number);
    }
    let number = number.as_f64().unwrap_or(f64::INFINITY);
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "the number is whole and in the range of i64")]
        return visitor.visit_i64(number as i64);
    }
    visitor.visit_f64(number)
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputVisitor)
    }
}

struct InputVisitor;

impl<'de> Visitor<'de> for InputVisitor {
    type Value = Input;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Input, E> {
        Ok(Input::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Input, E> {
        Ok(Input::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Input, E> {
        Ok(Input::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Input, E> {
        Ok(Input::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Input, E> {
        Number::from_f64(value).map(Input::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Input, E> {
        Ok(Input::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Input, E> {
        Ok(Input::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Input, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = values.next_element()? {
            list.push(value);
        }
        Ok(Input::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Input, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = members.next_entry()? {
            fields.push(field);
        }
        Ok(Input::Object(fields))
    }
}
