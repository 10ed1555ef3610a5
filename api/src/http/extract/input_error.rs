//! Why the fields of a request cannot be read, in words that say what to write. Serde's own texts name Rust types.

use std::fmt::{self, Display};

use hamro_shared::domain::ConcertId;
use serde::de::{Error, Expected, Unexpected};

use super::path_param::PathParam;

/// Why a value cannot be read.
#[derive(Debug)]
pub struct InputError {
    /// The field, if it is missing or duplicate. Otherwise it is the one at the path of the error.
    pub field: Option<&'static str>,
    pub detail: String,
}

impl InputError {
    pub fn new(detail: impl Into<String>) -> Self {
        Self { field: None, detail: detail.into() }
    }
}

const WHOLE_NUMBER: &str = "must be a whole number such as 21";

/// What to write, for what a type's visitor expects. The texts are those of serde and uuid.
fn form(expected: &str) -> String {
    match expected {
        "a string" | "a borrowed string" | "a character" => "must be a text in quotes".to_owned(),
        "a boolean" => "must be true or false".to_owned(),
        "a sequence" => "must be a list".to_owned(),
        "i32" => format!("{WHOLE_NUMBER}, at most {}", i32::MAX),
        "i8" | "i16" | "i64" | "u8" | "u16" | "u32" | "u64" | "isize" | "usize" => WHOLE_NUMBER.to_owned(),
        "f32" | "f64" | "a JSON number" => "must be a number".to_owned(),
        text if text.contains("UUID") => ConcertId::FORM.to_owned(),
        text if text.starts_with("struct ") || text == "a map" => "must be an object".to_owned(),
        text if text.starts_with("must ") => text.to_owned(),
        _ => "has the wrong type: /openapi.json describes it".to_owned(),
    }
}

impl Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for InputError {}

impl Error for InputError {
    /// The text of a type that validates its value, which begins with `must`. The text of any other type is not meant
    /// for clients.
    fn custom<T: Display>(text: T) -> Self {
        Self::new(form(&text.to_string()))
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(form(&expected.to_string()))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(form(&expected.to_string()))
    }

    fn invalid_length(_: usize, _: &dyn Expected) -> Self {
        Self::new("has the wrong number of items: /openapi.json describes it")
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::new(format!("must be one of {}", known.join(", ")))
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::new(format!("has an unknown field; the known ones are {}", known.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self { field: Some(field), detail: "is required".to_owned() }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self { field: Some(field), detail: "is given more than once".to_owned() }
    }
}
