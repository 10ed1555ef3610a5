//! The catalogue: `/concerts`, `/ticket-types` and `/ticket-tiers`.

mod concert_times;
mod concerts;
mod test_concerts;
mod updates;
mod writes;

use serde_json::{Value, json};

/// A valid concert.
fn concert() -> Value {
    json!({
        "title": "Folk Night", "artist": "Kutumba", "date": "2099-03-01", "time": "18:30", "venue": "Patan Durbar",
        "city": "Lalitpur", "image": "https://example.com/folk.jpg",
    })
}
