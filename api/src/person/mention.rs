//! Whether a text or a message mentions an e-mail address.

use hamro_shared::domain::Email;
use serde_json::Value;

/// Whether a stored message mentions the address.
pub fn is_in_payload(payload: &[u8], address: &str) -> bool {
    match serde_json::from_slice(payload) {
        Ok(json) => is_in_json(&json, address),
        Err(_) => is_in_text(&String::from_utf8_lossy(payload), address),
    }
}

fn is_in_json(json: &Value, address: &str) -> bool {
    match json {
        Value::String(text) => match Email::parse(text) {
            Ok(email) => email.normalised() == address,
            Err(_) => is_in_text(text, address),
        },
        Value::Array(values) => values.iter().any(|value| is_in_json(value, address)),
        Value::Object(members) => {
            members.iter().any(|(name, value)| is_in_text(name, address) || is_in_json(value, address))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether the text contains the address, other than as part of a longer address.
pub fn is_in_text(text: &str, address: &str) -> bool {
    let text = Email::fold_case(text);
    text.match_indices(address).any(|(start, found)| {
        let (before, after) = (&text[..start], &text[start + found.len()..]);
        let continues = |rest: &str| rest.starts_with(|next: char| next.is_alphanumeric() || next == '-');
        let continues_before =
            before.ends_with(|last: char| last.is_alphanumeric() || "._%+-".contains(last));
        !continues_before && !continues(after) && !after.strip_prefix('.').is_some_and(continues)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_every_form_of_payload() {
        for payload in [
            r#"{"request":{"userEmail":"A_Ice@example.com"}}"#,
            r#"[{"x":["mail a_ice@example.com."]}]"#,
            r#"{"a_ice\u0040example.com":1}"#,
            r#"{"request":{"userEmail":"a_ice@example.com"#,
            "email=a_ice@example.com&x=1",
        ] {
            assert!(is_in_payload(payload.as_bytes(), "a_ice@example.com"), "{payload}");
        }
        assert!(is_in_payload(b"\xff a_ice@example.com", "a_ice@example.com"));
        assert!(is_in_payload("\"ÄLICE@example.com\"".as_bytes(), "älice@example.com"));
    }

    #[test]
    fn a_similar_address_does_not_match() {
        for payload in [
            r#"{"request":{"userEmail":"alice@example.com"}}"#,
            r#"["xa_ice@example.com","a_ice@example.com.np","o'a_ice@example.com"]"#,
            "A_\u{130}ce@example.com", // I WITH DOT ABOVE is no `i`.
            "x.a_ice@example.com a_ice@example.community a_ice@example.com-shop.np",
            "",
        ] {
            assert!(!is_in_payload(payload.as_bytes(), "a_ice@example.com"), "{payload}");
        }
    }
}
