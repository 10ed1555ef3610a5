//! What is cached: the documents of the catalogue that everybody may read.

use hamro_shared::domain::{ConcertId, TierId};

use crate::http::etag::ETag;
use crate::http::pagination::Page;

/// Names a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CatalogueKey {
    /// A page of the concerts that are listed.
    Concerts(Page),
    Concert(ConcertId),
    /// A page of the tiers of a concert, or of all.
    Tiers(Option<ConcertId>, Page),
    AllTiers,
    Tier(TierId),
    TicketTypes,
}

/// The content of a document, as it was read.
pub struct Content {
    pub json: Vec<u8>,
    pub tag: ETag,
}

/// The rows that a document depends on, and so the version that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Concerts,
    /// The tiers, and the concerts that they belong to: some are hidden.
    Tiers,
    TicketTypes,
}

impl Part {
    pub const ALL: [Self; 3] = [Self::Concerts, Self::Tiers, Self::TicketTypes];

    pub fn index(self) -> usize {
        self as usize
    }
}

impl CatalogueKey {
    pub fn part(self) -> Part {
        match self {
            Self::Concerts(_) | Self::Concert(_) => Part::Concerts,
            Self::Tiers(..) | Self::AllTiers | Self::Tier(_) => Part::Tiers,
            Self::TicketTypes => Part::TicketTypes,
        }
    }
}
