//! Traces: what the programs export about one booking, and that a collector never affects bookings.

mod collector;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hamro_e2e::client::{ApiResponse, Client, booking};
use hamro_e2e::deployment::envelope;
use hamro_e2e::process::Process;
use hamro_e2e::{Deployment, Setup};
use hamro_shared::telemetry::traces::TraceContext;
use hyper::Method;

use self::collector::{Collector, NoCollector, envelope_field};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const ALL: (&str, &str) = ("OTEL_TRACES_SAMPLER", "always_on");
/// Only requests whose caller has sampled them.
const CALLERS_ONLY: (&str, &str) = ("OTEL_TRACES_SAMPLER_ARG", "0");
const KEY: (&str, &str) = ("LOG_KEY", "10910910910910910910910910910910910910910910910910910910910910ab");

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn create_booking(client: &Client, traceparent: &str, seat: i64) -> Result<ApiResponse> {
    let request = client.request(Method::POST, "/ticket-bookings").header("traceparent", traceparent);
    Client::send(request.json(&booking("alice", &[seat]))).await
}

#[tokio::test]
async fn the_trace_of_a_booking_is_whole_from_the_request_to_its_outcome() -> Result<()> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        let collector = Collector::start().await?;
        let variables = [(ENDPOINT, collector.url.as_str()), ALL, KEY];
        deployment.start_api(&variables).await?;
        deployment.start_worker(&variables).await?;
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let booked = client.book_seats("alice", &seats[..1]).await?;
        ensure!(booked.status == 201, "{booked:?}");
        let ticket = booked.location()?.rsplit('/').next().context("no ticket")?.to_owned();

        let request = collector.span("POST /ticket-bookings/seats").await?;
        let publish = collector.span("publish bookings.intake").await?;
        let wait = collector.span("wait for outcome").await?;
        let batch = collector.span("settle batch").await?;
        let settle = collector.span("settle bookings.intake").await?;
        let announce = collector.span("publish bookings.settled").await?;
        for (child, parent) in
            [(&publish, &request), (&wait, &request), (&settle, &publish), (&announce, &settle)]
        {
            assert!(child.is_child_of(parent), "{child:?} is not a child of {parent:?}");
        }
        assert!(batch.links_to(&publish) && settle.links_to(&batch), "{batch:?} {settle:?}");
        for span in [&request, &publish, &wait] {
            assert_eq!(span.service, "hamro-api");
        }
        for span in [&batch, &settle, &announce] {
            assert_eq!(span.service, "hamro-worker");
        }
        assert_eq!(request.attribute("http.route").as_deref(), Some("/ticket-bookings/seats"));
        assert_eq!(request.attribute("http.response.status_code").as_deref(), Some("201"));
        assert_eq!(settle.attribute("booking.outcome").as_deref(), Some("confirmed"));
        assert_eq!(wait.attribute("booking.outcome").as_deref(), Some("confirmed"));
        let log_id = settle.attribute("ticket.log_id").context("no log id")?;
        assert_eq!(publish.attribute("ticket.log_id"), Some(log_id));
        let exported = format!("{:?}", collector.spans());
        for secret in [ticket.as_str(), "alice"] {
            assert!(!exported.contains(secret), "{secret} in {exported}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_booking_that_is_rejected_or_fails_says_so_in_its_trace() -> Result<()> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        let collector = Collector::start().await?;
        let variables = [(ENDPOINT, collector.url.as_str()), ALL];
        deployment.start_api(&variables).await?;
        deployment.start_worker(&variables).await?;
        let refused = deployment.client().book_seats("alice", &[i64::from(i32::MAX)]).await?;
        ensure!(refused.status == 404, "{refused:?}");
        let settle = collector.span("settle bookings.intake").await?;
        assert_eq!(settle.attribute("booking.outcome").as_deref(), Some("seats-not-found"));
        let request = collector.span("POST /ticket-bookings/seats").await?;
        assert_eq!(request.attribute("error.type").as_deref(), Some("seats-not-found"));
        assert!(!settle.is_failed() && !request.is_failed(), "{settle:?} {request:?}");

        let mut poison = envelope("bob", &[1])?;
        poison.trace = TraceContext::parse(SAMPLED);
        deployment.stop_workers().await?;
        deployment.exhaust_retries(&poison).await?;
        deployment.expects_errors = true;
        deployment.start_worker(&[variables[0], ALL, ("REAPER_DELAY", "0s")]).await?;
        deployment.workers[0].line_after(&format!("trace_id={TRACE}")).await?;
        let failed = collector.span_of(TRACE, "settle bookings.intake").await?;
        assert!(failed.is_failed(), "{failed:?}");
        assert_eq!(failed.attribute("booking.outcome").as_deref(), Some("failed"));

        let api = deployment.launch_api(&[("AMQP_URL", "amqp://127.0.0.1:1/%2f"), variables[0], ALL]).await?;
        let refused = deployment.apis[api].client.create_booking("alice", &[1]).await?;
        ensure!(refused.status == 503, "{refused:?}");
        let request = collector.span("POST /ticket-bookings").await?;
        assert!(request.is_failed(), "{request:?}");
        assert_eq!(request.attribute("error.type").as_deref(), Some("broker-unavailable"));
        let process = &mut deployment.apis[api].process;
        process.line_after(&format!("code=\"broker-unavailable\" trace_id={}", request.trace_id())).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_flag_of_a_traceparent_decides_and_what_is_not_sampled_carries_no_bytes() -> Result<()> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        let collector = Collector::start().await?;
        let traced = deployment.start_api(&[(ENDPOINT, &collector.url), CALLERS_ONLY]).await?;
        let untraced = deployment.start_api(&[]).await?;
        let not_sampled = format!("{}0", &SAMPLED[..SAMPLED.len() - 1]);
        let bad = SAMPLED.to_uppercase();
        for (api, traceparent, is_sampled) in [
            (traced, not_sampled.as_str(), false),
            (traced, &bad, false),
            (traced, "", false),
            (untraced, SAMPLED, false),
            (traced, SAMPLED, true),
        ] {
            let accepted = create_booking(&deployment.apis[api].client, traceparent, 1).await?;
            ensure!(accepted.status == 202, "{accepted:?}");
            let messages = deployment.take_messages().await?;
            let carried = envelope_field(messages.first().context("nothing is queued")?, "traceparent")?;
            assert_eq!(carried.is_some(), is_sampled, "{traceparent}: {carried:?}");
            if let Some(carried) = carried {
                let publish = collector.span("publish bookings.intake").await?;
                assert_eq!(publish.trace_id(), TRACE);
                assert!(carried.starts_with(&format!("00-{TRACE}-")) && carried != SAMPLED, "{carried}");
            }
        }
        let request = collector.span("POST /ticket-bookings").await?;
        assert_eq!(request.span.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
        for exported in collector.spans() {
            assert_eq!(exported.trace_id(), TRACE, "{exported:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_collector_that_does_not_work_costs_no_booking_and_delays_no_shutdown() -> Result<()> {
    const BOOKINGS: usize = 20;
    Deployment::run(Setup::without_processes(), async |deployment| {
        for (number, behaviour) in NoCollector::ALL.into_iter().enumerate() {
            let (url, _server) = behaviour.start().await?;
            let variables = [(ENDPOINT, url.as_str()), ALL];
            let api = deployment.start_api(&variables).await?;
            deployment.start_worker(&variables).await?;
            let client = deployment.apis[api].client.clone();
            let seats = client.seat_ids(0).await?;
            for seat in &seats[number * BOOKINGS..(number + 1) * BOOKINGS] {
                let booked = client.book_seats("alice", &[*seat]).await?;
                ensure!(booked.status == 201, "{behaviour:?}: {booked:?}");
            }
            if matches!(behaviour, NoCollector::Refuses | NoCollector::Fails) {
                let process = &mut deployment.apis[api].process;
                process
                    .line_after(" spans of traces dropped: the collector at 127.0.0.1 does not take them")
                    .await?;
            }
            let started = Instant::now();
            deployment.stop_apis().await?;
            deployment.stop_workers().await?;
            assert!(started.elapsed() < Duration::from_secs(5), "{behaviour:?}: {:?}", started.elapsed());
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_wrong_endpoint_stops_both_programs_at_the_start() -> Result<()> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        for program in ["hamro-api", "hamro-worker"] {
            for wrong in ["127.0.0.1:4318", "grpc://127.0.0.1:4317", "http://otel:token@127.0.0.1:4318"] {
                let variables = deployment.environment(&[(ENDPOINT, wrong)]);
                let output = Process::output(program, &[], &variables).await?;
                let printed = String::from_utf8(output.stderr)?;
                assert_eq!(output.status.code(), Some(1), "{program}: {printed}");
                assert!(printed.contains(&format!("{ENDPOINT} is invalid: ")), "{program}: {printed}");
                assert!(!printed.contains("token"), "{printed}");
            }
        }
        Ok(())
    })
    .await
}
