//! What a seat is called. Most labels differ only by their number, so the text before it is kept once.

use std::fmt;

/// What a seat is called: a text, and the number that follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label<'a> {
    pub prefix: &'a str,
    /// `None` if the label does not end with digits.
    pub number: Option<u32>,
}

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix)?;
        self.number.map_or(Ok(()), |number| write!(f, "{number}"))
    }
}

impl<'a> Label<'a> {
    /// Separates the number at the end of a label. It has no leading zero, so that text and number make the label again.
    pub fn of(label: &'a str) -> Self {
        let digits = label.bytes().rev().take_while(u8::is_ascii_digit).count().min(9);
        let (prefix, digits) = label.split_at(label.len() - digits);
        let zeros = digits.bytes().take_while(|digit| *digit == b'0').count();
        let number = digits[zeros..].parse().ok();
        Self { prefix: if number.is_some() { &label[..prefix.len() + zeros] } else { label }, number }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_text_and_a_number_that_make_the_label_again() {
        for (label, prefix, number) in [
            ("V-4", "V-", Some(4)),
            ("V-04", "V-0", Some(4)),
            ("V-0", "V-0", None),
            ("V-12A", "V-12A", None),
            ("12", "", Some(12)),
            ("1234567890123", "1234", Some(567_890_123)),
            ("é9", "é", Some(9)),
            ("", "", None),
        ] {
            let separated = Label::of(label);
            assert_eq!((separated, separated.to_string().as_str()), (Label { prefix, number }, label));
        }
    }
}
