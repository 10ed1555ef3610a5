//! The request body that describes a concert.

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveTime, Timelike};
use hamro_shared::domain::{ConcertId, Timestamp, visible_text};
use serde::Deserialize;
use utoipa::ToSchema;

use super::concert::Concert;
use super::concert_time::TIME_ZONE;
use crate::http::extract::FieldErrors;
use crate::http::field::Field;
use crate::http::openapi::text;
use crate::http::problem::Problem;

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
    /// The venue's time zone, by its IANA name. If unknown, the concert counts as not begun until its date is over
    /// everywhere.
    #[serde(default)]
    #[schema(
        value_type = Option<String>,
        max_length = 100,
        pattern = "^(UTC|[A-Z][A-Za-z_]*(/[A-Za-z0-9_+-]+)+)$",
        example = "Asia/Kathmandu"
    )]
    time_zone: Field<String>,
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
    #[serde(default)]
    #[schema(
        value_type = Option<String>,
        max_length = 5000,
        pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb]*$"
    )]
    description: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<Timestamp>)]
    sales_open_at: Field<String>,
    #[serde(default)]
    #[schema(value_type = Option<Timestamp>)]
    sales_close_at: Field<String>,
    /// The maximum number of seats that one customer may hold over all bookings. It replaces the server's usual limit, if it
    /// has one. Seats that were sold before count too; none is taken back.
    #[serde(default)]
    #[schema(value_type = Option<i32>, minimum = 1, example = 6)]
    seats_per_customer: Field<i32>,
    /// Whether this is a concert for tests or load tests: it is not listed, and it can be deleted with its sales. Only
    /// `POST` sets it. `PUT` may repeat it or leave it out.
    test: Option<bool>,
    /// `true` allows a new date and time that are past. Seats of a past concert cannot be booked.
    allow_past_date: Option<bool>,
}

/// The validated body of a request.
pub struct ConcertDetails {
    title: String,
    artist: String,
    date: NaiveDate,
    time: NaiveTime,
    time_zone: Field<String>,
    venue: String,
    city: String,
    image: String,
    description: Field<String>,
    sales_open_at: Field<Timestamp>,
    sales_close_at: Field<Timestamp>,
    seats_per_customer: Field<i32>,
    test: Option<bool>,
    /// Whether the date and time may be past.
    pub allow_past_date: bool,
}

impl ConcertBody {
    pub fn parse(self) -> Result<ConcertDetails, Problem> {
        let mut fields = FieldErrors::default();
        let title = fields.text("title", self.title, 200);
        let artist = fields.text("artist", self.artist, 200);
        let date = fields.required("date", self.date, |text| parse_date(&text));
        let time = fields.required("time", self.time, |text| parse_time(&text));
        let time_zone = fields.check("timeZone", self.time_zone.parse(parse_time_zone));
        let venue = fields.text("venue", self.venue, 200);
        let city = fields.text("city", self.city, 200);
        let image = fields.required("image", self.image, parse_image);
        let description = fields.check("description", self.description.parse(parse_description));
        let opens = fields.check("salesOpenAt", self.sales_open_at.parse(parse_moment));
        let closes = fields.check("salesCloseAt", self.sales_close_at.parse(parse_moment));
        let seats_per_customer =
            fields.check("seatsPerCustomer", self.seats_per_customer.parse(parse_seats_per_customer));
        if let (Some(Field::Value(opens)), Some(Field::Value(closes))) = (&opens, &closes)
            && opens >= closes
        {
            fields.wrong("salesCloseAt", "must be later than salesOpenAt");
        }
        let details = (|| {
            Some(ConcertDetails {
                title: title?,
                artist: artist?,
                date: date?,
                time: time?,
                time_zone: time_zone?,
                venue: venue?,
                city: city?,
                image: image?,
                description: description?,
                sales_open_at: opens?,
                sales_close_at: closes?,
                seats_per_customer: seats_per_customer?,
                test: self.test,
                allow_past_date: self.allow_past_date.unwrap_or_default(),
            })
        })();
        fields.finish(details)
    }
}

impl ConcertDetails {
    /// The concert that these details create.
    pub fn create(self, id: ConcertId) -> Concert {
        let is_test = self.test.unwrap_or_default();
        self.merge(id, is_test, None)
    }

