//! The stable names of the problems, each with its HTTP status and title.

use axum::http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident => $code:literal, $status:ident, $title:literal;)*) => {
        /// The stable names of the problems.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ProblemCode {
            $($(#[$doc])* $variant,)*
        }

        impl ProblemCode {
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    SeatsTaken => "seats-taken", CONFLICT, "Somebody else has these seats";
    SoldOut => "sold-out", CONFLICT, "The concert is sold out";
    Rejected => "rejected", CONFLICT, "The booking was rejected";
    SaleNotOpen => "sale-not-open", CONFLICT, "The sale has not opened yet";
    SaleClosed => "sale-closed", CONFLICT, "The sale is over";
    SeatsNotFound => "seats-not-found", NOT_FOUND, "There are no such seats";
    InvalidRequest => "invalid-request", UNPROCESSABLE_ENTITY, "The request is not valid";
    MalformedRequest => "malformed-request", BAD_REQUEST, "The request cannot be read";
    IdempotencyKeyReused => "idempotency-key-reused", UNPROCESSABLE_ENTITY,
        "The idempotency key was used for another request";
    TicketNotFound => "ticket-not-found", NOT_FOUND, "There is no such ticket";
    ExpiredInQueue => "expired-in-queue", SERVICE_UNAVAILABLE, "The booking was not settled in time";
    OutcomeUnknown => "outcome-unknown", GATEWAY_TIMEOUT, "The outcome is not known yet";
    QueueFull => "queue-full", SERVICE_UNAVAILABLE, "The queue is full";
    BrokerUnavailable => "broker-unavailable", SERVICE_UNAVAILABLE, "Bookings cannot be taken at the moment";
    DatabaseUnavailable => "database-unavailable", SERVICE_UNAVAILABLE, "The database cannot be reached";
    TimedOut => "timed-out", SERVICE_UNAVAILABLE, "The answer took too long";
    TooManyRequests => "too-many-requests", TOO_MANY_REQUESTS, "Too many requests from one client";
    DatabaseFault => "database-fault", SERVICE_UNAVAILABLE, "The database needs repair";
    Overloaded => "overloaded", SERVICE_UNAVAILABLE, "The server is too busy";
    TooManyStreams => "too-many-streams", SERVICE_UNAVAILABLE, "Too many event streams are open";
    NotReady => "not-ready", SERVICE_UNAVAILABLE, "The service is not ready";
    Unauthorized => "unauthorized", UNAUTHORIZED, "The request lacks a valid token";
    Forbidden => "forbidden", FORBIDDEN, "This is not allowed";
    NotFound => "not-found", NOT_FOUND, "There is no such thing";
    MethodNotAllowed => "method-not-allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";
    UnsupportedMediaType => "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The body has the wrong media type";
    PayloadTooLarge => "payload-too-large", PAYLOAD_TOO_LARGE, "The body is too large";
    HasSales => "has-sales", CONFLICT, "Tickets have been sold for it";
    AlreadyExists => "already-exists", CONFLICT, "There is one already";
    Internal => "internal", INTERNAL_SERVER_ERROR, "Something went wrong on our side";
}
