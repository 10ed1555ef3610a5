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
pub fn normalised(text: &str) -> String {
    // The digests of ASCII addresses must not change: they are stored.
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let composed = ComposingNormalizerBorrowed::new_nfc().normalize(text).to_lowercase();
    let Some((local, domain)) = composed.rsplit_once('@') else { return composed };
    match Uts46::new().to_ascii(domain.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore) {
        Ok(domain) => format!("{local}@{domain}"),
        Err(_) => composed,
    }
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
    fn the_form_of_an_ascii_address_is_that_of_earlier_versions() {
        for address in
            ["Alice@Example.com", "a@b!c.d", "a@XN--Exmple-CUA.de", "\"A b\"@example.com", "no address"]
        {
            assert_eq!(normalised(address), address.to_lowercase());
        }
        assert_eq!(normalised("kein Ädresse"), "kein ädresse");
    }
}
