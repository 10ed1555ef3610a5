//! Parts of the OpenAPI document that many endpoints share: tags, schemas and problem responses.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::IntoResponses;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr};

use crate::http::problem::{PROBLEM_JSON, ProblemCode, example};

pub const BOOKINGS: &str = "bookings";
pub const CATALOGUE: &str = "catalogue";
pub const OPERATIONS: &str = "operations";

/// The schema of a text that `FieldErrors::text` accepts. The pattern does not list all invisible characters.
pub fn text<const MAX: usize>() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(MAX))
        .description(Some(
            "One line with a visible character, without control or other invisible characters.",
        ))
        .pattern(Some(r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"))
        .build()
}

/// A kind of server-sent event.
pub struct StreamEvent {
    pub name: &'static str,
    pub description: &'static str,
    pub id: &'static str,
    /// What the id says.
    pub id_description: &'static str,
    /// The name of the schema of the data, which is JSON.
    pub data_schema: &'static str,
    pub data: Value,
}

/// The schema of the event. OpenAPI 3.1 cannot describe the items of a stream; tools apply the schema of a stream to each
/// event.
impl From<StreamEvent> for ObjectBuilder {
    fn from(event: StreamEvent) -> Self {
        let text = |description: &str| Self::new().schema_type(Type::String).description(Some(description));
        let data = text("One line of JSON.")
            .content_media_type("application/json")
            .content_schema(Some(Ref::from_schema_name(event.data_schema)));
        let retry = Self::new()
            .schema_type(Type::Integer)
            .minimum(Some(0_usize))
            .description(Some("Milliseconds to wait before reconnecting."));
        Self::new()
            .description(Some(event.description))
            .property("event", text("The name of the event.").enum_values(Some([event.name])))
            .required("event")
            .property("id", text(event.id_description))
            .required("id")
            .property("data", data)
            .required("data")
            .property("retry", retry)
            .examples([json!({"event": event.name, "id": event.id, "data": event.data.to_string()})])
    }
}

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident {
        $($status:literal => $description:literal, [$($code:ident),*];)*
    })*) => {
        $(
            $(#[$doc])*
            pub struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    [$(($status.to_string(), problem($description, &[$(ProblemCode::$code),*]))),*].into()
                }
            }
        )*
    };
}

