//! The encodings that a client accepts (RFC 9110, section 12.5.3).

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;

use super::coding::Coding;

/// The weights of the encodings, in thousandths. `None` if one is not mentioned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    identity: Option<u16>,
    gzip: Option<u16>,
    brotli: Option<u16>,
    /// Of every encoding that is not mentioned.
    others: Option<u16>,
}

impl Accepted {
    /// What the header of the request says. Malformed elements and unknown encodings are ignored. Without the header, clients
    /// get no compression.
    pub fn of(request: &HeaderMap) -> Self {
        let mut accepted = Self::default();
        for value in request.get_all(ACCEPT_ENCODING) {
            for element in value.as_bytes().split(|byte| *byte == b',') {
                accepted.add(element);
            }
        }
        accepted
    }

    fn add(&mut self, element: &[u8]) {
        let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let weight = match parts.next() {
            None => Some(1_000),
            Some(parameter) => weight(parameter),
        };
        let Some(weight) = weight.filter(|_| parts.next().is_none()) else { return };
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        let mentioned = match name {
            b"*" => &mut self.others,
            _ if is("br") => &mut self.brotli,
            // Section 8.4.1.3.
            _ if is("gzip") || is("x-gzip") => &mut self.gzip,
            _ if is("identity") => &mut self.identity,
            _ => return,
        };
        // The largest of several.
        *mentioned = (*mentioned).max(Some(weight));
    }

    /// The weight of the encoding. No compression is the last resort unless it is mentioned.
    pub fn weight(self, coding: Coding) -> u16 {
        let mentioned = match coding {
            Coding::Identity => self.identity,
            Coding::Gzip => self.gzip,
            Coding::Brotli => self.brotli,
        };
        mentioned.or(self.others).unwrap_or(0)
    }

    /// Whether the client accepts the encoding. No compression is accepted unless it is excluded.
    pub fn accepts(self, coding: Coding) -> bool {
        let is_excluded = self.identity.or(self.others) == Some(0);
        self.weight(coding) > 0 || coding == Coding::Identity && !is_excluded
    }
}

/// `q=0.5` (RFC 9110, section 12.4.2), in thousandths.
fn weight(parameter: &[u8]) -> Option<u16> {
    let [b'q' | b'Q', b'=', value @ ..] = parameter else { return None };
    let (whole, fraction) = match value {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', fraction @ ..] => (whole, fraction),
        _ => return None,
    };
    if fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |place: usize| u16::from(fraction.get(place).map_or(0, |digit| digit - b'0'));
    let thousandths = u16::from(whole - b'0') * 1_000 + digit(0) * 100 + digit(1) * 10 + digit(2);
    (thousandths <= 1_000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_weight_has_at_most_three_digits_and_is_at_most_one() {
        for (text, expected) in [
            ("q=1", Some(1_000)),
            ("q=1.000", Some(1_000)),
            ("Q=0.5", Some(500)),
            ("q=0.", Some(0)),
            ("q=0.001", Some(1)),
            ("q=0.0001", None),
            ("q=1.001", None),
            ("q=2", None),
            ("q=", None),
            ("q=-1", None),
            ("q=.5", None),
            ("q = 1", None),
            ("level=1", None),
        ] {
            assert_eq!(weight(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_mentioned_has_the_weight_of_the_asterisk() {
        let of = |values: &[&'static str]| {
            let values = values.iter().map(|value| (ACCEPT_ENCODING, HeaderValue::from_static(value)));
            let mut headers = HeaderMap::new();
            for (name, value) in values {
                headers.append(name, value);
            }
            let accepted = Accepted::of(&headers);
            [Coding::Identity, Coding::Gzip, Coding::Brotli]
                .map(|coding| (accepted.accepts(coding), accepted.weight(coding)))
        };
        assert_eq!(of(&[]), [(true, 0), (false, 0), (false, 0)]);
        assert_eq!(of(&[""]), [(true, 0), (false, 0), (false, 0)]);
        assert_eq!(of(&["*"]), [(true, 1_000), (true, 1_000), (true, 1_000)]);
        assert_eq!(of(&["*;q=0"]), [(false, 0), (false, 0), (false, 0)]);
        assert_eq!(of(&["*;q=0, gzip ; q=0.2"]), [(false, 0), (true, 200), (false, 0)]);
        assert_eq!(of(&["identity;q=0.1, *;q=0"]), [(true, 100), (false, 0), (false, 0)]);
        assert_eq!(of(&["GZIP", "br;q=0, x-gzip;q=0.5"]), [(true, 0), (true, 1_000), (false, 0)]);
        assert_eq!(of(&["br;q=two, deflate, zstd"]), [(true, 0), (false, 0), (false, 0)]);
    }
}
