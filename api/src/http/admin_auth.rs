//! Authorises administrators, who change the catalogue and release seats.
//!
//! Each administrator has a name and a token ([`tokens`]). A client that sends wrong tokens is slowed down and named in
//! the log ([`failed_attempts`]). Each change is logged with the name of its administrator ([`change_log`]).

pub mod change_log;
mod failed_attempts;
mod tokens;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, FromRef, FromRequestParts};
use axum::http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use hamro_shared::config::Env;
use hamro_shared::telemetry::metrics::MetricsRegistry;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use self::change_log::ChangeAuthor;
pub use self::change_log::log_changes;
use self::failed_attempts::FailedAttempts;
pub use self::tokens::{AdminName, AdminTokens};
use crate::http::client_address::{ClientAddress, TrustedProxies};
use crate::http::problem::{Problem, ProblemCode};
use crate::http::retry_after::whole_seconds;

/// How often failed attempts are logged.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub struct AdminConfig {
    pub tokens: AdminTokens,
    /// The failed attempts of one client per minute, before it is slowed down.
    pub failures_max: NonZeroU32,
}

impl AdminConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let tokens = AdminTokens::read(env);
        let failures_max = env
            .variable(
                "ADMIN_FAILURES_MAX",
                "Wrong admin tokens per minute from one client. Then it must wait: a second, doubling up to a minute.",
                "a number such as 10",
            )
            .or_default("10");
        Some(Self { tokens: tokens?, failures_max: failures_max? })
    }
}

/// Who may change things, and who has failed to prove it.
pub struct AdminAuth {
    tokens: AdminTokens,
    attempts: FailedAttempts,
    trusted_proxies: TrustedProxies,
}

impl AdminAuth {
    pub fn new(config: AdminConfig, trusted_proxies: TrustedProxies) -> Self {
        let AdminConfig { tokens, failures_max } = config;
        Self { tokens, attempts: FailedAttempts::new(failures_max), trusted_proxies }
    }

    /// Exports how many attempts have failed.
    #[expect(clippy::cast_precision_loss, reason = "a metric")]
    pub fn register_metrics(self: &Arc<Self>, registry: &mut MetricsRegistry) {
        let auth = self.clone();
        registry.read_counter(
            "admin_failures",
            "Requests with a wrong admin token, and those that were not compared because the client had to wait",
            move || Some(auth.attempts.failures() as f64),
        );
    }

    /// Logs failed attempts until `stop` is cancelled.
    pub async fn report_failures(&self, stop: CancellationToken) {
        let mut ticks = interval(REPORT_INTERVAL);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.attempts.report();
        }
        self.attempts.report();
    }

    /// A request without any `Authorization` is refused, but is no attempt. While a client must wait, its tokens are not
    /// compared, so that it learns nothing about them.
    fn authorise(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Result<Admin, Problem> {
        if self.tokens.is_empty() {
            return Err(Problem::of(ProblemCode::Forbidden));
        }
        let Some(authorization) = headers.get(AUTHORIZATION) else {
            return Err(unauthorized());
        };
        let find = || self.tokens.find(bearer_token(authorization)?);
        // Never `None` in production: the server adds the peer's address to every request.
        let found =
            match peer.map(|peer| ClientAddress::of(self.trusted_proxies.client_ip(peer, headers)).ip()) {
                Some(client) => self.attempts.attempt(client, Instant::now(), find).map_err(must_wait)?,
                None => find(),
            };
        found.map(|name| Admin { name }).ok_or_else(unauthorized)
    }
}

/// The token of `Authorization: Bearer TOKEN`.
fn bearer_token(authorization: &HeaderValue) -> Option<&str> {
    let (scheme, token) = authorization.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn unauthorized() -> Problem {
    Problem::of(ProblemCode::Unauthorized).with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

fn must_wait(wait: Duration) -> Problem {
    let detail = "Too many wrong admin tokens from this client. Retry-After says when to try again.";
    Problem::new(ProblemCode::TooManyRequests, detail)
        .with_header(RETRY_AFTER, whole_seconds(wait).max(1).into())
}

/// Proof that a request carried the token of an administrator. A handler that takes it as an argument requires a token.
#[derive(Debug)]
pub struct Admin {
    pub name: AdminName,
}

impl<S> FromRequestParts<S> for Admin
where
    S: Send + Sync,
    Arc<AdminAuth>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let admin = AdminCheck::of(parts, state).authorise()?;
        if let Some(author) = parts.extensions.get::<ChangeAuthor>() {
            author.set(admin.name.clone());
        }
        Ok(admin)
    }
}

