//! The version of a concert's layout.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use utoipa::ToSchema;

// A digest of the stored seats, equal on all instances.
/// Identifies what a sale does not change: which seats a concert has, their tiers, and what they are called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, pattern = "^[0-9a-f]{32}$", example = "9b1c5e0d2f7a4c360f8fad5bd9cb469f")]
pub struct LayoutVersion(pub [u8; 16]);

impl LayoutVersion {
    /// The first half of a SHA-256.
    pub fn of(digest: &[u8]) -> Self {
        let mut version = Self::default();
        version.0.copy_from_slice(&digest[..16]);
        version
    }
}

impl fmt::Display for LayoutVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for LayoutVersion {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut version = Self::default();
        hex::decode_to_slice(text, &mut version.0)?;
        Ok(version)
    }
}

impl Serialize for LayoutVersion {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
