//! Parameters of a path.

use std::str::FromStr;

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use hamro_shared::domain::{ConcertId, SeatId, TierId};

use crate::http::problem::{Problem, ProblemCode};

/// The type of a parameter.
pub trait PathParam: FromStr {
    /// What to write, to be read after the parameter's name.
    const FORM: &'static str;
}

impl PathParam for ConcertId {
    const FORM: &'static str = "must be a UUID such as 755cb316-7b4e-4f0e-9d2a-3b7a5f0f1c11";
}

impl PathParam for TierId {
    const FORM: &'static str = "must be a whole number such as 2, at most 2147483647";
}

impl PathParam for SeatId {
    const FORM: &'static str = "must be a whole number such as 21, at most 2147483647";
}

/// The id of a ticket type.
impl PathParam for i32 {
    const FORM: &'static str = "must be a whole number such as 1, at most 2147483647";
}

/// Any text is accepted. It may identify nothing.
impl PathParam for String {
    const FORM: &'static str = "must be a text";
}

/// The only parameter of a path.
pub struct PathId<T>(pub T);

impl<S: Send + Sync, T: PathParam> FromRequestParts<S> for PathId<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = raw_params(parts, state).await?;
        parse(&mut params.iter()).map(Self)
    }
}

/// The two parameters of a path.
pub struct PathIds<T, U>(pub T, pub U);

impl<S: Send + Sync, T: PathParam, U: PathParam> FromRequestParts<S> for PathIds<T, U> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = raw_params(parts, state).await?;
        let mut params = params.iter();
        Ok(Self(parse(&mut params)?, parse(&mut params)?))
    }
}

async fn raw_params<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<RawPathParams, Problem> {
    RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| Problem::new(ProblemCode::MalformedRequest, "The path is not valid UTF-8."))
}

fn parse<'p, T: PathParam>(params: &mut impl Iterator<Item = (&'p str, &'p str)>) -> Result<T, Problem> {
    let (name, value) = params.next().ok_or_else(|| Problem::not_found("path"))?;
    value.parse().map_err(|_| Problem::invalid_field(name, T::FORM))
}
