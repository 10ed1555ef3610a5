//! What becomes of the log, and of the process whose log nobody reads.

use std::net::TcpListener;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use hamro_e2e::client::{Answer, Client};
use hamro_e2e::installation::envelope;
use hamro_e2e::process::{Process, Sink};
use hamro_e2e::{Events, Installation, Setup, wait_until};
use hamro_shared::domain::TicketId;
use hamro_shared::queue::Parcel;
use nix::sys::signal::Signal;

/// No broker is there: every booking is refused at once.
const NO_BROKER: (&str, &str) = ("AMQP_URL", "amqp://127.0.0.1:1/%2f");
/// Everything that we log ourselves: some lines for each request and each batch.
const DEBUG: (&str, &str) = ("RUST_LOG", "info,hamro_api=debug,hamro_shared=debug,hamro_worker=debug");

const REFUSALS: usize = 2_000;

/// Asks for so many bookings, which are all refused.
async fn is_refused(client: &Client, count: usize) -> Result<()> {
    for wave in 0..count / 100 {
        let customers: Vec<String> = (0..100).map(|number| format!("customer{wave}-{number}")).collect();
        let asking = customers.iter().map(|customer| client.create_booking(customer, &[1]));
        let answers: Vec<Answer> = try_join_all(asking).await?;
        for answer in answers {
            ensure!((answer.status, answer.code()) == (503, "broker-unavailable"), "{answer:?}");
        }
    }
    Ok(())
}

/// How many requests the log counts under this code.
fn counted(log: &str, code: &str) -> usize {
    let lines = log.lines().filter_map(|line| line.split_once("refused or failed in the last second: "));
    let counts = lines.flat_map(|(_, counts)| counts.split(", ").map(|count| count.trim().split_once(' ')));
    counts.flatten().filter(|(_, of)| *of == code).filter_map(|(count, _)| count.parse::<usize>().ok()).sum()
}

/// Stops the process as an operator would; it leaves well.
async fn stops_well(process: &mut Process) -> Result<()> {
    process.signal(Signal::SIGTERM)?;
    let status = process.ended().await?;
    ensure!(status.success(), "{} left with {status}", process.name);
    Ok(())
}

/// A port that nobody listens on.
fn free_port() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string())
}

/// Settles a booking, which makes the worker log if it logs at DEBUG.
async fn settles_a_booking(installation: &Installation, seat: usize) -> Result<()> {
    let seats = installation.client().seat_ids(0).await?;
    let taken = installation.client().create_booking("alice", &seats[seat..=seat]).await?;
    let status = installation.client().final_status(taken.location()?).await?;
    ensure!(status["status"] == "confirmed", "{status}");
    Ok(())
}

#[tokio::test]
async fn an_api_whose_log_is_not_read_answers_and_says_afterwards_what_it_dropped() -> Result<()> {
    let mut installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    let number = installation.launch_api(&[NO_BROKER, DEBUG]).await?;
    let api = &mut installation.apis[number];
    api.process.stall_output().await?;
    // Some lines for each request: more than the queue of lines holds.
    is_refused(&api.client, 4 * REFUSALS).await?;
    assert_eq!(api.client.get("/health/live").await?.status, 200);

    api.process.resume_output();
    api.process.line_after("log lines were dropped").await?;
    api.process.stall_output().await?;
    is_refused(&api.client, 100).await?;
    stops_well(&mut installation.apis.remove(number).process).await?;
    installation.close().await
}

#[tokio::test]
async fn no_state_of_its_output_holds_up_or_ends_a_process() -> Result<()> {
    let installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    for (seat, sink) in Sink::ALL.into_iter().enumerate() {
        let (api_port, worker_port) = (free_port()?, free_port()?);
        let variables = installation.environment(&[NO_BROKER, DEBUG, ("PORT", &api_port)]);
        let mut api = Process::start_unread("api", "hamro-api", &[], &variables, sink)?;
        let variables = installation.environment(&[DEBUG, ("WORKER_HTTP_PORT", &worker_port)]);
        let mut worker = Process::start_unread("worker", "hamro-worker", &[], &variables, sink)?;
        let client = Client::new(&format!("http://127.0.0.1:{api_port}"));
        let is_live = wait_until("the api answers", async || Ok(client.get("/health/live").await.ok())).await;
        is_live.with_context(|| format!("{sink:?}"))?;
        is_refused(&client, REFUSALS).await?;
        Client::new(&format!("http://127.0.0.1:{worker_port}")).wait_until_ready().await?;
        settles_a_booking(&installation, seat).await.with_context(|| format!("{sink:?}"))?;
        stops_well(&mut api).await.with_context(|| format!("{sink:?}"))?;
        stops_well(&mut worker).await.with_context(|| format!("{sink:?}"))?;
    }
    installation.close().await
}

