//! Which characters a name may have.
//!
//! A name must be visible: it is printed on tickets and read aloud at doors. Characters that change how the text around
//! them is shown, such as U+202E, or that only a program reads, are refused. Characters that a script needs stay, also
//! where they are invisible: joiners (U+200C, U+200D), the Mongolian vowel separator, variation selectors.
//!
//! Texts are stored and compared as they were typed, without normalization (NFC): a name is shown, never looked up.

use std::borrow::Cow;

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

const ZERO_WIDTH_NON_JOINER: char = '\u{200c}';
const ZERO_WIDTH_JOINER: char = '\u{200d}';
const MONGOLIAN_VOWEL_SEPARATOR: char = '\u{180e}';

/// Symbols without ink: the braille pattern and the musical note that are blank.
const BLANK_SYMBOLS: [char; 2] = ['\u{2800}', '\u{1d159}'];

const BLACK_FLAG: char = '\u{1f3f4}';

/// The only emoji with tags (UTS 51): the flags of England, Scotland and Wales. Elsewhere, tags are hidden text.
const FLAGS_WITH_TAGS: [&str; 3] = [
    "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
    "\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
    "\u{1f3f4}\u{e0067}\u{e0062}\u{e0077}\u{e006c}\u{e0073}\u{e007f}",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error("must contain a visible character")]
    Invisible,
    #[error("must not contain the control or invisible character U+{:04X}", u32::from(*.0))]
    Forbidden(char),
}

/// Checks a text of one line, such as a name.
pub fn check_line(text: &str) -> Result<(), TextError> {
    match without_tags(text).chars().find(|c| is_forbidden(*c)) {
        Some(forbidden) => Err(TextError::Forbidden(forbidden)),
        None if text.chars().any(is_visible) => Ok(()),
        None => Err(TextError::Invisible),
    }
}

/// Checks a text that may have several lines, tabs, or nothing.
pub fn check_lines(text: &str) -> Result<(), TextError> {
    let forbidden = without_tags(text).chars().find(|c| !matches!(c, '\n' | '\r' | '\t') && is_forbidden(*c));
    forbidden.map_or(Ok(()), |forbidden| Err(TextError::Forbidden(forbidden)))
}

fn without_tags(text: &str) -> Cow<'_, str> {
    if !text.contains(BLACK_FLAG) {
        return text.into();
    }
    let flag = BLACK_FLAG.to_string();
    FLAGS_WITH_TAGS.iter().fold(text.to_owned(), |text, tagged| text.replace(tagged, &flag)).into()
}

/// Whether no name may contain the character.
pub fn is_forbidden(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    match CodePointMapData::<GeneralCategory>::new().get(c) {
        GeneralCategory::Control | GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator => {
            true
        }
        // Some are visible, such as U+06DD, which encloses an Arabic number.
        GeneralCategory::Format => !is_joiner(c) && (is_ignorable(c) || is_annotation(c)),
        GeneralCategory::Unassigned => is_ignorable(c) || is_noncharacter(c),
        _ => false,
    }
}

/// Whether the character leaves ink on paper. What a character for private use looks like is unknown.
pub fn is_visible(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_graphic();
    }
    let is_private = CodePointMapData::<GeneralCategory>::new().get(c) == GeneralCategory::PrivateUse;
    !(c.is_whitespace() || is_ignorable(c) || is_private || BLANK_SYMBOLS.contains(&c) || is_forbidden(c))
}

fn is_joiner(c: char) -> bool {
    matches!(c, ZERO_WIDTH_NON_JOINER | ZERO_WIDTH_JOINER | MONGOLIAN_VOWEL_SEPARATOR)
}

/// A code point that is never a character, such as U+FFFF.
fn is_noncharacter(c: char) -> bool {
    u32::from(c) & 0xfffe == 0xfffe || ('\u{fdd0}'..='\u{fdef}').contains(&c)
}

/// Interlinear annotation, which is not displayed as such.
fn is_annotation(c: char) -> bool {
    ('\u{fff9}'..='\u{fffb}').contains(&c)
}

/// Whether programs display nothing for the character (Unicode: `Default_Ignorable_Code_Point`).
fn is_ignorable(c: char) -> bool {
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_nobody_can_see_is_refused() {
        for invisible in [
            "\u{2800}",         // blank braille pattern
            "\u{1d159}",        // blank note
            "\u{3164}",         // Hangul filler
            "\u{115f}\u{1160}", // Hangul fillers
            "\u{ffa0}",         // half-width Hangul filler
            "\u{200d}\u{200c}", // joiners
            "\u{fe0f}",         // variation selector
            "\u{34f}",          // combining grapheme joiner
            "\u{a0}\u{3000}",   // spaces
            "\u{e000}",         // private use
            " \u{2003} ",
            "",
        ] {
            assert_eq!(check_line(invisible), Err(TextError::Invisible), "{}", invisible.escape_unicode());
        }
    }

    #[test]
    fn a_control_or_format_character_is_refused() {
        for forbidden in [
            '\0',
            '\n',
            '\u{7f}',
            '\u{85}',
            '\u{ad}',
            '\u{61c}',
            '\u{200b}',
            '\u{200e}',
            '\u{2028}',
            '\u{2029}',
            '\u{202e}',
            '\u{2060}',
            '\u{2064}',
            '\u{2066}',
            '\u{206f}',
            '\u{feff}',
            '\u{fff9}',
            '\u{fff0}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e0fff}',
            '\u{fdd0}',
            '\u{ffff}',
            '\u{10fffe}',
        ] {
            assert_eq!(check_line(&format!("Al{forbidden}ice")), Err(TextError::Forbidden(forbidden)));
        }
        let hidden = "\u{1f3f4}\u{e0068}\u{e0069}\u{e007f}";
        assert_eq!(check_line(hidden), Err(TextError::Forbidden('\u{e0068}')));
        assert_eq!(
            TextError::Forbidden('\u{ad}').to_string(),
            "must not contain the control or invisible character U+00AD"
        );
    }

    #[test]
    fn names_in_any_script_are_accepted() {
        for name in [
            "Alice",
            "Zoë",
            "Zoe\u{308}",
            "क्\u{200d}षितिज",
            "می\u{200c}خواهم",
            "محمد",
            "עברית",
            "김민수",
            "山田 太郎",
            "葛\u{e0100}城",
            "ᠮᠣᠩᠭᠤᠯ\u{180e}ᠠ",
            "👩\u{200d}👩\u{200d}👧",
            "❤\u{fe0f}",
            "🇳🇵",
            "\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
            "\u{6dd}١٢",
            "O’Brien-Smith, Jr.",
        ] {
            assert_eq!(check_line(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_text_of_several_lines_may_be_empty_and_have_tabs() {
        assert_eq!(check_lines(""), Ok(()));
        assert_eq!(check_lines("One\r\n\tTwo"), Ok(()));
        assert_eq!(check_lines("One\u{202e}"), Err(TextError::Forbidden('\u{202e}')));
        assert_eq!(check_lines("\u{b}"), Err(TextError::Forbidden('\u{b}')));
    }
}
