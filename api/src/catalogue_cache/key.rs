//! What is cached: the documents of the catalogue that everybody may read, and those of the booking page.

use hamro_shared::domain::{ConcertId, TierId};

use crate::http::etag::ETag;
use crate::http::pagination::Page;

/// Names what is cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CatalogueKey {
    Document(DocumentKey),
    /// The booking page's document with the list of concerts.
    ListPage,
    /// The booking page's document with a concert.
    ConcertPage(ConcertId),
}

/// Names a document of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DocumentKey {
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
    pub bytes: Vec<u8>,
    pub content_type: &'static str,
    pub tag: ETag,
}

/// The rows that a document depends on, and so the version that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Concerts,
    /// The tiers, and the concerts that they belong to: some are hidden.
    Tiers,
    TicketTypes,
    /// All of these.
    Pages,
}

impl Part {
    pub const ALL: [Self; 4] = [Self::Concerts, Self::Tiers, Self::TicketTypes, Self::Pages];

    pub fn index(self) -> usize {
        self as usize
    }
}

impl CatalogueKey {
    pub fn part(self) -> Part {
        match self {
            Self::Document(document) => document.part(),
            Self::ListPage | Self::ConcertPage(_) => Part::Pages,
        }
    }
}

impl DocumentKey {
    fn part(self) -> Part {
        match self {
            Self::Concerts(_) | Self::Concert(_) => Part::Concerts,
            Self::Tiers(..) | Self::AllTiers | Self::Tier(_) => Part::Tiers,
            Self::TicketTypes => Part::TicketTypes,
        }
    }
}
