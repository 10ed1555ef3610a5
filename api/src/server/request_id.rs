//! The id of a request, which names it in the logs of every system that it passes through.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that a client may choose. It is logged and returned.
const MAX_LENGTH: usize = 128;

/// The id that the client chose, if it sent exactly one, of at most 128 visible ASCII characters. Otherwise a new one.
pub fn request_id(headers: &HeaderMap) -> HeaderValue {
    let mut ids = headers.get_all(REQUEST_ID).iter();
    match (ids.next(), ids.next()) {
        (Some(id), None) if is_valid(id) => id.clone(),
        _ => new_id(),
    }
}

fn is_valid(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    (1..=MAX_LENGTH).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

fn new_id() -> HeaderValue {
    let mut buffer = [0; Hyphenated::LENGTH];
    let id = Uuid::new_v4().hyphenated().encode_lower(&mut buffer);
    HeaderValue::from_str(id).expect("hexadecimal digits and hyphens are valid in a header value")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(sent: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for id in sent {
            headers.append(REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
        }
        request_id(&headers).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_client_may_choose_an_id_of_visible_ascii_characters() {
        let longest = [b'~'; MAX_LENGTH];
        for id in [&b"mine-7"[..], b"!", b"{\"a\":1}", &longest] {
            assert_eq!(id_of(&[id]).as_bytes(), id);
        }
    }

    #[test]
    fn any_other_id_is_replaced() {
        let too_long = [b'a'; MAX_LENGTH + 1];
        let sent: [&[&[u8]]; 8] =
            [&[], &[b""], &[&too_long], &[b"a b"], &[b"a\tb"], &[b"a\xff"], &["ä".as_bytes()], &[b"a", b"a"]];
        for ids in sent {
            let id = id_of(ids);
            assert_eq!(id.len(), Hyphenated::LENGTH, "{ids:?}: {id}");
            assert_ne!(id, id_of(ids), "each is another one");
        }
    }
}
