//! The booking page: plain HTML and JavaScript that uses the api as any other client does.

use axum::response::Html;

const PAGE: &str = include_str!("index.html");

pub async fn get_page() -> Html<&'static str> {
    Html(PAGE)
}
