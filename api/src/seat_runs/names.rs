//! Texts that many seats share.

use std::collections::HashMap;

/// Texts, each kept once and identified by its number.
#[derive(Clone, Debug, Default)]
pub struct Names {
    names: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
}

impl Names {
    /// The number of a text, which is added if it is new.
    pub fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = u32::try_from(self.names.len()).expect("a concert has fewer seats");
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        number
    }

    /// The text with this number, which exists.
    pub fn name(&self, number: u32) -> &str {
        &self.names[number as usize]
    }

    /// All texts, in the order of their numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(AsRef::as_ref)
    }

    /// About how much memory they take.
    pub fn bytes(&self) -> usize {
        self.names.iter().map(|name| 2 * name.len() + 128).sum()
    }
}