    /// The concert `stored` after an update with these details, or what prevents the update.
    pub fn update(self, stored: &Concert) -> Result<Concert, Problem> {
        let is_test = stored.is_test;
        if self.test.is_some_and(|test| test != is_test) {
            let detail = format!("cannot be changed: this concert was created with {is_test}");
            return Err(Problem::invalid_field("test", detail));
        }
        let closes_later = self.sales_close_at.value().is_some();
        let merged = self.merge(stored.id, is_test, Some(stored));
        match (merged.sales_open_at, merged.sales_close_at) {
            (Some(opens), Some(closes)) if opens >= closes => Err(if closes_later {
                Problem::invalid_field(
                    "salesCloseAt",
                    format!("must be later than salesOpenAt, which is {opens}"),
                )
            } else {
                Problem::invalid_field(
                    "salesOpenAt",
                    format!("must be earlier than salesCloseAt, which is {closes}"),
                )
            }),
            _ => Ok(merged),
        }
    }

    /// An optional field that is missing keeps its stored value.
    fn merge(self, id: ConcertId, is_test: bool, stored: Option<&Concert>) -> Concert {
        Concert {
            id,
            title: self.title,
            artist: self.artist,
            date: self.date,
            time: self.time,
            time_zone: self.time_zone.merge(stored.and_then(|concert| concert.time_zone.clone())),
            venue: self.venue,
            city: self.city,
            image: self.image,
            description: self.description.merge(stored.and_then(|concert| concert.description.clone())),
            sales_open_at: self.sales_open_at.merge(stored.and_then(|concert| concert.sales_open_at)),
            sales_close_at: self.sales_close_at.merge(stored.and_then(|concert| concert.sales_close_at)),
            seats_per_customer: self
                .seats_per_customer
                .merge(stored.and_then(|concert| concert.seats_per_customer)),
            is_test,
        }
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

/// Whether the text has the form of an IANA name, and is no abbreviation or POSIX rule. The database knows which names
/// exist.
fn parse_time_zone(text: String) -> Result<String, &'static str> {
    let is_part =
        |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_+-".contains(c));
    let is_name = text == "UTC"
        || text.split_once('/').is_some_and(|(area, location)| {
            area.starts_with(|c: char| c.is_ascii_uppercase())
                && area.chars().all(|c| c.is_ascii_alphabetic() || c == '_')
                && location.split('/').all(is_part)
        });
    if is_name && text.len() <= 100 { Ok(text) } else { Err(TIME_ZONE) }
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

fn parse_description(text: String) -> Result<String, String> {
    if text.chars().count() > 5000 {
        return Err("must have at most 5000 characters".to_owned());
    }
    visible_text::check_lines(&text).map_err(|error| error.to_string())?;
    Ok(text)
}

fn parse_seats_per_customer(seats: i32) -> Result<i32, &'static str> {
    if seats >= 1 { Ok(seats) } else { Err("must be at least 1") }
}

fn parse_moment(text: String) -> Result<Timestamp, &'static str> {
    let expected = "must be a timestamp such as 2026-12-01T04:15:00Z";
    let moment = DateTime::<FixedOffset>::parse_from_rfc3339(&text).map_err(|_| expected)?.to_utc();
    parse_date(&moment.format("%Y-%m-%d").to_string()).map_err(|_| expected)?;
    Ok(moment.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_zone_is_an_iana_name_and_neither_an_abbreviation_nor_a_rule() {
        for name in
            ["Asia/Kathmandu", "America/Argentina/Buenos_Aires", "America/Port-au-Prince", "Etc/GMT+5", "UTC"]
        {
            assert_eq!(parse_time_zone(name.to_owned()).as_deref(), Ok(name));
        }
        for other in [
            "",
            "NPT",
            "EST5EDT",
            "EST5EDT,M3.2.0/2,M11.1.0/2",
            "UTC+5:45",
            "+05:45",
            "<+0545>-05:45",
            "Nepal",
            "Asia/",
            "/Asia",
            "Asia//Kathmandu",
            "posix/Asia/Kathmandu",
            "Asia/Kathmandu ",
            "Asia/Kath mandu",
            "Asia/Kathmandu\0",
        ] {
            assert_eq!(parse_time_zone(other.to_owned()), Err(TIME_ZONE), "{other}");
        }
    }
}
