//! Parses JSON, and explains what is wrong with it in the words of the API.

use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::input::Input;
use crate::http::problem::{Problem, ProblemCode};

/// A byte order mark, with which some clients begin a body.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// Parses a JSON object. Serde would also accept an array, as the list of a struct's fields; that is rejected here.
pub(in crate::http) fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = utf8(bytes)?;
    if text.trim_start().starts_with('{')
        && let Ok(body) = serde_json::from_str(text)
    {
        return Ok(body);
    }
    reread(text)
}

/// Parses a body in another way that takes longer: it accepts whole numbers in any notation, and describes every error.
fn reread<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    let input = serde_json::from_str(text).map_err(|error| malformed(text, &error))?;
    let Input::Object(_) = input else {
        return Err(Problem::invalid_field("body", "must be a JSON object"));
    };
    input.parse().map_err(|errors| Problem::invalid(&errors))
}

/// The text without a byte order mark. A body in UTF-16 or UTF-32 has a null character among its first four bytes.
fn utf8(bytes: &[u8]) -> Result<&str, Problem> {
    let is_wide = bytes.iter().take(4).any(|byte| *byte == 0);
    let text = std::str::from_utf8(bytes).ok().filter(|_| !is_wide).ok_or_else(|| {
        Problem::new(ProblemCode::MalformedRequest, "The body is not valid UTF-8. Send JSON in UTF-8.")
    })?;
    Ok(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text))
}

fn malformed(text: &str, error: &serde_json::Error) -> Problem {
    let reason = error.to_string();
    let detail = if text.trim().is_empty() {
        "The body is empty. Send a JSON object.".to_owned()
    } else if error.classify() == Category::Eof {
        "The body is not valid JSON: it ends too early.".to_owned()
    } else if reason.starts_with("trailing characters") {
        "Unexpected data after the JSON object.".to_owned()
    } else if reason.starts_with("recursion limit") {
        "The body is nested too deeply.".to_owned()
    } else {
        let reason = match reason.as_str() {
            reason if reason.starts_with("number out of range") => ": the number is too large",
            reason if reason.contains("surrogate") || reason.contains("hex escape") => {
                ": the escape is only half of a surrogate pair"
            }
            reason if reason.starts_with("control character") => {
                ": a control character in a string must be written as an escape such as \\n"
            }
            _ => "",
        };
        format!("The body is not valid JSON at line {}, column {}{reason}.", error.line(), error.column())
    };
    Problem::new(ProblemCode::MalformedRequest, detail)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Body {
        ids: Option<Vec<i32>>,
        name: Option<String>,
    }

    fn detail(bytes: &[u8]) -> (u64, String) {
        let problem = read_json::<Body>(bytes).expect_err("the body is invalid").document();
        let document: Value = serde_json::to_value(problem).unwrap();
        (document["status"].as_u64().unwrap(), document["detail"].as_str().unwrap().to_owned())
    }

    #[test]
    fn a_whole_number_is_accepted_in_any_notation() {
        for number in ["21", "21.0", "2.1e1", "210E-1", "21.000"] {
            let body: Body = read_json(format!("{{\"ids\":[{number}]}}").as_bytes()).unwrap();
            assert_eq!(body.ids, Some(vec![21]), "{number}");
        }
        let body: Body = read_json(br#"{"ids":[-0.0]}"#).unwrap();
        assert_eq!(body.ids, Some(vec![0]));
        for number in ["21.5", "1e30", "2147483648", "2147483648.0", "\"21\"", "null", "true", "[]"] {
            let (status, detail) = detail(format!("{{\"ids\":[{number}]}}").as_bytes());
            assert_eq!(status, 422, "{number}");
            assert!(detail.starts_with("ids[0] must be a whole number"), "{number}: {detail}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_another_encoding_is_named() {
        let body: Body = read_json("\u{feff} {\"ids\":[]}".as_bytes()).unwrap();
        assert_eq!(body.ids, Some(Vec::new()));
        let little: Vec<u8> = "{\"ids\":[]}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = "\u{feff}{\"ids\":[]}".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [little, big, b"{\"ids\":[],\"name\":\"\xff\"}".to_vec()] {
            assert_eq!(detail(&bytes), (400, "The body is not valid UTF-8. Send JSON in UTF-8.".to_owned()));
        }
    }

    #[test]
    fn malformed_json_is_explained() {
        let deep = format!("{{\"ids\":{}", "[".repeat(1_000));
        for (body, expected) in [
            ("", "The body is empty. Send a JSON object."),
            ("\u{feff}", "The body is empty. Send a JSON object."),
            ("{\"ids\":[1", "The body is not valid JSON: it ends too early."),
            ("{\"ids\":[]} {}", "Unexpected data after the JSON object."),
            (&deep, "The body is nested too deeply."),
            ("{'ids':[]}", "The body is not valid JSON at line 1, column 2."),
            ("{\"ids\":[1,]}", "The body is not valid JSON at line 1, column 11."),
            ("{\"ids\":[NaN]}", "The body is not valid JSON at line 1, column 9."),
            (
                "{\"ids\":[1e999]}",
                "The body is not valid JSON at line 1, column 13: the number is too large.",
            ),
            (
                "{\"name\":\"\\ud800\"}",
                "The body is not valid JSON at line 1, column 16: the escape is only half of a surrogate pair.",
            ),
            (
                "{\"name\":\"a\nb\"}",
                "The body is not valid JSON at line 2, column 0: a control character in a string must be written as an escape such as \\n.",
            ),
        ] {
            assert_eq!(detail(body.as_bytes()), (400, expected.to_owned()), "{body:?}");
        }
    }

    #[test]
    fn each_wrong_type_is_explained_without_the_names_of_rust_types() {
        for (body, expected) in [
            ("[[1]]", "body must be a JSON object."),
            ("null", "body must be a JSON object."),
            ("{\"ids\":7}", "ids must be a list."),
            ("{\"ids\":{}}", "ids must be a list."),
            ("{\"ids\":[],\"name\":7}", "name must be a text in quotes."),
            ("{\"ids\":[],\"name\":[]}", "name must be a text in quotes."),
            (
                "{\"ids\":[\"x\", 1],\"name\":7}",
                "ids[0] must be a whole number such as 21, at most 2147483647; name must be a text in quotes.",
            ),
            ("{\"ids\":[],\"ids\":[]}", "ids is given more than once."),
            ("{\"ids\":[1.0],\"ids\":[]}", "ids is given more than once."),
        ] {
            assert_eq!(detail(body.as_bytes()), (422, expected.to_owned()), "{body:?}");
        }
    }
}
