//! The OpenAPI document as a whole.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::http::openapi::{BOOKINGS, CATALOGUE, OPERATIONS};
use crate::http::problem::ProblemDocument;
use crate::seat_feed::{CatalogueVersion, SeatsChange, SeatsSnapshot};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Hamro Concert",
        description = "Books concert seats through a queue. A booking request returns a ticket at once. A worker settles \
                       the booking, that is, decides and stores its outcome, and the status of the ticket reports it. \
                       Every error is a problem document (RFC 9457). Distinguish errors by `code`.",
        contact(name = "The Hamro Concert authors"),
        license(name = "MIT", identifier = "MIT"),
    ),
    servers((url = "/", description = "The installation that serves this document")),
    tags(
        (name = BOOKINGS, description = "Create bookings and follow their status. Anyone may book. A ticket's id is all that \
                                         is needed to follow it."),
        (name = CATALOGUE, description = "Concerts, ticket types, ticket tiers and seats. Anyone may read; writes need the \
                                          admin token."),
        (name = OPERATIONS, description = "Health checks for operators and load balancers."),
    ),
    components(schemas(ProblemDocument, CatalogueVersion, SeatsChange, SeatsSnapshot)),
    modifiers(&Security),
)]
pub struct ApiDoc;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "The token of an administrator: `ADMIN_TOKEN` or one of `ADMIN_TOKENS` on the server",
            ))
            .build();
        if let Some(components) = &mut document.components {
            components.add_security_scheme("adminToken", SecurityScheme::Http(scheme));
        }
    }
}
