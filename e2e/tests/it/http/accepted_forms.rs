//! Forms in which clients send what the api also accepts in another form.

use std::io::Write;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use hamro_e2e::client::{Client, booking};
use hamro_e2e::{Deployment, Setup, tables};
use hyper::Method;
use serde_json::{Value, json};

fn without_workers() -> Setup {
    Setup { workers: 0, ..Setup::default() }
}

/// The paths and operations of the OpenAPI document.
async fn operations(client: &Client) -> Result<Vec<(String, Vec<String>)>> {
    let document = client.get("/openapi.json").await?.body;
    let paths = document["paths"].as_object().context("no paths")?;
    let methods = |item: &Value| -> Vec<String> {
        item.as_object().into_iter().flatten().map(|(method, _)| method.to_uppercase()).collect()
    };
    Ok(paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect())
}

/// The path with an id of each parameter that does not exist.
fn concrete(path: &str) -> String {
    let segment = |segment: &str| match segment {
        "{concertId}" | "{ticketId}" => "00000000-0000-4000-8000-000000000000".to_owned(),
        other if other.starts_with('{') => "2000000000".to_owned(),
        other => other.to_owned(),
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_path_is_served_with_slashes_at_its_ends() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let client = deployment.client();
        for (path, methods) in operations(client).await? {
            let path = concrete(&path);
            for method in methods {
                let send = async |path: &str| {
                    let method = Method::from_bytes(method.as_bytes())?;
                    let answer = Client::send(client.request(method, path)).await?;
                    anyhow::Ok((answer.status, answer.body["code"].clone()))
                };
                if path.ends_with("/events") && method == "GET" && send(&path).await?.0 == 200 {
                    continue;
                }
                let plain = send(&path).await?;
                for other in [format!("{path}/"), format!("{path}//"), format!("/{path}")] {
                    assert_eq!(send(&other).await?, plain, "{method} {other}");
                }
            }
        }
        // A redirect would turn this into a GET.
        let body = booking("alice", &[1]);
        assert_eq!(client.post("/ticket-bookings/", &body).await?.status, 202);
        assert_eq!(client.get("/concerts/?page=0").await?.status, 422);
        let page = client.request(Method::GET, "/docs/").send().await?;
        assert_eq!(page.status, 200);
        assert_eq!(client.request(Method::GET, "//").send().await?.status, 200);
        deployment.start_worker(&[]).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn head_is_answered_like_get_and_options_everywhere() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let client = deployment.client();
        for (path, methods) in operations(client).await? {
            let path = concrete(&path);
            let options = client.request(Method::OPTIONS, &path).send().await?;
            assert_eq!((options.status, options.body.len()), (200, 0), "OPTIONS {path}");
            let head = client.request(Method::HEAD, &path).send().await?;
            assert_eq!(head.body.len(), 0, "HEAD {path}");
            if methods.iter().any(|method| method == "GET") {
                let get = client.get(&path).await?;
                assert_eq!(head.status, get.status, "HEAD {path}");
            } else {
                assert_eq!(head.status, 405, "HEAD {path}");
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_booking_is_accepted_in_every_form_of_json() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let client = deployment.client();
        let seats = client.seat_ids(0).await?;
        let bodies = [
            format!("\u{feff}{}", booking("alice", &[seats[0]])),
            booking("bob", &[seats[1]])
                .to_string()
                .replace(&seats[1].to_string(), &format!("{}.0", seats[1])),
            booking("carol", &[seats[2]])
                .to_string()
                .replace(&format!("[{}]", seats[2]), &format!("[{}0e-1]", seats[2])),
            format!("\r\n\t {} \n", booking("dave", &[seats[3]])),
        ];
        for body in bodies {
            let request = client.request(Method::POST, "/ticket-bookings").encoded_json(body.clone());
            let answer = Client::send(request).await?;
            assert_eq!(answer.status, 202, "{body}: {answer:?}");
        }
        for content_type in [
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "application/json; charset=ISO-8859-1",
            "APPLICATION/JSON",
            "application/vnd.hamro+json",
        ] {
            let request =
                client.request(Method::POST, "/ticket-bookings").header("Content-Type", content_type);
            let answer = Client::send(request.body(booking("erin", &[seats[4]]).to_string())).await?;
            assert_eq!(answer.status, 202, "{content_type}: {answer:?}");
        }
        for content_type in [
            "text/plain",
            "text/json",
            "application/x-www-form-urlencoded",
            "json",
            "application/json; charset=utf-16",
            "application/json;profile=x; Charset = \"UTF-32\"",
            "application/problem+json; charset=",
        ] {
            let request =
                client.request(Method::POST, "/ticket-bookings").header("Content-Type", content_type);
            let answer = Client::send(request.body(booking("erin", &[seats[5]]).to_string())).await?;
            assert_eq!((answer.status, answer.code()), (415, "unsupported-media-type"), "{content_type}");
        }
        let utf16: Vec<u8> =
            booking("frank", &[seats[6]]).to_string().encode_utf16().flat_map(u16::to_le_bytes).collect();
        let answer =
            Client::send(client.request(Method::POST, "/ticket-bookings").encoded_json(utf16)).await?;
        assert_eq!((answer.status, answer.code()), (400, "malformed-request"));
        assert_eq!(answer.body["detail"], "The body is not valid UTF-8. Send JSON in UTF-8.");
        deployment.start_worker(&[]).await?;
        deployment.drained().await?;
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 5);
        Ok(())
    })
    .await
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

#[tokio::test]
async fn a_compressed_body_is_decoded_up_to_the_limit_of_any_body() -> Result<()> {
    Deployment::run(without_workers(), async |deployment| {
        let client = deployment.client();
        let send = async |encoding: &str, body: Vec<u8>| {
            let request =
                client.request(Method::POST, "/ticket-bookings").header("Content-Encoding", encoding);
            Client::send(request.encoded_json(body)).await
        };
        let plain = booking("alice", &[1]).to_string().into_bytes();
        for encoding in ["gzip", "GZIP", "x-gzip", "identity, gzip"] {
            let answer = send(encoding, gzip(&plain)?).await?;
            assert_eq!(answer.status, 202, "{encoding}: {answer:?}");
        }
        assert_eq!(send("identity", plain.clone()).await?.status, 202);
        assert_eq!(send("gzip", plain.clone()).await?.status, 400);

        let large = json!({"userName": "x".repeat(70_000)}).to_string();
        let bomb = vec![b' '; 50_000_000];
        for body in [large.as_bytes(), &bomb] {
            let answer = send("gzip", gzip(body)?).await?;
            assert_eq!((answer.status, answer.code()), (413, "payload-too-large"));
        }
        for encoding in ["compress", "gzip, gzip", "snappy"] {
            let answer = send(encoding, plain.clone()).await?;
            assert_eq!((answer.status, answer.code()), (415, "unsupported-media-type"), "{encoding}");
            assert_eq!(answer.header("accept-encoding"), Some("gzip, deflate, br, zstd"));
        }
        deployment.start_worker(&[]).await?;
        Ok(())
    })
    .await
}
