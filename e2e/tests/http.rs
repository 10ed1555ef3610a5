//! What every answer has, whatever it is an answer to.

use anyhow::Result;
use hamro_e2e::client::Client;
use hamro_e2e::{Installation, Setup};
use reqwest::Method;

#[tokio::test]
async fn a_request_keeps_its_id_or_gets_one() -> Result<()> {
    let installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    let client = installation.client();
    let named =
        Client::send(client.request(Method::GET, "/health/live").header("X-Request-Id", "mine-7")).await?;
    assert_eq!(named.header("x-request-id"), Some("mine-7"));
    for path in ["/health/live", "/nowhere", "/concerts?page=0"] {
        let answer = client.get(path).await?;
        assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()), "{path}: {answer:?}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
    }
    installation.close().await
}

#[tokio::test]
async fn a_seat_map_is_compressed_for_who_can_read_it() -> Result<()> {
    let installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    let client = installation.client();
    let (concert, _) = client.seat_map(0).await?;
    let path = format!("/seats/concert/{concert}");
    let plain = client.request(Method::GET, &path).send().await?.bytes().await?.len();
    for encoding in ["gzip", "br", "zstd"] {
        let response = client.request(Method::GET, &path).header("Accept-Encoding", encoding).send().await?;
        assert_eq!(response.headers()["content-encoding"], encoding);
        let compressed = response.bytes().await?.len();
        assert!(compressed * 4 < plain, "{encoding}: {compressed} of {plain} bytes");
    }
    installation.close().await
}

#[tokio::test]
async fn pages_of_other_origins_may_use_what_the_contract_has() -> Result<()> {
    let mut installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    let closed = installation.start_api(&[("CORS_ORIGIN", "https://shop.example.com")]).await?;
    let preflight = async |client: &Client, origin: &str| {
        let request = client
            .request(Method::OPTIONS, "/ticket-bookings")
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "content-type,idempotency-key,prefer,last-event-id");
        Client::send(request).await
    };
    let open = preflight(installation.client(), "https://anybody.example.com").await?;
    assert_eq!(open.header("access-control-allow-origin"), Some("*"));
    let allowed = open.header("access-control-allow-headers").unwrap_or_default().to_lowercase();
    for header in ["content-type", "idempotency-key", "prefer", "last-event-id", "authorization"] {
        assert!(allowed.contains(header), "{allowed}");
    }
    let client = &installation.apis[closed].client;
    let ours = preflight(client, "https://shop.example.com").await?;
    assert_eq!(ours.header("access-control-allow-origin"), Some("https://shop.example.com"));
    let theirs = preflight(client, "https://anybody.example.com").await?;
    assert_eq!(theirs.header("access-control-allow-origin"), None);
    let answer = client.get("/concerts").await?;
    let exposed = answer.header("access-control-expose-headers").unwrap_or_default().to_lowercase();
    for header in ["location", "retry-after", "etag", "preference-applied"] {
        assert!(exposed.contains(header), "{exposed}");
    }
    installation.close().await
}
