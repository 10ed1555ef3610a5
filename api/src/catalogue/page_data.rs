//! What the documents of the booking page contain of the catalogue, read in one session.

use hamro_shared::domain::ConcertId;
use sqlx::postgres::PgConnection;

use super::concert::Concert;
use super::queries::{concerts, ticket_tiers, ticket_types};
use super::ticket_tier::TicketTier;
use super::ticket_type::TicketType;
use super::versions;
use crate::http::pagination::Page;

/// Concerts with all of their tiers.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogueData {
    pub concerts: Vec<Concert>,
    /// Whether these are all that are listed.
    pub is_list: bool,
    pub tiers: Vec<TicketTier>,
    pub ticket_types: Vec<TicketType>,
    /// Of the concert, if it is one: the version that the events of its seat map tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalogue_version: Option<String>,
}

/// The concerts that are listed, up to the longest page: those to come are first.
pub async fn list(connection: &mut PgConnection) -> Result<CatalogueData, sqlx::Error> {
    let concerts = concerts::list(connection, false, Page::LONGEST).await?;
    let tiers = ticket_tiers::list_all(connection).await?;
    let ticket_types = ticket_types::list(connection).await?;
    Ok(CatalogueData { concerts, is_list: true, tiers, ticket_types, catalogue_version: None })
}

/// One concert. `None` if it does not exist.
pub async fn concert(
    connection: &mut PgConnection,
    id: ConcertId,
) -> Result<Option<CatalogueData>, sqlx::Error> {
    // Read first: if anything changes meanwhile, the page loads it again.
    let mut versions = versions::of_concerts(connection, &[id]).await?;
    let Some(concert) = concerts::find(connection, id).await? else { return Ok(None) };
    let tiers = ticket_tiers::list(connection, Some(id), Page::LONGEST).await?;
    let ticket_types = ticket_types::list(connection).await?;
    let catalogue_version = versions.remove(&id);
    Ok(Some(CatalogueData {
        concerts: vec![concert],
        is_list: false,
        tiers,
        ticket_types,
        catalogue_version,
    }))
}
