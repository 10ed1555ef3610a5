//! What the metrics say after known requests.

use anyhow::Result;
use hamro_e2e::deployment::Api;
use hamro_e2e::{Deployment, Metrics, Setup, wait_until};
use hyper::Method;

/// Waits until the metrics are as expected. They are a quarter of a second old at most.
async fn shown(api: &mut Api, what: &str, is_shown: impl Fn(&Metrics) -> bool) -> Result<Metrics> {
    wait_until(&format!("{what} is shown"), async || {
        let metrics = api.process.metrics().await?;
        Ok(is_shown(&metrics).then_some(metrics))
    })
    .await
}

#[tokio::test]
async fn accepted_and_refused_bookings_are_counted_once() -> Result<()> {
    Deployment::run(Setup::queueing(), async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        for number in 0..5 {
            let accepted = client.create_booking("alice", &seats[number..=number]).await?;
            client.final_status(accepted.location()?).await?;
        }
        assert_eq!(client.book_seats("bob", &seats[..1]).await?.code(), "seats-taken");
        assert_eq!(client.create_booking("carol", &[]).await?.status, 422);
        let metrics = shown(&mut deployment.apis[0], "the last booking", |metrics| {
            metrics.count("hamro_queue_departures_total", &[]) > 5.0
                && metrics.value("hamro_workers", &[]).is_some()
        })
        .await?;
        let expected = [
            ("hamro_bookings_accepted_total", vec![], 6.0),
            ("hamro_booking_accept_duration_seconds_count", vec![], 6.0),
            ("hamro_queue_arrivals_total", vec![], 6.0),
            ("hamro_queue_departures_total", vec![], 6.0),
            ("hamro_publish_in_flight", vec![], 0.0),
            ("hamro_publish_waiting", vec![], 0.0),
            ("hamro_publish_waiting_max", vec![], 10_000.0),
            ("hamro_http_refusals_total", vec![("code", "seats-taken")], 1.0),
            ("hamro_http_refusals_total", vec![("code", "invalid-request")], 1.0),
            (
                "hamro_http_requests_total",
                vec![("method", "POST"), ("route", "/ticket-bookings"), ("status", "202")],
                5.0,
            ),
            (
                "hamro_http_request_duration_seconds_count",
                vec![("route", "/ticket-bookings"), ("status", "2xx")],
                5.0,
            ),
            ("hamro_ready", vec![], 1.0),
            ("hamro_workers", vec![], 1.0),
            ("hamro_broker_connected", vec![("role", "publishing")], 1.0),
            ("hamro_broker_connected", vec![("role", "subscribing")], 1.0),
            ("hamro_database_connections_max", vec![], 10.0),
        ];
        for (name, labels, value) in expected {
            assert_eq!(metrics.value(name, &labels), Some(value), "{name} {labels:?}: {}", metrics.text);
        }
        assert!(metrics.count("hamro_published_messages_total", &[]) <= 6.0);
        assert!(metrics.value("hamro_database_clock_offset_seconds", &[]).is_some_and(|it| it.abs() < 1.0));
        assert!(
            metrics.value("hamro_database_connections", &[("state", "idle")]).is_some_and(|it| it >= 1.0)
        );
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_age_of_the_oldest_booking_grows_while_no_worker_runs() -> Result<()> {
    let setup = Setup { workers: 0, expects_leftovers: true, ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        shown(&mut deployment.apis[0], "an empty queue", |metrics| {
            metrics.value("hamro_queue_oldest_age_seconds", &[]) == Some(0.0)
        })
        .await?;
        client.create_booking("alice", &seats[..1]).await?;
        let metrics = shown(&mut deployment.apis[0], "an age", |metrics| {
            metrics.value("hamro_queue_oldest_age_seconds", &[]).is_some_and(|age| age >= 1.0)
        })
        .await?;
        assert_eq!(metrics.value("hamro_queue_bookings", &[]), Some(1.0));
        assert_eq!(metrics.value("hamro_workers", &[]), Some(0.0));
        assert_eq!(metrics.value("hamro_queue_drain_rate", &[]), None);
        deployment.start_worker(&[]).await?;
        shown(&mut deployment.apis[0], "an empty queue", |metrics| {
            metrics.value("hamro_queue_oldest_age_seconds", &[]) == Some(0.0)
        })
        .await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn every_aggregate_of_the_log_is_counted() -> Result<()> {
    const NO_BROKER: (&str, &str) = ("AMQP_URL", "amqp://127.0.0.1:1/%2f");
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let number = deployment.launch_api(&[NO_BROKER, ("CONNECTIONS_MAX", "20")]).await?;
        let api = &mut deployment.apis[number];
        for _ in 0..7 {
            assert_eq!(api.client.create_booking("alice", &[1]).await?.code(), "broker-unavailable");
        }
        for _ in 0..3 {
            let wrong = api.client.request(Method::DELETE, "/seats/1").bearer_auth("wrong").send().await?;
            assert_eq!(wrong.status, 401);
        }
        let metrics =
            shown(api, "the failures", |metrics| metrics.count("hamro_admin_failures_total", &[]) > 2.0)
                .await?;
        let expected = [
            ("hamro_http_refusals_total", vec![("code", "broker-unavailable")], 7.0),
            ("hamro_publish_failures_total", vec![("reason", "unavailable")], 7.0),
            ("hamro_publish_failures_total", vec![("reason", "busy")], 0.0),
            ("hamro_admin_failures_total", vec![], 3.0),
            ("hamro_broker_connected", vec![("role", "publishing")], 0.0),
            ("hamro_ready", vec![], 0.0),
            ("hamro_log_lines_dropped_total", vec![], 0.0),
            ("hamro_bound_max", vec![("bound", "connections")], 20.0),
        ];
        for (name, labels, value) in expected {
            assert_eq!(metrics.value(name, &labels), Some(value), "{name} {labels:?}: {}", metrics.text);
        }
        assert!(metrics.count("hamro_log_lines_total", &[("level", "warn")]) >= 1.0, "{}", metrics.text);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn metrics_can_be_read_while_clients_hold_all_connections() -> Result<()> {
    let variables = vec![("CONNECTIONS_MAX", "10")];
    Deployment::run(Setup { workers: 0, variables, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let mut taken = Vec::new();
        for _ in 0..30 {
            taken.push(tokio::net::TcpStream::connect(client.address()).await?);
        }
        let metrics = shown(&mut deployment.apis[0], "refused connections", |metrics| {
            metrics.count("hamro_bound_refused_total", &[("bound", "connections")]) > 0.0
        })
        .await?;
        assert_eq!(metrics.value("hamro_bound_held", &[("bound", "connections")]), Some(10.0));
        drop(taken);
        wait_until("the api responds", async || {
            Ok(client.get("/queue").await.is_ok_and(|it| it.status == 200).then_some(()))
        })
        .await
    })
    .await
}
