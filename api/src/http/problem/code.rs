//! The problem codes, each with its HTTP status, its title and its usual detail.

use axum::http::StatusCode;

macro_rules! codes {
    ($($variant:ident => $code:literal, $status:ident, $title:literal, $detail:literal;)*) => {
        /// A stable identifier of a kind of problem.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ProblemCode {
            $($variant,)*
        }

        impl ProblemCode {
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What is wrong and what to do, where nothing more specific is known.
            pub fn detail(self) -> &'static str {
                match self { $(Self::$variant => $detail,)* }
            }
        }
    };
}

codes! {
    SeatsTaken => "seats-taken", CONFLICT,
        "The seats are already taken", "Choose other seats.";
    SoldOut => "sold-out", CONFLICT,
        "The concert is sold out", "No seats are left for this concert.";
    Rejected => "rejected", CONFLICT,
        "The booking was rejected", "The booking was rejected. Nothing was booked.";
    SaleNotOpen => "sale-not-open", CONFLICT,
        "Sales have not opened yet", "Nothing was booked. Book once sales are open.";
    SaleClosed => "sale-closed", CONFLICT,
        "Sales have closed", "Seats of this concert can no longer be booked.";
    PriceChanged => "price-changed", CONFLICT,
        "The price has changed", "Nothing was booked. Load the prices again, and confirm the new total.";
    LimitReached => "limit-reached", CONFLICT,
        "The limit of seats per customer is reached",
        "Nothing was booked. A customer can book only a limited number of seats of this concert.";
    SeatsNotFound => "seats-not-found", NOT_FOUND,
        "The seats do not exist", "Check the seat ids.";
    InvalidRequest => "invalid-request", UNPROCESSABLE_ENTITY,
        "The request is invalid", "Correct the fields listed in errors.";
    MalformedRequest => "malformed-request", BAD_REQUEST,
        "The request is malformed", "The body is not valid JSON.";
    IdempotencyKeyReused => "idempotency-key-reused", UNPROCESSABLE_ENTITY,
        "The idempotency key was used for another request",
        "This Idempotency-Key was used for another booking. Use a new key for a new booking.";
    TicketNotFound => "ticket-not-found", NOT_FOUND,
        "The ticket does not exist", "Unknown ticket.";
    ExpiredInQueue => "expired-in-queue", SERVICE_UNAVAILABLE,
        "The booking expired in the queue",
        "The booking was not processed before its deadline. Nothing was booked. Try again.";
    OutcomeUnknown => "outcome-unknown", GATEWAY_TIMEOUT,
        "The outcome is not known yet",
        "The booking may still go through. Follow the ticket before you try again.";
    QueueFull => "queue-full", SERVICE_UNAVAILABLE,
        "The queue is full", "Nothing was booked. Try again in a moment.";
    IntakePaused => "intake-paused", SERVICE_UNAVAILABLE,
        "Bookings are paused", "Nothing was booked. The organisers have paused bookings. Try again later.";
    IntakeLimited => "intake-limited", SERVICE_UNAVAILABLE,
        "Too many people are booking at the moment",
        "Nothing was booked. Bookings are accepted at a limited rate. Try again in a moment.";
    BrokerUnavailable => "broker-unavailable", SERVICE_UNAVAILABLE,
        "Bookings cannot be accepted at the moment", "Nothing was booked. Try again in a moment.";
    UpgradeInProgress => "upgrade-in-progress", SERVICE_UNAVAILABLE,
        "The installation is being upgraded",
        "Nothing was booked. Bookings with expectedTotal are accepted once all workers are upgraded. Try again in a moment.";
    DatabaseUnavailable => "database-unavailable", SERVICE_UNAVAILABLE,
        "The database is unavailable", "Try again in a moment.";
    TimedOut => "timed-out", SERVICE_UNAVAILABLE,
        "The request timed out", "The request took too long. Try again in a moment.";
    TooManyRequests => "too-many-requests", TOO_MANY_REQUESTS,
        "Too many requests from this client", "Retry-After says when to try again.";
    DatabaseFault => "database-fault", SERVICE_UNAVAILABLE,
        "The database needs repair", "The error was logged. Try again later.";
    Overloaded => "overloaded", SERVICE_UNAVAILABLE,
        "The server is overloaded", "Too many requests are waiting. Try again in a moment.";
    TooManyStreams => "too-many-streams", SERVICE_UNAVAILABLE,
        "Too many event streams are open", "Poll instead, or try again in a moment.";
    ClientLimitReached => "client-limit-reached", TOO_MANY_REQUESTS,
        "This client has reached its limit", "This address has as much as one client may have. Try again in a moment.";
    NotReady => "not-ready", SERVICE_UNAVAILABLE,
        "The service is not ready", "The broker accepts no messages.";
    Unauthorized => "unauthorized", UNAUTHORIZED,
        "A valid admin token is required", "Send the admin token as Authorization: Bearer TOKEN.";
    Forbidden => "forbidden", FORBIDDEN,
        "Writes are disabled", "ADMIN_TOKEN is not set on the server.";
    NotFound => "not-found", NOT_FOUND,
        "The resource does not exist", "Unknown resource.";
    LayoutChanged => "layout-changed", NOT_FOUND,
        "The layout has changed",
        "Load the status of the seats, and then the layout that its layoutVersion names.";
    MethodNotAllowed => "method-not-allowed", METHOD_NOT_ALLOWED,
        "The method is not allowed", "The Allow header lists the allowed methods.";
    NotAcceptable => "not-acceptable", NOT_ACCEPTABLE,
        "No accepted encoding is available",
        "Accept-Encoding must allow identity, gzip or br.";
    UnsupportedMediaType => "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE,
        "The media type of the body is not supported", "Content-Type must be application/json.";
    PayloadTooLarge => "payload-too-large", PAYLOAD_TOO_LARGE,
        "The body is too large", "The body must not be larger than 64 KiB.";
    RequestTimeout => "request-timeout", REQUEST_TIMEOUT,
        "The request was not received in time", "The body was not received in time. Send the request again.";
    UnsupportedTransferCoding => "unsupported-transfer-coding", NOT_IMPLEMENTED,
        "The transfer coding is not supported",
        "Transfer-Encoding must be chunked, or missing. Use Content-Encoding to compress a body.";
    HasSales => "has-sales", CONFLICT,
        "Seats have been sold", "Sold seats, and their tier and concert, cannot be deleted.";
    NotConfirmed => "not-confirmed", CONFLICT,
        "The booking is not confirmed", "Only a confirmed booking has seats that can be released.";
    AlreadyDecided => "already-decided", CONFLICT,
        "The dead letter cannot be decided so", "Somebody has already decided about this dead letter.";
    InUse => "in-use", CONFLICT,
        "The resource is in use", "Ticket tiers of concerts have this ticket type. Delete them first, or keep it.";
    AlreadyExists => "already-exists", CONFLICT,
        "The resource already exists", "A ticket type with this name already exists.";
    PreconditionFailed => "precondition-failed", PRECONDITION_FAILED,
        "The resource has been changed",
        "It has been changed since you read it, and your change was not made. Read it again, and repeat your change.";
    Internal => "internal", INTERNAL_SERVER_ERROR,
        "An internal error occurred", "The error was logged. Try again later.";
}
