//! Logging: its contents and limits, and processes whose log is not read.

use std::net::TcpListener;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use hamro_e2e::client::{ApiResponse, Client};
use hamro_e2e::deployment::envelope;
use hamro_e2e::process::{Process, Sink};
use hamro_e2e::{Deployment, Events, Setup, wait_until};
use hamro_shared::domain::TicketId;
use hamro_shared::queue::Parcel;
use nix::sys::signal::Signal;

/// An address without a broker: every booking is refused at once.
const NO_BROKER: (&str, &str) = ("AMQP_URL", "amqp://127.0.0.1:1/%2f");
/// All of the project's own log lines: several for each request and each batch.
const DEBUG: (&str, &str) = ("RUST_LOG", "info,hamro_api=debug,hamro_shared=debug,hamro_worker=debug");

const REFUSALS: usize = 2_000;

/// Sends this many bookings, which must all be refused.
async fn is_refused(client: &Client, count: usize) -> Result<()> {
    for wave in 0..count / 100 {
        let customers: Vec<String> = (0..100).map(|number| format!("customer{wave}-{number}")).collect();
        let asking = customers.iter().map(|customer| client.create_booking(customer, &[1]));
        let answers: Vec<ApiResponse> = try_join_all(asking).await?;
        for answer in answers {
            ensure!((answer.status, answer.code()) == (503, "broker-unavailable"), "{answer:?}");
        }
    }
    Ok(())
}

/// The number of requests that the log reports with this code.
fn counted(log: &str, code: &str) -> usize {
    let lines =
        log.lines().filter_map(|line| line.split_once("requests refused or failed in the last second: "));
    let counts = lines.flat_map(|(_, counts)| counts.split(", ").map(|count| count.trim().split_once(' ')));
    counts.flatten().filter(|(_, of)| *of == code).filter_map(|(count, _)| count.parse::<usize>().ok()).sum()
}

/// Stops the process with SIGTERM. It must exit successfully.
async fn stops_well(process: &mut Process) -> Result<()> {
    process.signal(Signal::SIGTERM)?;
    let status = process.ended().await?;
    ensure!(status.success(), "{} ended with {status}", process.name);
    Ok(())
}

/// An unused port.
fn free_port() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string())
}

/// Settles a booking, which makes a worker log at DEBUG.
async fn settles_a_booking(deployment: &Deployment, seat: usize) -> Result<()> {
    let seats = deployment.client().seat_ids(0).await?;
    let accepted = deployment.client().create_booking("alice", &seats[seat..=seat]).await?;
    let status = deployment.client().final_status(accepted.location()?).await?;
    ensure!(status["status"] == "confirmed", "{status}");
    Ok(())
}

