//! The OpenAPI document as a whole.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::http::openapi::{BOOKINGS, CATALOGUE, OPERATIONS};
use crate::http::problem::ProblemDocument;
use crate::seat_feed::{SeatsChange, SeatsSnapshot};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Hamro Concert",
        description = "Books concert seats through a queue. A booking request returns a ticket at once. A worker settles \
                       the booking, that is, decides and stores its outcome, and the status of the ticket reports it. \
                       Every error is a problem document (RFC 9457). Distinguish errors by `code`.",
        license(name = "MIT", identifier = "MIT"),
    ),
    tags(
        (name = BOOKINGS, description = "Create bookings and follow their status"),
        (name = CATALOGUE, description = "Concerts, ticket types, ticket tiers and seats"),
        (name = OPERATIONS, description = "Probes for operators"),
    ),
    components(schemas(ProblemDocument, SeatsChange, SeatsSnapshot)),
    modifiers(&Security),
)]
pub struct ApiDoc;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The value of `ADMIN_TOKEN` on the server"))
            .build();
        if let Some(components) = &mut document.components {
            components.add_security_scheme("adminToken", SecurityScheme::Http(scheme));
        }
    }
}
