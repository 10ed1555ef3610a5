//! The admin token, which authorises changes of the catalogue.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use hamro_shared::config::Setting;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::http::problem::{Problem, ProblemCode};

/// The token that writes require. Without a token, all writes are refused.
#[derive(Clone, Debug, Default)]
pub struct AdminToken(Option<SecretString>);

impl AdminToken {
    const MIN_CHARS: usize = 16;

    fn authorise(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(token) = &self.0 else {
            return Err(Problem::of(ProblemCode::Forbidden));
        };
        let given = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        // Compares in constant time, so that the response time does not reveal how much of a guess was correct.
        match given {
            Some(given) if given.as_bytes().ct_eq(token.expose_secret().as_bytes()).into() => Ok(()),
            _ => Err(Problem::of(ProblemCode::Unauthorized)
                .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        }
    }
}

impl Setting for AdminToken {
    fn parse(text: &str) -> Option<Self> {
        (text.len() >= Self::MIN_CHARS && text.is_ascii()).then(|| Self(Some(text.into())))
    }
}

/// Proof that a request carried the admin token. A handler that takes it as an argument requires the token.
pub struct Admin;

impl<S> FromRequestParts<S> for Admin
where
    S: Send + Sync,
    AdminToken: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        AdminToken::from_ref(state).authorise(&parts.headers).map(|()| Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorise(token: &AdminToken, header: Option<&str>) -> Result<(), &'static str> {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, header.parse().unwrap());
        }
        token.authorise(&headers).map_err(|problem| {
            let code = serde_json::to_value(problem.document()).unwrap()["code"].clone();
            if code == "forbidden" { "forbidden" } else { "unauthorized" }
        })
    }

    #[test]
    fn only_the_exact_token_authorises_a_write() {
        let token = AdminToken::parse("0123456789abcdef").unwrap();
        assert_eq!(authorise(&token, Some("Bearer 0123456789abcdef")), Ok(()));
        assert_eq!(authorise(&token, Some("bearer 0123456789abcdef")), Ok(()));
        for wrong in [
            None,
            Some("Bearer 0123456789abcdeX"),
            Some("Bearer "),
            Some("Basic 0123456789abcdef"),
            Some("0123456789abcdef"),
        ] {
            assert_eq!(authorise(&token, wrong), Err("unauthorized"), "{wrong:?}");
        }
    }

    #[test]
    fn writes_are_forbidden_when_no_token_is_configured() {
        assert_eq!(authorise(&AdminToken::default(), Some("Bearer ")), Err("forbidden"));
        assert_eq!(authorise(&AdminToken::default(), None), Err("forbidden"));
    }
}
