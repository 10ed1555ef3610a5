//! Moments and days as they are stored.
//!
//! Postgres stores `infinity`, and years that neither chrono nor RFC 3339 has, and sqlx panics when it reads one as a type
//! of chrono. One concert whose sale opens at `infinity` would end every process that reads it. These types read such a
//! value as the nearest moment or day of the years 1 to 9999.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueFormat, PgValueRef, Postgres};
use sqlx::{Decode, Type};

use crate::domain::Timestamp;

/// A `timestamptz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredTimestamp(Timestamp);

/// A `date`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredDate(NaiveDate);

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999Z, in milliseconds since 1970.
const MILLIS: (i64, i64) = (-62_135_596_800_000, 253_402_300_799_999);

/// 2000-01-01T00:00:00Z, from which Postgres counts, likewise.
const EPOCH_MILLIS: i64 = 946_684_800_000;

/// 0001-01-01 and 9999-12-31, as days of the common era.
const DAYS: (i32, i32) = (1, 3_652_059);

/// 2000-01-01, from which Postgres counts, likewise.
const EPOCH_DAY: i32 = 730_120;

impl From<StoredTimestamp> for Timestamp {
    fn from(StoredTimestamp(moment): StoredTimestamp) -> Self {
        moment
    }
}

impl From<StoredDate> for NaiveDate {
    fn from(StoredDate(day): StoredDate) -> Self {
        day
    }
}

impl Type<Postgres> for StoredTimestamp {
    fn type_info() -> PgTypeInfo {
        <DateTime<Utc> as Type<Postgres>>::type_info()
    }
}

impl Type<Postgres> for StoredDate {
    fn type_info() -> PgTypeInfo {
        <NaiveDate as Type<Postgres>>::type_info()
    }
}

impl Decode<'_, Postgres> for StoredTimestamp {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => {
                let micros = <i64 as Decode<Postgres>>::decode(value)?;
                let millis = micros.div_euclid(1000).saturating_add(EPOCH_MILLIS).clamp(MILLIS.0, MILLIS.1);
                Timestamp::from_unix_millis(millis).map(Self).ok_or_else(|| "no moment".into())
            }
            PgValueFormat::Text => Ok(Self(<DateTime<Utc> as Decode<Postgres>>::decode(value)?.into())),
        }
    }
}

impl Decode<'_, Postgres> for StoredDate {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => {
                let days = <i32 as Decode<Postgres>>::decode(value)?;
                let days = days.saturating_add(EPOCH_DAY).clamp(DAYS.0, DAYS.1);
                NaiveDate::from_num_days_from_ce_opt(days).map(Self).ok_or_else(|| "no day".into())
            }
            PgValueFormat::Text => <NaiveDate as Decode<Postgres>>::decode(value).map(Self),
        }
    }
}
