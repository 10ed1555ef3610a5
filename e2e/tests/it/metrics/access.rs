//! Who may read the metrics. The sales of a concert can be read off them.

use anyhow::{Context, Result};
use hamro_e2e::client::ADMIN_TOKEN;
use hamro_e2e::process::Process;
use hamro_e2e::{Client, Deployment, Setup, wait_until};
use hyper::Method;

/// Asks the port of the api for its metrics, with this header.
async fn ask(client: &Client, header: Option<(&str, &str)>) -> Result<u16> {
    let mut request = client.request(Method::GET, "/metrics");
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    Ok(request.send().await?.status)
}

#[tokio::test]
async fn the_port_of_the_api_shows_metrics_to_this_machine_and_with_the_token() -> Result<()> {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let client = deployment.client();
        let response = client.request(Method::GET, "/metrics").send().await?;
        assert_eq!(response.status, 200);
        assert_eq!(response.header("cache-control"), Some("no-store"));
        assert!(
            response.header("content-type").is_some_and(|it| it.starts_with("text/plain; version=0.0.4"))
        );
        assert!(String::from_utf8_lossy(&response.body).contains("\nhamro_ready 1"), "{response:?}");

        // What proxies and pages in a browser send.
        for header in [
            ("x-forwarded-for", "127.0.0.1"),
            ("forwarded", "for=127.0.0.1"),
            ("origin", "https://example.com"),
        ] {
            assert_eq!(ask(client, Some(header)).await?, 401, "{header:?}");
        }
        assert_eq!(ask(client, Some(("authorization", "Bearer wrong"))).await?, 200, "it is local");

        // A proxy on this machine that adds no header.
        let settings = [("TRUSTED_PROXIES", "127.0.0.0/8"), ("METRICS_ADDR", "")];
        let proxied = deployment.start_api(&settings).await?;
        let client = &deployment.apis[proxied].client;
        assert_eq!(ask(client, None).await?, 401);
        assert_eq!(ask(client, Some(("x-forwarded-for", "127.0.0.1"))).await?, 401);
        assert_eq!(ask(client, Some(("authorization", "Bearer wrong"))).await?, 401);
        assert_eq!(ask(client, Some(("authorization", &bearer))).await?, 200);

        let without_token =
            deployment.start_api(&[("TRUSTED_PROXIES", "127.0.0.0/8"), ("ADMIN_TOKEN", "")]).await?;
        let client = &deployment.apis[without_token].client;
        assert_eq!(ask(client, Some(("authorization", &bearer))).await?, 403);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_health_port_of_a_worker_shows_metrics_to_this_machine_only() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let number = deployment.start_worker(&[("WORKER_HTTP_PORT", "0"), ("HOST", "127.0.0.1")]).await?;
        let url = deployment.workers[number].line_after("serving health checks on ").await?;
        let client = Client::new(&url);
        let response = client.request(Method::GET, "/metrics").send().await?;
        assert_eq!(response.status, 200);
        let text = String::from_utf8_lossy(&response.body);
        assert!(text.contains("hamro_build_info{program=\"hamro-worker\""), "{text}");
        assert_eq!(ask(&client, Some(("x-forwarded-for", "127.0.0.1"))).await?, 404);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_address_for_metrics_that_is_in_use_stops_both_programs_at_the_start() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let taken = deployment.apis[0].process.line_after("serving metrics on http://").await?;
        let taken = taken.trim().trim_end_matches("/metrics").to_owned();
        for program in ["hamro-api", "hamro-worker"] {
            let variables = deployment.environment(&[("METRICS_ADDR", &taken)]);
            let mut process = Process::start(program, program, &[], &variables)?;
            assert_eq!(process.ended().await?.code(), Some(1), "{program}");
            let expected = format!("cannot serve metrics on {taken}: set METRICS_ADDR");
            wait_until("the reason is printed", async || {
                Ok(process.printed().contains(&expected).then_some(()))
            })
            .await
            .with_context(|| process.printed())?;
        }
        Ok(())
    })
    .await
}
