//! The configurations of nginx and Caddy in `deploy/proxy/`, which `rolling_restart::behind_proxies` tests under load.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hamro_e2e::client::booking;
use hamro_e2e::reverse_proxy::{Place, ProxyKind, ReverseProxy, free_port};
use hamro_e2e::{Deployment, Setup, wait_until};
use hamro_verification::http::{Client, HttpResponse};
use hyper::Method;
use tokio::time::timeout;

const KINDS: [ProxyKind; 2] = [ProxyKind::Nginx, ProxyKind::Caddy];

const IN_FRONT: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.1");

/// An event must arrive before the first comment does, after 15 seconds.
const EVENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Starts an api, and a proxy that also knows an instance that does not run.
async fn start(
    deployment: &mut Deployment,
    kind: ProxyKind,
    place: Place,
    variables: &[(&str, &str)],
) -> Result<ReverseProxy> {
    let ports = [free_port().await?, free_port().await?];
    let port = ports[0].to_string();
    deployment.start_api(&[variables, &[("PORT", port.as_str()), IN_FRONT]].concat()).await?;
    ReverseProxy::start(kind, place, ports).await
}

async fn book(client: &Client, path: &str, seat: i64, key: Option<String>) -> Result<HttpResponse> {
    let mut request = client.request(Method::POST, path).json(&booking("alice", &[seat]));
    if let Some(key) = key {
        request = request.header("Idempotency-Key", key);
    }
    Ok(request.send().await?)
}

#[tokio::test]
async fn the_proxies_publish_the_api_and_no_page_of_operators() -> Result<()> {
    Deployment::run(Setup { apis: 0, workers: 0, ..Setup::default() }, async |deployment| {
        for (kind, place, prefix) in
            KINDS.into_iter().flat_map(|kind| [(kind, Place::Root, ""), (kind, Place::Path, "/tickets")])
        {
            let proxy = start(deployment, kind, place, &[]).await?;
            let client = proxy.client()?;
            // Every other request goes to the instance that does not run, and then to the one that does.
            for path in ["/", "/tickets", "/concerts", "/queue", "/openapi.json", "/docs/"] {
                for _ in 0..3 {
                    let response = client.get(&format!("{prefix}{path}")).await?;
                    ensure!(response.status == 200, "{kind:?}: {path}: {response:?}");
                }
            }
            for path in
                ["/ops", "/ops/", "/ops/state", "//ops/state", "/%6fps/state", "/metrics", "//metrics/"]
            {
                let response = client.get(&format!("{prefix}{path}")).await?;
                ensure!(response.status == 404, "{kind:?}: {path}: {response:?}");
                ensure!(response.header("x-request-id").is_none(), "{kind:?}: the api has received {path}");
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_booking_goes_to_another_instance_if_one_refuses_the_connection_and_is_not_logged() -> Result<()> {
    Deployment::run(Setup { apis: 0, workers: 0, ..Setup::default() }, async |deployment| {
        let mut tickets = Vec::new();
        for (kind, place, prefix) in
            KINDS.into_iter().flat_map(|kind| [(kind, Place::Root, ""), (kind, Place::Path, "/tickets")])
        {
            let proxy = start(deployment, kind, place, &[]).await?;
            let client = proxy.client()?;
            let seats = deployment.client().seat_ids(0).await?;
            for number in 0..6 {
                let key = (number % 2 == 0).then(|| format!("\"{kind:?}-{place:?}-{number}-and-more\""));
                let accepted = book(&client, &format!("{prefix}/ticket-bookings"), seats[0], key).await?;
                ensure!(accepted.status == 202, "{kind:?}: {accepted:?}");
                let location = accepted.location().context("no Location")?;
                let ticket = location.rsplit('/').next().unwrap_or_default().to_owned();
                ensure!(location == format!("{prefix}/ticket-bookings/{ticket}"), "{kind:?}: {location}");
                ensure!(client.get(location).await?.status == 200, "{kind:?}: {location}");
                let page = format!("{prefix}/t/{ticket}");
                ensure!(client.get(&page).await?.status == 200, "{kind:?}: {page}");
                let mut events = client.events(&format!("{location}/events")).await?;
                let first = timeout(EVENT_TIMEOUT, events.next()).await??.context("no event")?;
                ensure!(first.id == "queued", "{kind:?}: {first:?}");
                tickets.push(ticket);
            }
            wait_until("the requests are in the log", async || {
                Ok((proxy.printed().matches("/ticket-bookings/-").count() >= 6).then_some(()))
            })
            .await?;
            let printed = proxy.printed();
            let logged = tickets.iter().find(|ticket| printed.contains(*ticket));
            ensure!(logged.is_none(), "{kind:?} has logged {logged:?}: {printed}");
        }
        deployment.start_worker(&[]).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_client_cannot_choose_the_address_under_which_it_is_counted() -> Result<()> {
    Deployment::run(Setup { apis: 0, workers: 0, ..Setup::default() }, async |deployment| {
        for kind in KINDS {
            let limited = [("RATE_LIMIT_PER_SECOND", "1")];
            let proxy = start(deployment, kind, Place::Root, &limited).await?;
            let client = proxy.client()?;
            let mut statuses = Vec::new();
            for number in 0..20 {
                let forged = format!("198.51.100.{number}");
                let request = client.request(Method::GET, "/queue").header("X-Forwarded-For", forged);
                statuses.push(request.send().await?.status);
            }
            ensure!(statuses.contains(&429), "{kind:?}: {statuses:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn nginx_asks_for_the_catalogue_once_a_second_and_for_administrators_each_time() -> Result<()> {
    Deployment::run(Setup { apis: 0, workers: 0, ..Setup::default() }, async |deployment| {
        let proxy = start(deployment, ProxyKind::Nginx, Place::Root, &[]).await?;
        let client = proxy.client()?;
        let started = Instant::now();
        // The document of the booking page, too.
        for path in ["/concerts", "/"].repeat(50) {
            ensure!(client.get(path).await?.status == 200);
        }
        let seconds = usize::try_from(started.elapsed().as_secs())?;
        for _ in 0..3 {
            let request = client.request(Method::GET, "/concerts?test=true");
            ensure!(request.bearer_auth(hamro_e2e::client::ADMIN_TOKEN).send().await?.status == 200);
        }
        let log = wait_until("the requests are in the log", async || {
            let log = proxy.printed();
            let count = |path| log.matches(&format!(" GET {path} ")).count();
            Ok((count("/concerts") == 53 && count("/") == 50).then_some(log))
        })
        .await?;
        let from_cache = log.matches(" HIT - -").count();
        ensure!(from_cache + 2 * (seconds + 2) >= 100 && log.matches(" BYPASS ").count() == 3, "{log}");
        Ok(())
    })
    .await
}
