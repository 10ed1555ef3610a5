//! The document of the page: a head that link previews and search engines read, and the data that a first visit shows
//! without another request.

use askama::Template;
use serde::Serialize;
use serde_json::json;

use super::assets::{SCRIPT, STYLE};
use crate::catalogue::concert::Concert;
use crate::catalogue::page_data::CatalogueData;

pub const HTML: &str = "text/html; charset=utf-8";

/// What the page's script reads.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PageData {
    pub settings: PageSettings,
    #[serde(flatten)]
    pub catalogue: Option<CatalogueData>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PageSettings {
    pub max_seats: usize,
}

/// What the head says.
pub struct Head {
    pub title: String,
    pub heading: String,
    pub description: String,
    pub image: Option<String>,
    /// Whether search engines may list it.
    pub is_indexed: bool,
}

#[derive(Template)]
#[template(path = "page.html")]
struct PageTemplate<'a> {
    head: &'a Head,
    /// The path from this document to the root of the page, which a proxy may serve below a path.
    base: &'a str,
    script: &'a str,
    style: &'a str,
    event: Option<String>,
    data: String,
}

impl Head {
    pub fn list() -> Self {
        Self {
            title: "Hamro Concert – seats for concerts".to_owned(),
            heading: "Concerts".to_owned(),
            description:
                "Choose your seats on the map and book them within seconds. First come, first served."
                    .to_owned(),
            image: None,
            is_indexed: true,
        }
    }

    pub fn concert(concert: &Concert) -> Self {
        let Concert { title, artist, date, venue, city, image, .. } = concert;
        Self {
            title: format!("{title} – Hamro Concert"),
            heading: title.clone(),
            description: format!(
                "{artist}, {}, {venue}, {city}. Choose your seats and book.",
                date.format("%-d %B %Y")
            ),
            image: Some(image.clone())
                .filter(|image| image.starts_with("https://") || image.starts_with("http://")),
            is_indexed: !concert.is_test,
        }
    }

    /// Says nothing about the ticket, because link previews show the head.
    pub fn ticket() -> Self {
        Self::unlisted("Your booking")
    }

    pub fn tickets() -> Self {
        Self::unlisted("My tickets")
    }

    pub fn missing() -> Self {
        Self::unlisted("Not found")
    }

    fn unlisted(heading: &str) -> Self {
        Self {
            title: format!("{heading} – Hamro Concert"),
            heading: heading.to_owned(),
            description: "Seats for concerts.".to_owned(),
            image: None,
            is_indexed: false,
        }
    }
}

/// The document. `base` is the path from its address to the root of the page: empty, or `../`.
pub fn render(head: &Head, base: &str, data: &PageData) -> String {
    let event = match data.catalogue.as_ref() {
        Some(CatalogueData { concerts, is_list: false, .. }) => concerts.first().map(event),
        _ => None,
    };
    let data = escape_for_script(&serde_json::to_value(data).expect("has string keys only"));
    let page = PageTemplate { head, base, script: SCRIPT, style: STYLE, event, data };
    page.render().expect("writing to memory does not fail")
}

/// The concert for search engines (schema.org).
fn event(concert: &Concert) -> String {
    let Concert { title, artist, date, time, venue, city, image, description, .. } = concert;
    escape_for_script(&json!({
        "@context": "https://schema.org",
        "@type": "Event",
        "name": title,
        "startDate": format!("{date}T{time}"),
        "image": image,
        "description": description,
        "performer": { "@type": "PerformingGroup", "name": artist },
        "location": { "@type": "Place", "name": venue, "address": city },
    }))
}

/// JSON that cannot end the script element that it is in.
fn escape_for_script(json: &serde_json::Value) -> String {
    json.to_string().replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_end_the_script_that_it_is_in() {
        let json = escape_for_script(&json!({ "title": "</script><script>alert(1)</script><!--" }));
        assert!(!json.contains('<'), "{json}");
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["title"], "</script><script>alert(1)</script><!--");
    }

    #[test]
    fn text_in_the_head_cannot_become_markup() {
        let head = Head { title: "\"><img onerror=alert(1)>".to_owned(), ..Head::list() };
        let data = PageData { settings: PageSettings { max_seats: 10 }, catalogue: None };
        let html = render(&head, "", &data);
        assert!(!html.contains("<img"), "{html}");
    }
}