/// For a handler that only some requests need a token for: nothing is compared or counted until [`Self::authorise`].
pub struct AdminCheck {
    auth: Arc<AdminAuth>,
    peer: Option<IpAddr>,
    headers: HeaderMap,
}

impl AdminCheck {
    fn of<S>(parts: &Parts, state: &S) -> Self
    where
        Arc<AdminAuth>: FromRef<S>,
    {
        let peer = parts.extensions.get().map(|ConnectInfo(peer): &ConnectInfo<SocketAddr>| peer.ip());
        Self { auth: Arc::from_ref(state), peer, headers: parts.headers.clone() }
    }

    pub fn authorise(&self) -> Result<Admin, Problem> {
        self.auth.authorise(self.peer, &self.headers)
    }
}

impl<S> FromRequestParts<S> for AdminCheck
where
    S: Send + Sync,
    Arc<AdminAuth>: FromRef<S>,
{
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts, state))
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use hamro_shared::config::Setting;

    use super::*;

    const TOKEN: &str = "3f5c0d1e9a7b4826";

    fn auth(tokens: AdminTokens) -> AdminAuth {
        let failures_max = NonZeroU32::new(3).unwrap();
        AdminAuth::new(AdminConfig { tokens, failures_max }, TrustedProxies::default())
    }

    fn authorise(auth: &AdminAuth, peer: &str, header: Option<&str>) -> Result<String, u16> {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(AUTHORIZATION, header.parse().unwrap());
        }
        let admin = auth.authorise(peer.parse().ok(), &headers);
        admin.map(|admin| admin.name.to_string()).map_err(|problem| problem.into_response().status().as_u16())
    }

    #[test]
    fn only_an_exact_token_authorises_a_write() {
        let auth = auth(AdminTokens::parse(&format!("alice={TOKEN}")).unwrap());
        for right in ["Bearer", "bearer", "BEARER"] {
            assert_eq!(
                authorise(&auth, "198.51.100.1", Some(&format!("{right} {TOKEN}"))),
                Ok("alice".to_owned())
            );
        }
        let wrong = ["Bearer 3f5c0d1e9a7b482X", "Bearer ", "Basic 3f5c0d1e9a7b4826", TOKEN, "Bearer alice"];
        for (number, wrong) in wrong.into_iter().enumerate() {
            let peer = format!("198.51.100.{number}");
            assert_eq!(authorise(&auth, &peer, Some(wrong)), Err(401), "{wrong:?}");
        }
    }

    #[test]
    fn writes_are_forbidden_when_no_token_is_configured() {
        let auth = auth(AdminTokens::default());
        assert_eq!(authorise(&auth, "198.51.100.1", Some("Bearer ")), Err(403));
        assert_eq!(authorise(&auth, "198.51.100.1", None), Err(403));
    }

    #[test]
    fn a_client_that_guesses_must_wait_and_other_clients_need_not() {
        let auth = auth(AdminTokens::parse(&format!("alice={TOKEN}")).unwrap());
        let right = format!("Bearer {TOKEN}");
        for _ in 0..100 {
            assert_eq!(authorise(&auth, "2001:db8:1:2::1", None), Err(401));
        }
        for _ in 0..3 {
            assert_eq!(authorise(&auth, "2001:db8:1:2::1", Some("Bearer wrong")), Err(401));
        }
        // The whole network of a customer is one client.
        assert_eq!(authorise(&auth, "2001:db8:1:2::2", Some("Bearer wrong")), Err(429));
        assert_eq!(authorise(&auth, "2001:db8:1:2::2", Some(&right)), Err(429));
        assert_eq!(authorise(&auth, "2001:db8:1:3::1", Some(&right)), Ok("alice".to_owned()));
        assert_eq!(authorise(&auth, "2001:db8:1:2::1", None), Err(401));
    }
}
