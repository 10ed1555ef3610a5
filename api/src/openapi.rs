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
        description = "Books seats through a queue. A booking is taken at once and answered with a ticket; a worker \
                       settles it, and the ticket tells how it ended. Every error is a problem document (RFC 9457); \
                       tell them apart by `code`.",
        license(name = "MIT", identifier = "MIT"),
    ),
    tags(
        (name = BOOKINGS, description = "Ask for seats, and see what became of it"),
        (name = CATALOGUE, description = "Concerts, their tiers and their seats"),
        (name = OPERATIONS, description = "For those who run it"),
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
            .description(Some("The ADMIN_TOKEN of the installation"))
            .build();
        if let Some(components) = &mut document.components {
            components.add_security_scheme("adminToken", SecurityScheme::Http(scheme));
        }
    }
}