#[tokio::test]
async fn a_wrong_setting_ends_the_process_whatever_becomes_of_stderr() -> Result<()> {
    let installation = Installation::prepare(&Setup::default()).await?;
    let variables = installation.environment(&[("AMQP_URL", "amqp//nowhere")]);
    for program in ["hamro-api", "hamro-worker"] {
        for sink in Sink::ALL {
            let mut process = Process::start_unread(program, program, &[], &variables, sink)?;
            let status = process.ended().await.with_context(|| format!("{sink:?}"))?;
            assert_eq!(status.code(), Some(1), "{program}, {sink:?}");
        }
    }
    installation.close().await
}

#[tokio::test]
async fn the_output_of_a_command_may_be_cut_short_by_its_reader() -> Result<()> {
    for (sink, code) in [(Sink::ClosedPipe, 0), (Sink::FullDisk, 1)] {
        let mut openapi = Process::start_unread("openapi", "hamro-api", &["openapi"], &[], sink)?;
        assert_eq!(openapi.ended().await?.code(), Some(code), "{sink:?}");
    }
    Ok(())
}

#[tokio::test]
async fn refused_requests_are_counted_in_a_line_a_second() -> Result<()> {
    let mut installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    let number = installation.launch_api(&[NO_BROKER]).await?;
    let api = &mut installation.apis[number];
    let begun = Instant::now();
    is_refused(&api.client, REFUSALS).await?;
    wait_until("all refusals are counted", async || {
        Ok((counted(&api.process.printed(), "broker-unavailable") == REFUSALS).then_some(()))
    })
    .await?;
    let seconds = usize::try_from(begun.elapsed().as_secs())?;
    let log = api.process.printed();
    let lines = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    // One with the count, one with a sample, and those of the first and the last second.
    assert!(lines("broker-unavailable") <= 2 * (seconds + 2), "{log}");
    let sample = "for example broker-unavailable: POST /ticket-bookings, request ";
    assert!(lines(sample) > 0, "{log}");
    assert!(!log.contains("customer0"), "{log}");
    installation.close().await
}

#[tokio::test]
async fn a_flood_of_bad_messages_is_some_lines_and_a_count() -> Result<()> {
    const BAD: usize = 100;
    let mut installation = Installation::start(Setup::default()).await?;
    installation.expects_errors = true;
    let mut parcel = Parcel::default();
    for number in 0..BAD {
        parcel.push(format!(r#"{{"bad":{number}}}"#).as_bytes());
    }
    installation.publish(&parcel.encode()).await?;
    let worker = &mut installation.workers[0];
    let left_out = worker.line_after("log lines left out, beyond 20 a second from one place: ").await?;
    let (left_out, place) = left_out.split_once(" ERROR from ").context("no count")?;
    assert!(place.starts_with("hamro_worker::settlement::write:"), "{place}");
    let log = worker.printed();
    let lines =
        log.lines().filter(|line| line.contains("keeping a dead letter: unreadable-envelope")).count();
    assert_eq!(lines + left_out.parse::<usize>()?, BAD, "{log}");
    installation.close().await
}

#[tokio::test]
async fn a_log_shows_no_ticket_and_nobody_who_has_one() -> Result<()> {
    let key = ("LOG_KEY", "10910910910910910910910910910910910910910910910910910910910910ab");
    let setup = Setup { workers: 0, variables: vec![DEBUG, key], ..Setup::default() };
    let mut installation = Installation::start(setup).await?;
    installation.expects_errors = true;
    let client = installation.client().clone();
    let seats = client.seat_ids(0).await?;
    let taken = client.create_booking("alice", &seats[..1]).await?;
    let ticket = taken.body["ticketId"].as_str().context("no ticket")?.to_owned();
    let location = taken.location()?.to_owned();
    let mut events = Events::open(&client, &format!("{location}/events")).await?;
    installation.start_worker(&[]).await?;
    assert_eq!(client.final_status(&location).await?["status"], "confirmed");
    while events.next().await?.is_some() {}
    // The ticket comes again with another request, which is told as an error.
    let mut envelope = envelope("mallory", &seats[1..2])?;
    envelope.ticket.id = TicketId(ticket.parse()?);
    let mut parcel = Parcel::default();
    parcel.push(&envelope.encode());
    installation.publish(&parcel.encode()).await?;
    installation.workers[0].line_after("keeping a dead letter: ticket-reused").await?;

    let mut log_id =
        Process::start("log-id", "hamro-api", &["log-id", &ticket], &installation.environment(&[]))?;
    assert!(log_id.ended().await?.success());
    let log_id = log_id.line_after("").await?;
    assert_eq!(log_id.len(), 16, "{log_id}");
    installation.workers[0].line_after(&format!("ticket.log_id={log_id}")).await?;
    for process in installation.workers.iter().chain(installation.apis.iter().map(|api| &api.process)) {
        let log = process.printed();
        for secret in [&ticket, "alice", "mallory"] {
            assert!(!log.contains(secret), "{secret} in {}:\n{log}", process.name);
        }
    }
    installation.close().await
}
