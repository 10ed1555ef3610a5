//! A concert, and the request body that describes one.

use std::ops::Not;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveTime, Timelike};
use hamro_shared::domain::{ConcertId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::extract::FieldErrors;
use crate::http::openapi::text;
use crate::http::problem::Problem;

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
    /// When sales close. If missing, sales never close.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Timestamp>, nullable = false)]
    pub sales_close_at: Option<Timestamp>,
    /// Present if this is a test concert.
    #[serde(rename = "test", skip_serializing_if = "Not::not")]
    #[schema(value_type = Option<bool>, nullable = false, example = true)]
    pub is_test: bool,
}

/// The fields of a concert.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(example = json!({
    "title": "Hamro Rock Night", "artist": "The Rockers", "date": "2027-01-15", "time": "19:00",
    "venue": "Nepal Arena", "city": "Kathmandu", "image": "https://example.com/rock.jpg",
    "description": "The loudest night of the year.", "salesOpenAt": "2026-12-01T04:15:00Z",
}))]
pub struct ConcertBody {
    #[schema(required = true, schema_with = text::<200>)]
    title: Option<String>,
    #[schema(required = true, schema_with = text::<200>)]
    artist: Option<String>,
    /// Date at the venue, such as `2027-01-15`.
    #[schema(required = true, nullable = false, format = Date)]
    date: Option<String>,
    /// Time at the venue, such as `19:00` or `19:00:00`.
    #[schema(required = true, nullable = false, pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$")]
    time: Option<String>,
    #[schema(required = true, schema_with = text::<200>)]
    venue: Option<String>,
    #[schema(required = true, schema_with = text::<200>)]
    city: Option<String>,
    /// URL of a picture.
    #[schema(
        required = true,
        nullable = false,
        max_length = 2000,
        pattern = r"^https?://[^\s\x00-\x1f\x7f-\x9f]*$"
    )]
    image: Option<String>,
    #[schema(max_length = 5000, pattern = r"^[^\x00]*$")]
    description: Option<String>,
    #[schema(value_type = Option<Timestamp>)]
    sales_open_at: Option<String>,
    #[schema(value_type = Option<Timestamp>)]
    sales_close_at: Option<String>,
    /// Whether this is a concert for tests or load tests: it is not listed, and it can be deleted with its sales. Only
    /// `POST` sets it. `PUT` may repeat it or leave it out.
    test: Option<bool>,
}

impl ConcertBody {
    /// The value of `test`, if the body has one.
    pub fn test(&self) -> Option<bool> {
        self.test
    }

    /// Validates the body. It becomes the concert `id`.
    pub fn parse(self, id: ConcertId) -> Result<Concert, Problem> {
        let mut fields = FieldErrors::default();
        let title = fields.text("title", self.title, 200);
        let artist = fields.text("artist", self.artist, 200);
        let date = fields.required("date", self.date, |text| parse_date(&text));
        let time = fields.required("time", self.time, |text| parse_time(&text));
        let venue = fields.text("venue", self.venue, 200);
        let city = fields.text("city", self.city, 200);
        let image = fields.required("image", self.image, parse_image);
        let description = fields.check("description", self.description.map(parse_description).transpose());
        let opens =
            fields.check("salesOpenAt", self.sales_open_at.map(|text| parse_moment(&text)).transpose());
        let closes =
            fields.check("salesCloseAt", self.sales_close_at.map(|text| parse_moment(&text)).transpose());
        if let (Some(Some(opens)), Some(Some(closes))) = (opens, closes)
            && opens >= closes
        {
            fields.wrong("salesCloseAt", "must be later than salesOpenAt");
        }
        let concert = (|| {
            Some(Concert {
                id,
                title: title?,
                artist: artist?,
                date: date?,
                time: time?,
                venue: venue?,
                city: city?,
                image: image?,
                description: description?,
                sales_open_at: opens?,
                sales_close_at: closes?,
                is_test: self.test.unwrap_or_default(),
            })
        })();
        fields.finish(concert)
    }
}

fn parse_date(text: &str) -> Result<NaiveDate, &'static str> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
    // RFC 3339 allows no signs, spaces or single digits. chrono accepts them, but does not write them.
    let date = date.filter(|date| (1..=9999).contains(&date.year()) && date.to_string() == text);
    date.ok_or("must be a date such as 2027-01-15")
}

fn parse_time(text: &str) -> Result<NaiveTime, &'static str> {
    let read = |format| {
        let time = NaiveTime::parse_from_str(text, format).ok();
        time.filter(|time| time.format(format).to_string() == text)
    };
    let time = read("%H:%M:%S").or_else(|| read("%H:%M"));
    // chrono writes a leap second as more than 10⁹ nanoseconds. Postgres would store it as the next minute.
    time.filter(|time| time.nanosecond() == 0).ok_or("must be a time such as 19:00")
}

fn parse_image(text: String) -> Result<String, &'static str> {
    let is_address = text.starts_with("https://") || text.starts_with("http://");
    let is_clean = text.chars().count() <= 2000 && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    if is_address && is_clean {
        Ok(text)
    } else {
        Err("must be a URL that starts with https:// or http:// and has at most 2000 characters")
    }
}

fn parse_description(text: String) -> Result<String, &'static str> {
    let is_clean = text.chars().count() <= 5000 && !text.contains('\0');
    if is_clean { Ok(text) } else { Err("must have at most 5000 characters and no null characters") }
}

fn parse_moment(text: &str) -> Result<Timestamp, &'static str> {
    let expected = "must be a timestamp such as 2026-12-01T04:15:00Z";
    let moment = DateTime::<FixedOffset>::parse_from_rfc3339(text).map_err(|_| expected)?.to_utc();
    parse_date(&moment.format("%Y-%m-%d").to_string()).map_err(|_| expected)?;
    Ok(moment.into())
}
