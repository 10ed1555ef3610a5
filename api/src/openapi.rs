//! The OpenAPI document: what is said of the api as a whole, and the problems that many endpoints share.

use std::collections::BTreeMap;

use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr};
use utoipa::{IntoResponses, Modify, OpenApi};

use crate::problem::{PROBLEM_JSON, ProblemDocument};

pub const BOOKINGS: &str = "bookings";
pub const CATALOGUE: &str = "catalogue";
pub const OPERATIONS: &str = "operations";

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
    components(schemas(ProblemDocument)),
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

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident { $($status:literal => $description:literal,)* })*) => {
        $(
            $(#[$doc])*
            pub struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    [$(($status.to_string(), problem($description))),*].into()
                }
            }
        )*
    };
}

problems! {
    /// What can be wrong with a JSON body.
    BodyProblems {
        400 => "The body is not JSON",
        413 => "The body is too large",
        415 => "The body is not said to be JSON",
        422 => "Fields are wrong; the problem lists them",
    }
    /// What can be wrong with a path or a query.
    ParamProblems {
        422 => "A parameter is wrong; the problem names it",
    }
    /// A write without the admin token.
    AdminProblems {
        401 => "The admin token is missing or wrong",
        403 => "This installation takes no writes",
    }
    /// What the path names is not there.
    NotFoundProblem {
        404 => "There is no such thing",
    }
    /// What the path or the body names is in the way.
    ConflictProblem {
        409 => "What is there already forbids it",
    }
    /// Not the client's fault.
    ServerProblems {
        500 => "The fault is ours",
        503 => "The database cannot be reached",
    }
}

fn problem(description: &str) -> RefOr<Response> {
    let schema = Ref::from_schema_name("ProblemDocument");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(description).content(PROBLEM_JSON, content).build().into()
}