problems! {
    /// Problems with a JSON body.
    BodyProblems {
        400 => "The body is not valid JSON, the path is not valid UTF-8, or a header is malformed", [MalformedRequest];
        408 => "The body was not received in time", [RequestTimeout];
        413 => "The body is too large", [PayloadTooLarge];
        415 => "The media type of the body is not supported", [UnsupportedMediaType];
        422 => "Fields are invalid; `errors` lists them", [InvalidRequest];
        501 => "The transfer coding is not supported", [UnsupportedTransferCoding];
    }
    /// Problems with the JSON body of a request that may have an idempotency key.
    KeyedBodyProblems {
        400 => "The body is not valid JSON, the path is not valid UTF-8, or a header is malformed", [MalformedRequest];
        408 => "The body was not received in time", [RequestTimeout];
        413 => "The body is too large", [PayloadTooLarge];
        415 => "The media type of the body is not supported", [UnsupportedMediaType];
        422 => "Fields are invalid (`errors` lists them), or the idempotency key was used for another request", [InvalidRequest, IdempotencyKeyReused];
        501 => "The transfer coding is not supported", [UnsupportedTransferCoding];
    }
    /// Problems with a path or query parameter.
    ParamProblems {
        400 => "The path is not valid UTF-8, or a header is malformed", [MalformedRequest];
        422 => "A parameter is invalid; `errors` names it", [InvalidRequest];
    }
    /// The client accepts no encoding in which the body exists.
    EncodingProblem {
        406 => "`Accept-Encoding` excludes `identity` and allows neither `gzip` nor `br`", [NotAcceptable];
    }
    /// Problems with a booking.
    BookingProblems {
        400 => "The body is not valid JSON", [MalformedRequest];
        404 => "Seats do not exist", [SeatsNotFound];
        408 => "The body was not received in time", [RequestTimeout];
        409 => "Seats are taken, not on sale or cost another total, or the customer has reached the limit", [SeatsTaken, SoldOut, SaleNotOpen, SaleClosed, PriceChanged, LimitReached];
        413 => "The body is too large", [PayloadTooLarge];
        415 => "The media type of the body is not supported", [UnsupportedMediaType];
        422 => "Fields are invalid (`errors` lists them), or the idempotency key was used for another booking", [InvalidRequest, IdempotencyKeyReused];
        429 => "Too many requests from this client, or it holds as much as one client may", [TooManyRequests, ClientLimitReached];
        500 => "An internal error occurred", [Internal];
        501 => "The transfer coding is not supported", [UnsupportedTransferCoding];
        503 => "Nothing was booked, unless the problem has a `ticketId`", [QueueFull, IntakePaused, IntakeLimited, BrokerUnavailable, NotReady, UpgradeInProgress, ExpiredInQueue, TimedOut, Overloaded];
    }
    OutcomeUnknownProblem {
        504 => "The outcome is unknown; follow the ticket that the problem names", [OutcomeUnknown];
    }
    /// Problems with a ticket id.
    TicketProblems {
        400 => "The path is not valid UTF-8", [MalformedRequest];
        404 => "Unknown ticket", [TicketNotFound];
    }
    /// The ticket was not issued here.
    UnknownTicketProblem {
        404 => "Unknown ticket", [TicketNotFound];
    }
    /// The booking has no seats.
    NotConfirmedProblem {
        409 => "The booking is not confirmed", [NotConfirmed];
    }
    /// Problems with the admin token of a write.
    AdminProblems {
        401 => "The admin token is missing or wrong", [Unauthorized];
        403 => "Writes are disabled", [Forbidden];
    }
    /// The resource that the path or body names does not exist.
    NotFoundProblem {
        404 => "The resource does not exist", [NotFound];
    }
    /// The concert, or this version of its layout, does not exist.
    LayoutProblem {
        404 => "The concert does not exist, or it has another layout", [NotFound, LayoutChanged];
    }
    /// The resource cannot be deleted.
    SoldProblem {
        409 => "Seats have been sold", [HasSales];
    }
    /// The resource cannot be created, or changed into what another one is.
    ExistsProblem {
        409 => "It already exists", [AlreadyExists];
    }
    /// The resource cannot be deleted, because others refer to it.
    InUseProblem {
        409 => "It is in use", [InUse];
    }
    /// The client has not read the current version of the resource.
    PreconditionProblem {
        412 => "The resource is not the version that `If-Match` names", [PreconditionFailed];
    }
    RateLimitProblem {
        429 => "Too many requests from this client, or it holds as much as one client may", [TooManyRequests, ClientLimitReached];
    }
    /// Problems that the request did not cause.
    ServerProblems {
        429 => "Too many requests from this client, or it holds as much as one client may", [TooManyRequests, ClientLimitReached];
        500 => "An internal error occurred", [Internal];
        503 => "The database is unavailable, or the server is overloaded", [DatabaseUnavailable, DatabaseFault, Overloaded, TimedOut];
    }
    /// Problems that the request for a stream did not cause.
    StreamProblems {
        429 => "Too many requests from this client, or it holds as much as one client may", [TooManyRequests, ClientLimitReached];
        500 => "An internal error occurred", [Internal];
        503 => "The database is unavailable, the server is overloaded, or too many event streams are open", [DatabaseUnavailable, DatabaseFault, Overloaded, TimedOut, TooManyStreams];
    }
    ReadinessProblem {
        503 => "Not ready to accept bookings", [NotReady];
    }
}

fn problem(description: &str, codes: &[ProblemCode]) -> RefOr<Response> {
    let examples = codes.iter().map(|code| {
        let example = serde_json::to_value(example(*code).document()).expect("is JSON");
        (code.as_str(), ExampleBuilder::new().summary(code.title()).value(Some(example)))
    });
    let schema = Ref::from_schema_name("ProblemDocument");
    let content = ContentBuilder::new().schema(Some(schema)).examples_from_iter(examples).build();
    ResponseBuilder::new().description(description).content(PROBLEM_JSON, content).build().into()
}
