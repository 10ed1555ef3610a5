//! One run of the canary: a client's path, step by step, and then the release.

use std::fmt::{self, Display};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use axum::http::StatusCode;
use hamro_shared::domain::{SeatId, TicketId};
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::concert::{self, Place, Sold};
use super::own_http::{OwnHttp, Response};
use super::results::track;
use crate::bookings::release_booking::release_detached;
use crate::bookings::release_transaction::ReleaseOrder;
use crate::http::admin_auth::AdminName;
use crate::state::AppState;

const PREPARE_LIMIT: Duration = Duration::from_secs(15);
const ACCEPT_LIMIT: Duration = Duration::from_secs(10);
const RELEASE_LIMIT: Duration = Duration::from_secs(15);
/// How long a response may take, in addition to the wait that was asked for.
const RESPONSE_LIMIT: Duration = Duration::from_secs(5);
/// The longest wait for an outcome in one request, in seconds.
const HOLD: u64 = 10;
/// The least time between two requests for a status, which may not be held when there are too many waits.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The codes of refusals that administrators want: no sign that anything is broken.
const PAUSED: [&str; 2] = ["intake-paused", "intake-limited"];

/// How a run has ended.
#[derive(Debug)]
pub enum Ended {
    Succeeded,
    /// The intake is paused or limited by an administrator; the code of the refusal.
    Paused(String),
    Failed(Failure),
}

/// Where a run has failed, and why.
#[derive(Debug)]
pub struct Failure {
    pub step: Step,
    /// Has no ticket id.
    pub cause: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Create the concert, release what an earlier run has left, choose a seat.
    Prepare,
    /// Book, until the broker has confirmed.
    Accept,
    /// Follow the ticket, until the booking is confirmed.
    Settle,
    Release,
}

impl Failure {
    pub fn new(step: Step, cause: impl Into<anyhow::Error>) -> Self {
        Self { step, cause: format!("{:#}", cause.into()) }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self.step {
            Step::Prepare => "prepare",
            Step::Accept => "accept",
            Step::Settle => "settle",
            Step::Release => "release",
        };
        write!(f, "{step}: {}", self.cause)
    }
}

/// The answer to a booking.
enum Answer {
    Accepted(TicketId),
    Paused(String),
}

pub struct Attempt<'a> {
    pub app: &'a AppState,
    pub http: &'a OwnHttp,
    pub settle_limit: Duration,
}

impl Attempt<'_> {
    pub async fn make(&self, session: &mut PgConnection) -> Ended {
        match self.steps(session).await {
            Ok(None) => Ended::Succeeded,
            Ok(Some(code)) => Ended::Paused(code),
            Err(failure) => Ended::Failed(failure),
        }
    }

    /// Returns the code if the intake is paused.
    async fn steps(&self, session: &mut PgConnection) -> Result<Option<String>, Failure> {
        let place = step(Step::Prepare, PREPARE_LIMIT, self.prepare(session)).await?;
        let ticket = match step(Step::Accept, ACCEPT_LIMIT, self.book(session, &place)).await? {
            Answer::Accepted(ticket) => ticket,
            Answer::Paused(code) => return Ok(Some(code)),
        };
        step(Step::Settle, self.settle_limit + 2 * RESPONSE_LIMIT, self.follow(ticket, place.seat)).await?;
        step(Step::Release, RELEASE_LIMIT, self.release(ticket, place.seat)).await?;
        Ok(None)
    }

    /// Releases what earlier runs have left, and returns the next seat and its customer.
    async fn prepare(&self, session: &mut PgConnection) -> anyhow::Result<Place> {
        concert::create(session).await?;
        for Sold { ticket, seats, is_own } in concert::sold(session).await? {
            if is_own {
                track(session, ticket).await?;
            }
            let order = order(ticket, seats, "An earlier run of the canary did not release it");
            if let Err(problem) = release_detached(self.app.clone(), order).await {
                bail!("a seat of an earlier run cannot be released: {}", problem.code().as_str());
            }
        }
        concert::next_place(session).await?.context("no seat of the canary's concert is free")
    }

    async fn book(&self, session: &mut PgConnection, place: &Place) -> anyhow::Result<Answer> {
        let body = json!({
            "userName": "Canary",
            "userEmail": place.customer,
            "seatIds": [place.seat],
            "concertId": concert::ID,
        });
        let response = self.http.post("/ticket-bookings", &body).await?;
        // Also that of a booking that may still go through.
        if let Some(ticket) = ticket_of(&response) {
            track(session, ticket).await.context("storing the ticket")?;
        }
        answer_of(&response)
    }

    /// Waits until the booking is confirmed.
    async fn follow(&self, ticket: TicketId, seat: SeatId) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.settle_limit;
        let mut polls = interval(POLL_INTERVAL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            polls.tick().await;
            let wait = deadline.saturating_duration_since(Instant::now());
            let hold = wait.as_secs().min(HOLD);
            let path = format!("/ticket-bookings/{ticket}?wait={hold}");
            let limit = Duration::from_secs(hold) + RESPONSE_LIMIT;
            let response = timeout(limit, self.http.get(&path)).await.context("no response")??;
            ensure!(response.status == StatusCode::OK, "{response}");
            match response.body["status"].as_str().unwrap_or_default() {
                "queued" if Instant::now() < deadline => {}
                "queued" => bail!("still queued{}", position(&response)),
                "confirmed" => {
                    let has_seat = response.body["booking"]["seats"]
                        .as_array()
                        .is_some_and(|seats| seats.iter().any(|booked| booked["id"] == json!(seat)));
                    ensure!(has_seat, "confirmed without the seat that was booked");
                    return Ok(());
                }
                status => {
                    bail!("{status} {}", response.body["problem"]["code"].as_str().unwrap_or_default())
                }
            }
        }
    }

    async fn release(&self, ticket: TicketId, seat: SeatId) -> anyhow::Result<()> {
        let order = order(ticket, vec![seat], "The canary has booked it");
        let released = release_detached(self.app.clone(), order).await;
        let released = released.map_err(|problem| anyhow::anyhow!("{}", problem.code().as_str()))?;
        ensure!(released.status.released_seat_ids == [seat], "the seat is still booked");
        Ok(())
    }
}

