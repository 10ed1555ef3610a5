//! How the types of `domain` are encoded for Postgres and decoded from it.
//!
//! Stored data is trusted: decoding never applies the rules for input, so that a row which breaks them stays readable.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef, Postgres};
use sqlx::{Decode, Encode, Type};
use uuid::Uuid;

use crate::domain::{
    ConcertId, CustomerDigest, CustomerName, Email, IdempotencyDigest, Price, RequestHash, SeatId, TicketId,
    TierId, Timestamp,
};

/// `encode!(Domain as Stored, |value| stored)`: a `Domain`, and an array of them, can be passed to a query.
macro_rules! encode {
    ($domain:ty as $stored:ty, |$value:ident| $encoded:expr) => {
        impl Type<Postgres> for $domain {
            fn type_info() -> PgTypeInfo {
                <$stored as Type<Postgres>>::type_info()
            }

            fn compatible(ty: &PgTypeInfo) -> bool {
                <$stored as Type<Postgres>>::compatible(ty)
            }
        }

        impl PgHasArrayType for $domain {
            fn array_type_info() -> PgTypeInfo {
                <$stored as PgHasArrayType>::array_type_info()
            }

            fn array_compatible(ty: &PgTypeInfo) -> bool {
                <$stored as PgHasArrayType>::array_compatible(ty)
            }
        }

        impl Encode<'_, Postgres> for $domain {
            fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                let $value = self;
                <$stored as Encode<Postgres>>::encode_by_ref(&$encoded, buffer)
            }
        }
    };
}

/// `decode!(Domain as Stored, from_stored)`: a `Domain` can be read from a row.
macro_rules! decode {
    ($domain:ty as $stored:ty, $decoded:expr) => {
        impl Decode<'_, Postgres> for $domain {
            fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
                <$stored as Decode<Postgres>>::decode(value).map($decoded)
            }
        }
    };
}

encode!(ConcertId as Uuid, |id| id.0);
decode!(ConcertId as Uuid, Self);
encode!(TierId as i32, |id| id.0);
decode!(TierId as i32, Self);
encode!(SeatId as i32, |id| id.0);
decode!(SeatId as i32, Self);
encode!(TicketId as Uuid, |id| id.0);
decode!(TicketId as Uuid, Self);
encode!(Price as Decimal, |price| price.amount());
decode!(Price as Decimal, Self::from_stored);
encode!(CustomerName as &str, |name| name.as_str());
decode!(CustomerName as String, |name| Self::from_stored(Some(name)));
encode!(Email as &str, |email| email.as_str());
decode!(Email as String, |email| Self::from_stored(Some(email)));
encode!(IdempotencyDigest as [u8; 16], |digest| digest.0);
decode!(IdempotencyDigest as [u8; 16], Self);
encode!(CustomerDigest as [u8; 16], |digest| digest.0);
decode!(CustomerDigest as [u8; 16], Self);
// Not decoded: a stored hash may have any length. See `RequestHash::from_stored`.
encode!(RequestHash as [u8; 16], |hash| hash.0);
encode!(Timestamp as DateTime<Utc>, |moment| moment.datetime());

// Postgres stores `infinity`, and years that neither chrono nor RFC 3339 has, and sqlx panics when it decodes one as a
// type of chrono. Then one concert whose sale opens at `infinity` would stop every process that reads it. So such a
// value is decoded as the nearest one in the years 1 to 9999.

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999Z, in milliseconds since 1970.
const MILLIS: (i64, i64) = (-62_135_596_800_000, 253_402_300_799_999);

/// Where Postgres starts to count: 2000-01-01T00:00:00Z, in milliseconds since 1970.
const EPOCH_MILLIS: i64 = 946_684_800_000;

/// 0001-01-01 and 9999-12-31, in days of the common era.
const DAYS: (i32, i32) = (1, 3_652_059);

/// Where Postgres starts to count: 2000-01-01, in days of the common era.
const EPOCH_DAY: i32 = 730_120;

impl Decode<'_, Postgres> for Timestamp {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => {
                let micros = <i64 as Decode<Postgres>>::decode(value)?;
                let millis = micros.div_euclid(1000).saturating_add(EPOCH_MILLIS).clamp(MILLIS.0, MILLIS.1);
                Self::from_unix_millis(millis).ok_or_else(|| "timestamp out of range".into())
            }
            PgValueFormat::Text => <DateTime<Utc> as Decode<Postgres>>::decode(value).map(Self::from),
        }
    }
}

/// A `date` column. It converts into a [`NaiveDate`], which `query_as!` does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredDate(NaiveDate);

impl From<StoredDate> for NaiveDate {
    fn from(StoredDate(date): StoredDate) -> Self {
        date
    }
}

impl Type<Postgres> for StoredDate {
    fn type_info() -> PgTypeInfo {
        <NaiveDate as Type<Postgres>>::type_info()
    }
}

impl Decode<'_, Postgres> for StoredDate {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        match value.format() {
            PgValueFormat::Binary => {
                let days = <i32 as Decode<Postgres>>::decode(value)?;
                let days = days.saturating_add(EPOCH_DAY).clamp(DAYS.0, DAYS.1);
                NaiveDate::from_num_days_from_ce_opt(days).map(Self).ok_or_else(|| "date out of range".into())
            }
            PgValueFormat::Text => <NaiveDate as Decode<Postgres>>::decode(value).map(Self),
        }
    }
}
