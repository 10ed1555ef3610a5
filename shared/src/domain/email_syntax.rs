//! The syntax of e-mail addresses, and when two of them are the same.
//!
//! An address may be in any script (RFC 6531). The domain follows UTS 46, as in browsers: full-width letters and dots
//! are those of ASCII, and `exämple.de` is `xn--exmple-cua.de`.

use std::borrow::Cow;

use email_address::{EmailAddress, Options};
use icu_normalizer::ComposingNormalizerBorrowed;
use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

use super::visible_text::{is_forbidden, is_visible};

/// Whether the text is an address without a display name, whose domain has at least two labels.
pub fn is_valid(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    if text.is_ascii() {
        return is_host_name(domain) && is_ascii_address(text);
    }
    let Some(domain) = ascii_domain(domain) else { return false };
    if !local.chars().all(is_local_char) {
        return false;
    }
    // The library knows the rules for ASCII. A character of any other script is allowed where a letter is.
    let local: String = local.chars().map(|c| if c.is_ascii() { c } else { 'x' }).collect();
    is_ascii_address(&format!("{local}@{domain}"))
}

/// The form in which all spellings of an address are equal. Mail servers may distinguish upper and lower case before
/// the `@`; none does in practice. Any text is accepted, because stored addresses are not validated.
///
/// Before the `@`, no character becomes an ASCII character: with U+212A KELVIN SIGN instead of `k`, the address is another
/// customer's. The domain is the one that DNS would look up, in which U+212A and full-width letters are those of ASCII.
pub fn normalised(text: &str) -> String {
    // The digests of ASCII addresses must not change: they are stored.
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    match text.rsplit_once('@') {
        Some((local, domain)) => format!("{}@{}", fold_case(local), fold_domain(domain)),
        None => fold_case(text),
    }
}

/// The forms that earlier versions computed, if they differ, the latest first.
pub fn earlier_forms(text: &str) -> Vec<String> {
    if text.is_ascii() {
        return Vec::new();
    }
    let composed = nfc(text).to_lowercase();
    let of_unreleased_versions = match composed.rsplit_once('@') {
        Some((local, domain)) => format!("{local}@{}", fold_domain(domain)),
        None => composed,
    };
    let mut forms = vec![of_unreleased_versions, text.to_lowercase()];
    let current = normalised(text);
    forms.retain(|form| *form != current);
    forms.dedup();
    forms
}

/// A text without differences of case and composition. No character becomes an ASCII character.
pub fn fold_case(text: &str) -> String {
    let becomes_ascii = |c: char| nfc(c.encode_utf8(&mut [0; 4])).is_ascii();
    let composed = map_except(text, becomes_ascii, |text| nfc(text).into_owned());
    map_except(&composed, |c| c.to_lowercase().any(|lower| lower.is_ascii()), str::to_lowercase)
}

/// Maps the parts of a text between the characters outside of ASCII that are `kept`.
fn map_except(text: &str, kept: impl Fn(char) -> bool, map: impl Fn(&str) -> String) -> String {
    let mut mapped = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((place, c)) = rest.char_indices().find(|(_, c)| !c.is_ascii() && kept(*c)) {
        mapped.push_str(&map(&rest[..place]));
        mapped.push(c);
        rest = &rest[place + c.len_utf8()..];
    }
    mapped.push_str(&map(rest));
    mapped
}

/// The domain as DNS has it. A stored one may be invalid.
fn fold_domain(domain: &str) -> String {
    let composed = nfc(domain).to_lowercase();
    match Uts46::new().to_ascii(composed.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
    {
        Ok(ascii) => ascii.into_owned(),
        Err(_) => composed,
    }
}

fn nfc(text: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfc().normalize(text)
}

fn is_ascii_address(text: &str) -> bool {
    let options = Options::default().with_required_tld().without_display_text().without_domain_literal();
    EmailAddress::parse_with_options(text, options).is_ok()
}

fn is_host_name(domain: &str) -> bool {
    domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
}

fn ascii_domain(domain: &str) -> Option<Cow<'_, str>> {
    // UTS 46 would remove some of them.
    if domain.chars().any(is_forbidden) {
        return None;
    }
    Uts46::new()
        .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
        .ok()
}