fn order(ticket: TicketId, seats: Vec<SeatId>, reason: &str) -> ReleaseOrder {
    ReleaseOrder { ticket, seats: Some(seats), reason: reason.to_owned(), by: AdminName::of_canary() }
}

fn ticket_of(response: &Response) -> Option<TicketId> {
    response.body["ticketId"].as_str()?.parse().ok().map(TicketId)
}

fn answer_of(response: &Response) -> anyhow::Result<Answer> {
    match response.status {
        StatusCode::ACCEPTED => ticket_of(response).map(Answer::Accepted).context("202 without a ticket"),
        _ if PAUSED.contains(&response.code()) => Ok(Answer::Paused(response.code().to_owned())),
        _ => bail!("{response}"),
    }
}

/// How much is before the booking, if known.
fn position(response: &Response) -> String {
    match &response.body["queue"]["ahead"] {
        Value::Number(ahead) => format!(" with {ahead} bookings ahead"),
        _ => String::new(),
    }
}

/// A step with a time limit. A failure says how long it took.
async fn step<T>(
    step: Step,
    limit: Duration,
    work: impl Future<Output = anyhow::Result<T>>,
) -> Result<T, Failure> {
    let started = Instant::now();
    let result = timeout(limit, work).await.unwrap_or_else(|_| Err(anyhow::anyhow!("no response")));
    result.map_err(|cause| {
        let seconds = started.elapsed().as_secs_f64();
        Failure { step, cause: format!("{cause:#} after {seconds:.1} s") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: StatusCode, body: Value) -> Result<Answer, String> {
        answer_of(&Response { status, body }).map_err(|error| error.to_string())
    }

    #[test]
    fn a_refusal_by_the_controls_of_the_intake_is_no_failure_and_every_other_one_is() {
        let id = "019ab3c5-7f15-8a3e-9d42-5c1f0e6b7a88";
        let accepted = answer(StatusCode::ACCEPTED, json!({"ticketId": id, "status": "queued"}));
        assert!(matches!(accepted, Ok(Answer::Accepted(ticket)) if ticket.0.to_string() == id));
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        for code in ["intake-paused", "intake-limited"] {
            let paused = answer(unavailable, json!({"code": code}));
            assert!(matches!(paused, Ok(Answer::Paused(refusal)) if refusal == code));
        }
        for (status, body, expected) in [
            (unavailable, json!({"code": "queue-full"}), "503 queue-full"),
            // It may still go through, but it was not accepted.
            (unavailable, json!({"code": "broker-unavailable", "ticketId": id}), "503 broker-unavailable"),
            (StatusCode::TOO_MANY_REQUESTS, json!({"code": "too-many-requests"}), "429 too-many-requests"),
            (StatusCode::BAD_GATEWAY, Value::Null, "502 "),
            (StatusCode::ACCEPTED, json!({}), "202 without a ticket"),
        ] {
            assert_eq!(answer(status, body).err().as_deref(), Some(expected));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_says_at_which_step_why_and_after_how_long() {
        let failed = step(Step::Accept, ACCEPT_LIMIT, async { bail!("503 queue-full") });
        let failed: Result<(), Failure> = failed.await;
        assert_eq!(failed.unwrap_err().to_string(), "accept: 503 queue-full after 0.0 s");
        let silent =
            step(Step::Settle, Duration::from_secs(30), std::future::pending::<anyhow::Result<()>>());
        assert_eq!(silent.await.unwrap_err().to_string(), "settle: no response after 30.0 s");
    }
}
