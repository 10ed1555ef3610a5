//! The booking page: its documents and files as proxies, browsers and search engines meet them, and its behaviour in Chromium.

mod browser;

use anyhow::{Context, Result};
use hamro_e2e::{Client, Deployment, Setup};
use hamro_verification::http::HttpResponse;
use hyper::Method;
use serde_json::{Value, json};

/// Runs a test that needs no worker.
async fn run(test: impl AsyncFnOnce(&Client) -> Result<()>) -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        test(deployment.client()).await
    })
    .await
}

async fn get(client: &Client, path: &str) -> Result<HttpResponse> {
    Ok(client.request(Method::GET, path).header("Accept-Encoding", "gzip, br").send().await?)
}

async fn html(client: &Client, path: &str) -> Result<String> {
    let document = client.request(Method::GET, path).send().await?;
    assert_eq!(document.status, 200, "{path}");
    assert_eq!(document.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
    Ok(String::from_utf8(document.body.into())?)
}

/// The addresses of the script and the style sheet in a document.
fn assets(html: &str) -> Vec<&str> {
    let attributes = html.split(['"', '\'']);
    attributes.filter(|value| value.contains("assets/")).collect()
}

/// The JSON in the element with these attributes.
fn json_in(html: &str, attributes: &str) -> Result<Value> {
    let (_, rest) = html.split_once(attributes).context("no such element")?;
    let (_, rest) = rest.split_once('>').context("an open tag")?;
    let (json, _) = rest.split_once("</script>").context("no end")?;
    assert!(!json.contains('<'), "text may end the script: {json}");
    Ok(serde_json::from_str(json)?)
}

#[tokio::test]
async fn documents_allow_no_foreign_or_inline_scripts_and_work_below_a_path() -> Result<()> {
    run(async |client| {
        let (concert, _) = client.seat_map(0).await?;
        for (path, base) in
            [("/", ""), (&format!("/c/{concert}"), "../"), ("/t/some-ticket", "../"), ("/tickets", "")]
        {
            let document = client.request(Method::GET, path).send().await?;
            let policy = document.header("content-security-policy").context("no policy")?;
            for directive in
                ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"]
            {
                assert!(policy.contains(directive), "{path}: {policy}");
            }
            let html = html(client, path).await?;
            for inline in ["<script>", "<style", "style=", "onclick=", "onload="] {
                assert!(!html.contains(inline), "{path}: the policy forbids {inline}");
            }
            let assets = assets(&html);
            assert_eq!(assets.len(), 2, "{path}: {assets:?}");
            assert!(
                assets.iter().all(|asset| asset.starts_with(&format!("{base}assets/page-"))),
                "{path}: {assets:?}"
            );
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_file_is_compressed_and_never_asked_for_again_and_a_document_only_if_it_has_changed() -> Result<()>
{
    run(async |client| {
        let html = html(client, "/").await?;
        for asset in assets(&html) {
            let path = format!("/{asset}");
            let plain = client.request(Method::GET, &path).send().await?;
            let sent = get(client, &path).await?;
            assert_eq!(sent.header("content-encoding"), Some("br"), "{path}");
            assert!(sent.body.len() * 2 < plain.body.len(), "{path}");
            assert_eq!(sent.header("cache-control"), Some("public, max-age=31536000, immutable"), "{path}");
        }
        let (concert, _) = client.seat_map(0).await?;
        for path in ["/", &format!("/c/{concert}")] {
            let first = get(client, path).await?;
            assert_eq!(first.header("cache-control"), Some("no-cache"));
            let tag = first.header("etag").context("no tag")?;
            let again = client.request(Method::GET, path).header("If-None-Match", tag).send().await?;
            assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_file_of_another_build_is_the_same_file_of_this_build_and_is_not_kept() -> Result<()> {
    run(async |client| {
        let html = html(client, "/").await?;
        for asset in assets(&html) {
            let (_, extension) = asset.rsplit_once('.').context("no extension")?;
            let own = get(client, &format!("/{asset}")).await?;
            let other = get(client, &format!("/assets/page-0000000000000000.{extension}")).await?;
            assert_eq!((other.status, &other.body), (200, &own.body));
            assert_eq!(other.header("content-type"), own.header("content-type"));
            assert_eq!(other.header("cache-control"), Some("no-store"));
        }
        assert_eq!(get(client, "/assets/page-0.png").await?.status, 404);
        assert_eq!(get(client, "/assets/secrets.js").await?.status, 404);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn files_do_not_count_for_the_rate_limit() -> Result<()> {
    let setup = Setup { workers: 0, variables: vec![("RATE_LIMIT_PER_SECOND", "1")], ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let client = deployment.client();
        let html = html(client, "/").await?;
        for _ in 0..20 {
            for asset in assets(&html) {
                assert_eq!(get(client, &format!("/{asset}")).await?.status, 200, "{asset}");
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_document_carries_the_catalogue_and_says_what_it_is_about() -> Result<()> {
    run(async |client| {
        let list = html(client, "/").await?;
        let data = json_in(&list, "id=\"data\"")?;
        assert_eq!(data["settings"]["maxSeats"], 10);
        assert_eq!(data["concerts"], client.get("/concerts?limit=1000").await?.body["data"]);
        assert_eq!(data["tiers"], client.get("/ticket-tiers/all").await?.body);
        assert_eq!(data["ticketTypes"], client.get("/ticket-types").await?.body);

        let (id, _) = client.seat_map(0).await?;
        let document = html(client, &format!("/c/{id}")).await?;
        let data = json_in(&document, "id=\"data\"")?;
        let concert = client.get(&format!("/concerts/{id}")).await?.body;
        assert_eq!(data["concerts"], json!([concert]));
        assert_eq!(
            data["tiers"],
            client.get(&format!("/ticket-tiers?concertId={id}&limit=1000")).await?.body["data"]
        );
        let title = concert["title"].as_str().context("no title")?;
        for expected in [
            format!("<title>{title} – Hamro Concert</title>"),
            format!("<meta property=\"og:title\" content=\"{title} – Hamro Concert\">"),
            format!(
                "<meta property=\"og:image\" content=\"{}\">",
                concert["image"].as_str().context("no image")?
            ),
        ] {
            assert!(document.contains(&expected), "{expected} is missing in {document}");
        }
        let event = json_in(&document, "type=\"application/ld+json\"")?;
        assert_eq!((&event["@type"], &event["name"]), (&json!("Event"), &json!(title)));
        assert!(!document.contains("noindex"));
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_document_of_a_ticket_is_not_stored_listed_or_passed_on() -> Result<()> {
    run(async |client| {
        for path in ["/t/019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88", "/tickets"] {
            let document = get(client, path).await?;
            assert_eq!(document.status, 200);
            assert_eq!(document.header("cache-control"), Some("no-store"));
            assert_eq!(document.header("x-robots-tag"), Some("noindex"));
            assert_eq!(document.header("referrer-policy"), Some("no-referrer"));
            let html = html(client, path).await?;
            assert!(!html.contains("019ab3c5"), "a preview shows the ticket: {html}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_concert_that_does_not_exist_is_not_found_but_has_a_page() -> Result<()> {
    run(async |client| {
        for path in ["/c/00000000-0000-4000-8000-000000000000", "/c/nonsense"] {
            let document = client.request(Method::GET, path).send().await?;
            assert_eq!(document.status, 404, "{path}");
            let html = str::from_utf8(&document.body)?;
            assert_eq!(assets(html).len(), 2, "{path}");
            assert!(json_in(html, "id=\"data\"")?["concerts"].is_null());
        }
        Ok(())
    })
    .await
}
