//! A concert, as clients see it.

use std::ops::Not;

use chrono::{NaiveDate, NaiveTime};
use hamro_shared::domain::{ConcertId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::etag::ETag;

/// A concert.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Concert {
    #[schema(value_type = Uuid, example = "755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11")]
    pub id: ConcertId,
    #[schema(example = "Hamro Rock Night")]
    pub title: String,
    #[schema(example = "The Rockers")]
    pub artist: String,
    #[schema(value_type = String, format = Date, example = "2026-12-22")]
    pub date: NaiveDate,
    #[schema(value_type = String, example = "19:00:00")]
    pub time: NaiveTime,
    /// The venue's time zone. If missing, it is unknown, and the concert counts as not begun until its date is over
    /// everywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "Asia/Kathmandu")]
    pub time_zone: Option<String>,
    #[schema(example = "Nepal Arena")]
    pub venue: String,
    #[schema(example = "Kathmandu")]
    pub city: String,
    #[schema(example = "https://example.com/rock.jpg")]
    pub image: String,
    #[schema(required = true, example = "The loudest night of the year.")]
    pub description: Option<String>,
    /// When sales open. If missing, sales are open from the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Timestamp>, nullable = false)]
    pub sales_open_at: Option<Timestamp>,
    /// When sales close. They close at the latest when the concert begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Timestamp>, nullable = false)]
    pub sales_close_at: Option<Timestamp>,
    /// The maximum number of seats that one customer may hold over all bookings. If missing, the server's usual limit
    /// applies, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1, example = 6)]
    pub seats_per_customer: Option<i32>,
    /// Present if this is a test concert.
    #[serde(rename = "test", skip_serializing_if = "Not::not")]
    #[schema(value_type = Option<bool>, nullable = false, example = true)]
    pub is_test: bool,
}

impl Concert {
    pub fn etag(&self) -> ETag {
        ETag::strong(self)
    }
}
