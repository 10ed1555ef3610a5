//! All endpoints, and what every request passes through.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{
    ALLOW, AUTHORIZATION, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, Method, Request};
use axum::response::{IntoResponse, Response};
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{Any as AnyOrigin, CorsLayer};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::trace::TraceLayer;
use tracing::Span;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::config::CorsOrigin;
use crate::gate::{self, REQUEST_ID};
use crate::openapi::ApiDoc;
use crate::problem::{Problem, ProblemCode};
use crate::rate_limit::RateLimit;
use crate::state::AppState;
use crate::{bookings, catalogue, health, page, queue};

/// The whole application.
pub fn router(state: AppState, cors_origin: &CorsOrigin, rate_limit: Option<Arc<RateLimit>>) -> Router {
    let (router, document) = endpoints().split_for_parts();
    let docs = Router::from(SwaggerUi::new("/docs").url("/openapi.json", document));
    router
        .merge(page::routes().merge(docs).layer(CompressionLayer::new()))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .with_state(state)
        // One layer of many parts: each layer of its own would be one more copy of all below it for every request.
        .layer((
            SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid),
            // A failure is logged where it is handled, with its cause.
            TraceLayer::new_for_http().make_span_with(span).on_failure(()),
            PropagateRequestIdLayer::new(REQUEST_ID),
            cors(cors_origin),
            SetResponseHeaderLayer::if_not_present(
                X_CONTENT_TYPE_OPTIONS,
                HeaderValue::from_static("nosniff"),
            ),
            SetResponseHeaderLayer::if_not_present(REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            middleware::from_fn_with_state(rate_limit, gate::pass),
            CatchPanicLayer::custom(panicked),
        ))
}

/// The OpenAPI document of the same endpoints.
pub fn openapi() -> utoipa::openapi::OpenApi {
    endpoints().split_for_parts().1
}

fn endpoints() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(ApiDoc::openapi())
        .routes(routes!(bookings::create_booking::create_booking))
        .routes(routes!(bookings::get_booking::get_booking))
        .routes(routes!(bookings::follow_booking::follow_booking))
        .routes(routes!(bookings::book_seats::book_seats))
        .routes(routes!(catalogue::follow_seats::follow_seats))
        .routes(routes!(queue::get_queue::get_queue))
        .routes(routes!(health::live::get_liveness))
        .routes(routes!(health::ready::get_readiness))
        .merge(catalogue_endpoints().layer(CompressionLayer::new()))
}

/// Those whose answers may be long. The others gain nothing from being compressed, and a stream would keep room for a
/// compressor for as long as it is open.
fn catalogue_endpoints() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(
            catalogue::list_concerts::list_concerts,
            catalogue::create_concert::create_concert,
            catalogue::update_concert::update_concert
        ))
        .routes(routes!(catalogue::get_concert::get_concert, catalogue::delete_concert::delete_concert))
        .routes(routes!(catalogue::create_seats::create_seats))
        .routes(routes!(
            catalogue::list_ticket_tiers::list_ticket_tiers,
            catalogue::create_ticket_tier::create_ticket_tier,
            catalogue::update_ticket_tier::update_ticket_tier
        ))
        .routes(routes!(catalogue::list_all_ticket_tiers::list_all_ticket_tiers))
        .routes(routes!(
            catalogue::get_ticket_tier::get_ticket_tier,
            catalogue::delete_ticket_tier::delete_ticket_tier
        ))
        .routes(routes!(
            catalogue::list_ticket_types::list_ticket_types,
            catalogue::create_ticket_type::create_ticket_type
        ))
        .routes(routes!(catalogue::list_seats::list_seats))
        .routes(routes!(catalogue::list_available_seats::list_available_seats))
}

/// Only for who debugs: a span for each request costs the intake a sixth of its rate.
fn span(request: &Request<Body>) -> Span {
    let id = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    tracing::debug_span!("http.request", method = %request.method(), path = request.uri().path(), request.id = id)
}

fn cors(origin: &CorsOrigin) -> CorsLayer {
    let layer = CorsLayer::new()
        // Or browsers ask before nearly every booking whether they may.
        .max_age(Duration::from_hours(1))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            IF_NONE_MATCH,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
            HeaderName::from_static("prefer"),
            REQUEST_ID,
        ])
        .expose_headers([
            ALLOW,
            ETAG,
            LOCATION,
            RETRY_AFTER,
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
    Problem::new(ProblemCode::MethodNotAllowed, "The Allow header lists the methods that are.")
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let said = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("nothing");
    Problem::internal(anyhow::anyhow!("a handler panicked, saying {said}")).into_response()
}
