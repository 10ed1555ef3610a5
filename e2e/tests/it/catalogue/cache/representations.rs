//! Encodings, tags and conditional requests of all documents.

use anyhow::{Context, Result};
use hamro_e2e::client::Client;
use hamro_e2e::{Deployment, Setup};
use hamro_verification::http::HttpResponse;
use hyper::Method;

use super::documents;

async fn read(client: &Client, method: Method, path: &str, headers: &[(&str, &str)]) -> Result<HttpResponse> {
    let request = client.request(method, path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    Ok(request.send().await?)
}

#[tokio::test]
async fn every_document_exists_in_three_encodings_whose_tags_are_equal_on_all_instances() -> Result<()> {
    Deployment::run(Setup { apis: 2, workers: 0, ..Setup::default() }, async |deployment| {
        let clients = [deployment.apis[0].client.clone(), deployment.apis[1].client.clone()];
        for path in documents(&clients[0]).await? {
            for (accepted, encoding) in [
                ("identity", None),
                ("gzip", Some("gzip")),
                ("br;q=0.5, gzip;q=0.9", Some("gzip")),
                ("gzip, br", Some("br")),
                ("identity;q=0, br", Some("br")),
            ] {
                let headers = [("Accept-Encoding", accepted), ("Range", "bytes=0-1")];
                let [get, other] = [
                    read(&clients[0], Method::GET, &path, &headers).await?,
                    read(&clients[1], Method::GET, &path, &headers).await?,
                ];
                assert_eq!(get.status, 200, "{path}: {get:?}");
                // The shortest documents are not compressed.
                if get.body.len() > 200 {
                    assert_eq!(get.header("content-encoding"), encoding, "{path} {accepted}");
                }
                assert_eq!(get.header("content-length"), Some(get.body.len().to_string().as_str()));
                assert_eq!((get.header("etag"), &get.body), (other.header("etag"), &other.body), "{path}");
                assert_eq!(get.header("cache-control"), Some("no-cache"));
                let shared = Some("max-age=1, stale-while-revalidate=1");
                assert_eq!(get.header("cdn-cache-control"), shared);
                assert_eq!((get.header("vary"), get.header("age")), (Some("accept-encoding"), None));

                let head = read(&clients[0], Method::HEAD, &path, &headers).await?;
                assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
                for name in ["etag", "content-length", "content-encoding", "content-type"] {
                    assert_eq!(head.header(name), get.header(name), "{path} {name}");
                }
            }
            let refused =
                read(&clients[0], Method::GET, &path, &[("Accept-Encoding", "identity;q=0, zstd")]).await?;
            assert_eq!(refused.status, 406, "{path}: {refused:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_client_that_has_a_document_in_any_encoding_gets_304() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        for path in documents(&client).await? {
            let mut tags = Vec::new();
            for accepted in ["identity", "gzip, identity;q=0", "br, identity;q=0"] {
                let get = read(&client, Method::GET, &path, &[("Accept-Encoding", accepted)]).await?;
                let tag = get.header("etag").with_context(|| format!("{path}: {get:?}"))?;
                assert!(tag.starts_with('"'), "{tag}");
                tags.push(tag.to_owned());
            }
            let known = tags.iter().flat_map(|tag| {
                [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), format!("W/\"a\",W/{tag}")]
            });
            for known in known.chain(["*".to_owned()]) {
                for method in [Method::GET, Method::HEAD] {
                    let headers = [("If-None-Match", known.as_str()), ("Accept-Encoding", "gzip")];
                    let response = read(&client, method, &path, &headers).await?;
                    assert_eq!((response.status, response.body.len()), (304, 0), "{path} {known}");
                    let tag = response.header("etag").context("no tag")?;
                    assert!(tags.iter().any(|own| own == tag), "{path}: {tag}");
                }
            }
            let stale = read(&client, Method::GET, &path, &[("If-None-Match", "\"other\"")]).await?;
            assert_eq!(stale.status, 200);
        }
        Ok(())
    })
    .await
}