#[tokio::test]
async fn an_api_whose_log_is_not_read_responds_and_later_reports_dropped_lines() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let number = deployment.launch_api(&[NO_BROKER, DEBUG]).await?;
        let api = &mut deployment.apis[number];
        api.process.stall_output().await?;
        // Several lines for each request, more in total than the line queue holds.
        is_refused(&api.client, 4 * REFUSALS).await?;
        assert_eq!(api.client.get("/health/live").await?.status, 200);

        api.process.resume_output();
        api.process.line_after("the log reader is too slow or its disk is full").await?;
        api.process.stall_output().await?;
        is_refused(&api.client, 100).await?;
        stops_well(&mut deployment.apis.remove(number).process).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_unwritable_output_neither_blocks_nor_ends_a_process() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        for (seat, sink) in Sink::ALL.into_iter().enumerate() {
            let (api_port, worker_port) = (free_port()?, free_port()?);
            let variables = deployment.environment(&[NO_BROKER, DEBUG, ("PORT", &api_port)]);
            let mut api = Process::start_unread("api", "hamro-api", &[], &variables, sink)?;
            let variables = deployment.environment(&[DEBUG, ("WORKER_HTTP_PORT", &worker_port)]);
            let mut worker = Process::start_unread("worker", "hamro-worker", &[], &variables, sink)?;
            let client = Client::new(&format!("http://127.0.0.1:{api_port}"));
            let is_live =
                wait_until("the api responds", async || Ok(client.get("/health/live").await.ok())).await;
            is_live.with_context(|| format!("{sink:?}"))?;
            is_refused(&client, REFUSALS).await?;
            Client::new(&format!("http://127.0.0.1:{worker_port}")).wait_until_ready().await?;
            settles_a_booking(deployment, seat).await.with_context(|| format!("{sink:?}"))?;
            stops_well(&mut api).await.with_context(|| format!("{sink:?}"))?;
            stops_well(&mut worker).await.with_context(|| format!("{sink:?}"))?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_invalid_setting_ends_the_process_even_if_stderr_is_unwritable() -> Result<()> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        let variables = deployment.environment(&[("AMQP_URL", "amqp//nowhere")]);
        for program in ["hamro-api", "hamro-worker"] {
            for sink in Sink::ALL {
                let mut process = Process::start_unread(program, program, &[], &variables, sink)?;
                let status = process.ended().await.with_context(|| format!("{sink:?}"))?;
                assert_eq!(status.code(), Some(1), "{program}, {sink:?}");
            }
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_command_succeeds_if_the_reader_of_its_output_closes_the_pipe() -> Result<()> {
    for (sink, code) in [(Sink::ClosedPipe, 0), (Sink::FullDisk, 1)] {
        let mut openapi = Process::start_unread("openapi", "hamro-api", &["openapi"], &[], sink)?;
        assert_eq!(openapi.ended().await?.code(), Some(code), "{sink:?}");
    }
    Ok(())
}

#[tokio::test]
async fn refused_requests_are_logged_as_one_count_per_second() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let number = deployment.launch_api(&[NO_BROKER]).await?;
        let api = &mut deployment.apis[number];
        let started = Instant::now();
        is_refused(&api.client, REFUSALS).await?;
        wait_until("all refusals are counted", async || {
            Ok((counted(&api.process.printed(), "broker-unavailable") == REFUSALS).then_some(()))
        })
        .await?;
        let seconds = usize::try_from(started.elapsed().as_secs())?;
        let log = api.process.printed();
        let lines = |what: &str| log.lines().filter(|line| line.contains(what)).count();
        // One line with the count and one with an example per second, with a margin for the first and the last second.
        assert!(lines("broker-unavailable") <= 2 * (seconds + 2), "{log}");
        let example = "example of broker-unavailable: POST /ticket-bookings, request ";
        assert!(lines(example) > 0, "{log}");
        assert!(!log.contains("customer0"), "{log}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_flood_of_unreadable_messages_is_logged_as_some_lines_and_a_count() -> Result<()> {
    const BAD: usize = 100;
    Deployment::run(Setup::default(), async |deployment| {
        deployment.expects_errors = true;
        let mut parcel = Parcel::default();
        for number in 0..BAD {
            parcel.push(format!(r#"{{"bad":{number}}}"#).as_bytes());
        }
        deployment.publish(&parcel.encode()).await?;
        let worker = &mut deployment.workers[0];
        let suppressed =
            worker.line_after("suppressed log lines (limit 20 a second per call site): ").await?;
        let (suppressed, call_site) = suppressed.split_once(" ERROR from ").context("no count")?;
        assert!(call_site.starts_with("hamro_worker::settlement::write:"), "{call_site}");
        let log = worker.printed();
        let lines =
            log.lines().filter(|line| line.contains("storing dead letter: unreadable-envelope")).count();
        assert_eq!(lines + suppressed.parse::<usize>()?, BAD, "{log}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn logs_contain_no_ticket_ids_and_no_customer_names() -> Result<()> {
    let key = ("LOG_KEY", "10910910910910910910910910910910910910910910910910910910910910ab");
    let setup = Setup { workers: 0, variables: vec![DEBUG, key], ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        deployment.expects_errors = true;
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        let accepted = client.create_booking("alice", &seats[..1]).await?;
        let ticket = accepted.body["ticketId"].as_str().context("no ticket")?.to_owned();
        let location = accepted.location()?.to_owned();
        let mut events = Events::open(&client, &format!("{location}/events")).await?;
        deployment.start_worker(&[]).await?;
        assert_eq!(client.final_status(&location).await?["status"], "confirmed");
        while events.next().await?.is_some() {}
        // The same ticket with another request is logged as an error.
        let mut envelope = envelope("mallory", &seats[1..2])?;
        envelope.ticket.id = TicketId(ticket.parse()?);
        let mut parcel = Parcel::default();
        parcel.push(&envelope.encode());
        deployment.publish(&parcel.encode()).await?;
        deployment.workers[0].line_after("storing dead letter: ticket-reused").await?;

        let mut log_id =
            Process::start("log-id", "hamro-api", &["log-id", &ticket], &deployment.environment(&[]))?;
        assert!(log_id.ended().await?.success());
        let log_id = log_id.line_after("").await?;
        assert_eq!(log_id.len(), 16, "{log_id}");
        deployment.workers[0].line_after(&format!("ticket.log_id={log_id}")).await?;
        for process in deployment.workers.iter().chain(deployment.apis.iter().map(|api| &api.process)) {
            let log = process.printed();
            for secret in [&ticket, "alice", "mallory"] {
                assert!(!log.contains(secret), "{secret} in {}:\n{log}", process.name);
            }
        }
        Ok(())
    })
    .await
}
