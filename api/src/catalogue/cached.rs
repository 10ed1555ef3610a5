//! Responses from the cache of the catalogue, and how its documents are read.

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::Response;
use hamro_shared::database::Database;
use serde::Serialize;

use super::queries::{concerts, ticket_tiers, ticket_types};
use crate::catalogue_cache::{CatalogueKey, Content, DocumentKey};
use crate::http::etag::ETag;
use crate::http::problem::Problem;
use crate::http::ready_body::{CachePolicy, JSON};
use crate::state::AppState;

/// Responds with the document, which is called `resource` if it does not exist.
pub async fn respond(
    app: &AppState,
    request: Request,
    key: DocumentKey,
    resource: &str,
) -> Result<Response, Problem> {
    // Without the body, which cannot be held while something is awaited.
    let (parts, _) = request.into_parts();
    let cached = app.catalogue.read(CatalogueKey::Document(key), || load(app.database.clone(), key)).await?;
    let cached = cached.ok_or_else(|| unknown(resource))?;
    let response = cached.body.respond(&parts.headers, CachePolicy::Catalogue, cached.age);
    let client = || app.response_memory.proxies().client(&parts.extensions, &parts.headers);
    Ok(app.response_memory.count_if_large(client, response).await)
}

/// Shared caches may otherwise keep it for a while (RFC 9111, section 4.2.2).
fn unknown(resource: &str) -> Problem {
    Problem::not_found(resource).with_header(CACHE_CONTROL, HeaderValue::from_static("no-cache"))
}

/// Reads the document. `None` if it does not exist.
async fn load(database: Database, key: DocumentKey) -> Result<Option<Content>, sqlx::Error> {
    match key {
        DocumentKey::Concerts(page) => {
            let read = database.query(move |connection| {
                Box::pin(async move {
                    let listed = concerts::list(connection, false, page).await?;
                    Ok(page.of(listed, concerts::count(connection, false).await?))
                })
            });
            Ok(Some(content(&read.await?)))
        }
        DocumentKey::Concert(id) => {
            let read = database.query(move |connection| Box::pin(concerts::find(connection, id)));
            Ok(read.await?.map(|concert| tagged(&concert, concert.etag())))
        }
        DocumentKey::Tiers(concert, page) => {
            let read = database.query(move |connection| {
                Box::pin(async move {
                    let tiers = ticket_tiers::list(connection, concert, page).await?;
                    Ok(page.of(tiers, ticket_tiers::count(connection, concert).await?))
                })
            });
            Ok(Some(content(&read.await?)))
        }
        DocumentKey::AllTiers => {
            let read = database.query_large(|connection| Box::pin(ticket_tiers::list_all(connection)));
            Ok(Some(content(&read.await?)))
        }
        DocumentKey::Tier(id) => {
            let read = database.query(move |connection| Box::pin(ticket_tiers::find(connection, id)));
            Ok(read.await?.map(|tier| tagged(&tier, tier.etag())))
        }
        DocumentKey::TicketTypes => {
            let read = database.query(|connection| Box::pin(ticket_types::list(connection)));
            Ok(Some(content(&read.await?)))
        }
    }
}

fn content(document: &impl Serialize) -> Content {
    let bytes = to_json(document);
    let tag = ETag::of_content(&bytes);
    Content { bytes, content_type: JSON, tag }
}

/// With the tag that `If-Match` is compared with.
fn tagged(document: &impl Serialize, tag: ETag) -> Content {
    Content { bytes: to_json(document), content_type: JSON, tag }
}

fn to_json(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("is JSON")
}