/// The library checks ASCII characters. Others must be visible, or needed by a script.
fn is_local_char(c: char) -> bool {
    c.is_ascii() || is_visible(c) || !is_forbidden(c) && !c.is_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_in_any_script() {
        for good in [
            "alice@example.com",
            "a.b+c@sub.example.np",
            "\"a b\"@example.com",
            "प्रकाश@example.com",
            "संपर्क@डाटामेल.भारत",
            "क्\u{200d}षितिज@example.com",
            "用户@例子.广告",
            "a@exämple.de",
            "a@xn--exmple-cua.de",
            "a@example。com",
            "a@ｅｘａｍｐｌｅ．com",
            "محمد@مثال.إختبار",
        ] {
            assert!(is_valid(good), "{good}");
        }
    }

    #[test]
    fn a_malformed_address_is_refused_in_any_script() {
        for bad in [
            "",
            "alice",
            "alice@",
            "@example.com",
            "alice@example",
            "a b@example.com",
            "Al <a@b.com>",
            "a@b!c.d",
            "a@b_c.de",
            "a@-b.de",
            "a@b-.de",
            "a@b..de",
            "a@b.de.",
            "a@[127.0.0.1]",
            "ä@b!c.d",
            "ä@example",
            "ä ö@example.com",
            "a..ä@example.com",
            "ä@ä!b.de",
            "ä@-ä.de",
            "a\u{202e}@example.com",
            "a\u{200b}@example.com",
            "a\u{3000}b@example.com",
            "ä@ä\u{202e}.de",
            "a@exa mple。com",
            "a@exämple\u{fffd}.de",
            "a@exa\u{200b}mple.de",
            "a@exa\u{ad}mple.de",
        ] {
            assert!(!is_valid(bad), "{bad}");
        }
    }

    #[test]
    fn all_spellings_of_an_address_have_one_form() {
        for spellings in [
            &[
                "a@exämple.de",
                "a@xn--exmple-cua.de",
                "A@EXÄMPLE.DE",
                "a@exa\u{308}mple.de",
                "a@XN--exmple-CUA.de",
            ][..],
            &["a@example.com", "a@Example。com", "A@ｅｘａｍｐｌｅ．com"],
            &["zoë@example.com", "ZOË@example.com", "zoe\u{308}@example.com"],
            &["ι\u{342}ςΟΔΟΣ@example.com", "ῖςοδος@EXAMPLE.com"],
            &["\u{212b}@example.com", "å@example.com"],
            &["i@\u{212a}ino.com", "i@kino.com"],
            &["संपर्क@डाटामेल.भारत", "संपर्क@xn--c2bd4bq1db8d.xn--h2brj9c"],
        ] {
            for spelling in spellings {
                assert!(is_valid(spelling), "{spelling}");
                assert_eq!(normalised(spelling), normalised(spellings[0]), "{spelling}");
            }
        }
        assert_ne!(normalised("a@exämple.de"), normalised("a@example.de"));
        assert_ne!(normalised("ä@example.de"), normalised("a@example.de"));
    }

    #[test]
    fn no_character_before_the_at_sign_becomes_an_ascii_character() {
        // KELVIN SIGN, LONG S, I WITH DOT ABOVE, GREEK QUESTION MARK, GREEK VARIA, full-width k.
        for c in ['\u{212a}', '\u{17f}', '\u{130}', '\u{37e}', '\u{1fef}', '\u{ff4b}', '\u{ff2b}'] {
            let form = normalised(&format!("a{c}b@example.com"));
            let local = form.strip_suffix("@example.com").unwrap();
            assert_eq!(local.chars().filter(char::is_ascii).collect::<String>(), "ab", "{c:?}: {form}");
        }
    }

    #[test]
    fn for_every_character_the_form_has_as_many_ascii_characters_as_the_address() {
        let count = |text: &str| text.chars().filter(char::is_ascii).count();
        for c in ('\u{80}'..=char::MAX).filter(|c| !is_forbidden(*c)) {
            assert_eq!(count(&fold_case(&c.to_string())), 0, "{c:?}");
        }
    }

    #[test]
    fn the_forms_of_earlier_versions_are_known_where_they_differ() {
        assert_eq!(earlier_forms("Alice@Example.com"), Vec::<String>::new());
        assert_eq!(earlier_forms("zoë@example.com"), Vec::<String>::new());
        assert_eq!(earlier_forms("\u{212a}ate@example.com"), ["kate@example.com"]);
        assert_eq!(earlier_forms("A@EXÄMPLE.DE"), ["a@exämple.de"]);
        assert_eq!(
            earlier_forms("\u{212a}@exämple.de"),
            ["k@xn--exmple-cua.de", "k@exämple.de"],
            "both earlier forms"
        );
    }

    #[test]
    fn the_form_of_an_ascii_address_is_that_of_earlier_versions() {
        for address in
            ["Alice@Example.com", "a@b!c.d", "a@XN--Exmple-CUA.de", "\"A b\"@example.com", "no address"]
        {
            assert_eq!(normalised(address), address.to_lowercase());
        }
        assert_eq!(normalised("kein Ädresse"), "kein ädresse");
    }
}
