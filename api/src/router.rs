//! All endpoints, and the layers around them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::{
    ACCEPT_ENCODING, AGE, ALLOW, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_MATCH,
    IF_NONE_MATCH, LOCATION, RETRY_AFTER,
};
use axum::http::{HeaderName, Method};
use axum::middleware::{from_fn, from_fn_with_state};
use hamro_shared::telemetry::metrics::Exposition;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any as AnyOrigin, CorsLayer};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::admin_auth::log_changes;
use crate::http::own_writes::{OwnWrites, note_own_writes};
use crate::http::problem::{Problem, ProblemCode};
use crate::openapi::ApiDoc;
use crate::server::config::{CorsOrigin, HttpConfig};
use crate::server::middleware::{MiddlewareState, handle_request};
use crate::server::request_id::REQUEST_ID;
use crate::server::request_span::{TRACEPARENT, TRACESTATE};
use crate::state::AppState;
use crate::{booking_page, bookings, catalogue, docs, health, ops, queue};

/// The whole application.
pub fn router(
    state: AppState,
    config: &HttpConfig,
    middleware: MiddlewareState,
    exposition: Exposition,
) -> Router {
    let (router, document) = endpoints(&state.own_writes).split_for_parts();
    let counts = middleware.counts.with_routes(document.paths.paths.keys());
    let docs = docs::routes(document, config);
    let middleware = MiddlewareState { counts, ..middleware };
    // The booking page is compressed already.
    let pages = ops::page::routes().merge(docs).layer(CompressionLayer::new());
    router
        .merge(ops::routes())
        .merge(booking_page::routes())
        .merge(pages)
        .merge(health::metrics::routes(exposition))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .with_state(state)
        // CORS is the outer layer, so that browsers can also read the responses that the middleware creates.
        .layer((cors(&config.cors_origin), from_fn_with_state(Arc::new(middleware), handle_request)))
}

/// The OpenAPI document of the same endpoints.
pub fn openapi() -> utoipa::openapi::OpenApi {
    endpoints(&OwnWrites::default()).split_for_parts().1
}

fn endpoints(own_writes: &OwnWrites) -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(ApiDoc::openapi())
        .routes(routes!(bookings::create_booking::create_booking))
        .routes(routes!(bookings::get_booking::get_booking))
        .routes(routes!(bookings::follow_booking::follow_booking))
        .routes(routes!(bookings::book_seats::book_seats))
        .merge(
            OpenApiRouter::new()
                .routes(routes!(bookings::release_booking::release_booking))
                .merge(catalogue_writes())
                .layer((from_fn(log_changes), from_fn_with_state(own_writes.clone(), note_own_writes))),
        )
        .routes(routes!(catalogue::follow_seats::follow_seats))
        .routes(routes!(queue::get_queue::get_queue))
        .routes(routes!(health::live::get_liveness))
        .routes(routes!(health::ready::get_readiness))
        .merge(catalogue_reads())
}

/// What everybody reads. These responses are ready, in each encoding: no layer may delay them.
fn catalogue_reads() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(catalogue::list_concerts::list_concerts))
        .routes(routes!(catalogue::get_concert::get_concert))
        .routes(routes!(catalogue::list_ticket_tiers::list_ticket_tiers))
        .routes(routes!(catalogue::list_all_ticket_tiers::list_all_ticket_tiers))
        .routes(routes!(catalogue::get_ticket_tier::get_ticket_tier))
        .routes(routes!(catalogue::list_ticket_types::list_ticket_types))
        .routes(routes!(catalogue::list_seats::list_seats))
        .routes(routes!(catalogue::list_available_seats::list_available_seats))
        .routes(routes!(catalogue::get_seat_status::get_seat_status))
        .routes(routes!(catalogue::get_seat_layout::get_seat_layout))
}

/// Endpoints of administrators.
fn catalogue_writes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(catalogue::create_concert::create_concert, catalogue::update_concert::update_concert))
        .routes(routes!(catalogue::delete_concert::delete_concert))
        .routes(routes!(catalogue::create_seats::create_seats, catalogue::delete_seats::delete_seats))
        .routes(routes!(catalogue::delete_seat::delete_seat))
        .routes(routes!(
            catalogue::create_ticket_tier::create_ticket_tier,
            catalogue::update_ticket_tier::update_ticket_tier
        ))
        .routes(routes!(catalogue::delete_ticket_tier::delete_ticket_tier))
        .routes(routes!(catalogue::create_ticket_type::create_ticket_type))
        .routes(routes!(catalogue::delete_ticket_type::delete_ticket_type))
}

fn cors(origin: &CorsOrigin) -> CorsLayer {
    let layer = CorsLayer::new()
        // Without it, browsers would send a preflight request before nearly every booking.
        .max_age(Duration::from_hours(1))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_ENCODING,
            CONTENT_TYPE,
            IF_MATCH,
            IF_NONE_MATCH,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("prefer"),
            REQUEST_ID,
            TRACEPARENT,
            TRACESTATE,
        ])
        .expose_headers([
            ACCEPT_ENCODING,
            ALLOW,
            AGE,
            ETAG,
            LOCATION,
            RETRY_AFTER,
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("preference-applied"),
            HeaderName::from_static("ratelimit"),
            HeaderName::from_static("ratelimit-policy"),
            REQUEST_ID,
        ]);
    match origin {
        CorsOrigin::Any => layer.allow_origin(AnyOrigin),
        CorsOrigin::These(origins) => layer.allow_origin(origins.clone()),
    }
}

async fn unknown_path() -> Problem {
    Problem::not_found("path")
}

async fn unknown_method() -> Problem {
    Problem::of(ProblemCode::MethodNotAllowed)
}
