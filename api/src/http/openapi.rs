//! The OpenAPI document: what is said of the api as a whole, and the problems that many endpoints share.

use std::collections::BTreeMap;

use hamro_shared::domain::{Rejection, SeatId, TicketId, Timestamp};
use serde_json::{Value, json};
use utoipa::IntoResponses;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr};
use uuid::uuid;

use crate::http::problem::{PROBLEM_JSON, Problem, ProblemCode};

pub const BOOKINGS: &str = "bookings";
pub const CATALOGUE: &str = "catalogue";
pub const OPERATIONS: &str = "operations";

/// The schema of a text that `FieldErrors::text` takes: something in it is no white space, and nothing is a control character.
pub fn text<const MAX: usize>() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(MAX))
        .pattern(Some(r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"))
        .build()
}

/// The schema of a server-sent event of this name, whose data is the JSON of another schema. OpenAPI 3.1 has no word for the
/// items of a stream; tools take the schema of a stream for that of each event.
pub fn stream_event(name: &str, id: &str, data_schema: &str, data: Value) -> ObjectBuilder {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let json = text()
        .content_media_type("application/json")
        .content_schema(Some(Ref::from_schema_name(data_schema)));
    ObjectBuilder::new()
        .property("event", text().enum_values(Some([name])))
        .required("event")
        .property("id", text())
        .required("id")
        .property("data", json)
        .required("data")
        .property("retry", ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0_usize)))
        .examples([json!({"event": name, "id": id, "data": data.to_string()})])
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
    /// What can be wrong with a JSON body.
    BodyProblems {
        400 => "The body is not JSON, or the path is not UTF-8", [MalformedRequest];
        413 => "The body is too large", [PayloadTooLarge];
        415 => "The body is not said to be JSON", [UnsupportedMediaType];
        422 => "Fields are wrong; the problem lists them", [InvalidRequest];
    }
    /// What can be wrong with a path or a query.
    ParamProblems {
        400 => "The path is not UTF-8", [MalformedRequest];
        422 => "A parameter is wrong; the problem names it", [InvalidRequest];
    }
    /// What can be wrong with a booking.
    BookingProblems {
        400 => "The body is not JSON", [MalformedRequest];
        404 => "There are no such seats", [SeatsNotFound];
        409 => "Seats are taken, or not on sale", [SeatsTaken, SoldOut, SaleNotOpen, SaleClosed];
        413 => "The body is too large", [PayloadTooLarge];
        415 => "The body is not said to be JSON", [UnsupportedMediaType];
        422 => "Fields are wrong and the problem lists them, or the key belongs to another booking", [InvalidRequest, IdempotencyKeyReused];
        429 => "The client makes too many requests", [TooManyRequests];
        500 => "The fault is ours", [Internal];
        503 => "Nothing was booked, unless the problem names a ticket", [QueueFull, BrokerUnavailable, ExpiredInQueue];
    }
    OutcomeUnknownProblem {
        504 => "The outcome cannot be told; the problem names the ticket to follow", [OutcomeUnknown];
    }
    /// What can be wrong with a ticket's id.
    TicketProblems {
        400 => "The path is not UTF-8", [MalformedRequest];
        404 => "No ticket of ours", [TicketNotFound];
    }
    /// A write without the admin token.
    AdminProblems {
        401 => "The admin token is missing or wrong", [Unauthorized];
        403 => "This installation takes no writes", [Forbidden];
    }
    /// What the path names is not there.
    NotFoundProblem {
        404 => "There is no such thing", [NotFound];
    }
    /// Something has been sold, so it stays.
    SoldProblem {
        409 => "Seats of it have been sold", [HasSales];
    }
    /// There is one already.
    ExistsProblem {
        409 => "There is one of this name", [AlreadyExists];
    }
    RateLimitProblem {
        429 => "The client makes too many requests", [TooManyRequests];
    }
    /// Not the fault of this request.
    ServerProblems {
        429 => "The client makes too many requests", [TooManyRequests];
        500 => "The fault is ours", [Internal];
        503 => "The database cannot be reached, or it took too long", [DatabaseUnavailable, DatabaseFault, Overloaded, TimedOut];
    }
    /// Not the fault of this request for a stream.
    StreamProblems {
        429 => "The client makes too many requests", [TooManyRequests];
        500 => "The fault is ours", [Internal];
        503 => "The database cannot be reached, or too many streams are open", [DatabaseUnavailable, TooManyStreams];
    }
    ReadinessProblem {
        503 => "It cannot", [NotReady];
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

/// The problem as a client may meet it.
fn example(code: ProblemCode) -> Problem {
    let seat_ids = vec![SeatId(21), SeatId(22)];
    let moment = Timestamp::from_unix_millis(1_796_098_500_000).expect("is a date");
    let ticket = TicketId(uuid!("019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88"));
    let detail = match code {
        ProblemCode::SeatsTaken => return Rejection::SeatsTaken { seat_ids }.into(),
        ProblemCode::SoldOut => return Rejection::SoldOut { seat_ids }.into(),
        ProblemCode::SeatsNotFound => return Rejection::SeatsNotFound { seat_ids }.into(),
        ProblemCode::SaleNotOpen => return Rejection::SaleNotOpen { opens_at: moment }.into(),
        ProblemCode::SaleClosed => return Rejection::SaleClosed { closed_at: moment }.into(),
        ProblemCode::IdempotencyKeyReused => return Rejection::IdempotencyKeyReused.into(),
        ProblemCode::InvalidRequest => {
            return Problem::invalid_field("seatIds", "must name at least one seat");
        }
        ProblemCode::NotFound => return Problem::not_found("concert"),
        ProblemCode::OutcomeUnknown => {
            let detail = "The booking may still go through. Follow the ticket before you try again.";
            return Problem::new(code, detail).about(ticket);
        }
        ProblemCode::MalformedRequest => {
            "The body is not JSON: EOF while parsing an object at line 1 column 17."
        }
        ProblemCode::TicketNotFound => "This is no ticket that was handed out here.",
        ProblemCode::ExpiredInQueue => {
            "It waited in the queue past its deadline. Nothing was booked; try again."
        }
        ProblemCode::QueueFull | ProblemCode::BrokerUnavailable => {
            "Nothing was booked. Try again in a moment."
        }
        ProblemCode::TooManyRequests => "A client may make 20 requests a second here.",
        ProblemCode::NotReady => "The broker takes no messages.",
        ProblemCode::Unauthorized => "Send Authorization: Bearer with the admin token.",
        ProblemCode::Forbidden => "This installation takes no writes: ADMIN_TOKEN is not set.",
        ProblemCode::MethodNotAllowed => "The Allow header lists the methods that are.",
        ProblemCode::UnsupportedMediaType => "Send the body with Content-Type: application/json.",
        ProblemCode::PayloadTooLarge => "A body has at most 64 KiB here.",
        ProblemCode::HasSales => "Seats of this concert have been sold, so it stays.",
        ProblemCode::AlreadyExists => "There is a ticket type of this name.",
        ProblemCode::Rejected => "The booking was rejected. Nothing was booked.",
        ProblemCode::Internal | ProblemCode::DatabaseFault => {
            "The fault is ours and has been noted. Try again later."
        }
        ProblemCode::Overloaded => "Too many requests are waiting. Try again in a moment.",
        ProblemCode::DatabaseUnavailable | ProblemCode::TimedOut | ProblemCode::TooManyStreams => {
            "Try again in a moment."
        }
    };
    Problem::new(code, detail)
}
