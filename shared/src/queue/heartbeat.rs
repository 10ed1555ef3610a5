//! The heartbeat: what a process tells all api instances about itself, through the exchange `bookings.heartbeats`.
//!
//! A worker says what it holds and how fast it settles. An api instance says how many bookings it has published. From
//! both, each instance knows how many bookings are ahead of a ticket, whichever instance has issued it. An api instance
//! also says which controls of the intake it obeys, so that a change reaches the others at once.
//!
//! Heartbeats are best-effort. A process sends one every second, and at most one more when something has changed. An
//! instance ignores what it cannot decode, so that newer versions may add other kinds.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use uuid::Uuid;

use super::figures::{ApiFigures, WorkerFigures};
use super::intake_controls::{ConcertControls, IntakeControls};
use crate::domain::ConcertId;

/// A process sends at least one heartbeat in this time.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);
/// After a change, the next heartbeat follows within this time. No two heartbeats follow each other sooner.
pub const HEARTBEAT_AFTER_CHANGE: Duration = Duration::from_millis(500);
/// A process that was silent for this long does not run, is frozen, or has lost its connection.
pub const SILENT_AFTER: Duration = Duration::from_secs(4);

/// A process, and its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// Random for each run of a process.
    pub process: Uuid,
    /// The version of the program.
    pub version: String,
    #[serde(flatten)]
    pub state: ProcessState,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum ProcessState {
    Worker(WorkerState),
    Api(Published),
}

/// What a worker holds of the intake queue, and how fast it settles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerState {
    /// The newest version of envelopes that it can read.
    pub envelope_version: u16,
    /// Whether it consumes the intake queue.
    pub consuming: bool,
    /// Messages that were delivered to it and are not settled.
    pub messages: u64,
    /// The bookings in these messages.
    pub bookings: u64,
    /// Bookings per second that it has settled lately while it had any. `None` before the first.
    pub rate: Option<f64>,
    /// The process is about to end. No further heartbeat follows.
    pub stopped: bool,
    /// Why the worker is not ready. Empty if it is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_ready: Vec<String>,
    /// Missing in heartbeats of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<WorkerFigures>,
}

/// What an api instance has published to the intake queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Published {
    /// Messages since it started.
    pub messages: u64,
    /// Bookings since it started.
    pub bookings: u64,
    /// How many of these bookings have tickets that were issued in the 10 ms that include the heartbeat, in the 10 ms
    /// before these, and so on, for at most a second. These periods begin at multiples of 10 ms. Zeros at the end are
    /// left out.
    #[serde(default)]
    pub recent: Vec<u64>,
    /// When the first of these periods ends: every earlier ticket was issued before it. In milliseconds since the Unix
    /// epoch, by the clock that issues tickets. `None` in heartbeats of earlier versions.
    #[serde(default)]
    pub recent_until: Option<i64>,
    /// Bookings that clients have requested since it started, also those that it refused. Its share of a limit of the
    /// whole installation depends on it.
    #[serde(default)]
    pub requested: u64,
    /// Those of each concert that has controls, since it has them. A share of a concert's limit depends on it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requested_by_concert: BTreeMap<ConcertId, u64>,
    /// The controls of the intake, as far as the instance knows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controls: Option<IntakeControls>,
    /// Those of single concerts, of the same revision, in the order of the ids. Missing in heartbeats of earlier versions,
    /// which do not know them; empty if no concert has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concert_controls: Option<Vec<ConcertControls>>,
    /// Missing in heartbeats of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<ApiFigures>,
    /// Missing in heartbeats of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceReport>,
}

/// What an operator compares between the api instances: `hamro-api doctor` and `hamro-api keys` do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceReport {
    /// The fingerprints of `TICKET_KEYS`, in their order: the first signs.
    pub ticket_keys: Vec<String>,
    /// `BOOKING_DEADLINE`.
    pub booking_deadline_millis: u64,
    /// `SHUTDOWN_TIMEOUT`.
    pub shutdown_timeout_millis: u64,
    /// `DATABASE_CONNECTIONS`.
    pub database_connections: u16,
    /// How long the process has run.
    pub uptime_millis: u64,
    /// How far the database clock is ahead of the clock of its machine. `None` before it was measured.
    pub clock_offset_millis: Option<i64>,
}

impl Published {
    /// The period of time of each element of `recent`, in milliseconds.
    pub const STEP_MILLIS: i64 = 10;
    /// The maximum length of `recent`.
    pub const STEPS: usize = 100;
}

impl ProcessState {
    /// Whether it differs from what was sent by more than the passage of time.
    fn has_changed_since(&self, sent: &Self) -> bool {
        match (self, sent) {
            (Self::Api(now), Self::Api(sent)) => {
                (now.messages, now.bookings, now.requested, now.controls)
                    != (sent.messages, sent.bookings, sent.requested, sent.controls)
            }
            _ => self != sent,
        }
    }
}

/// When a process sends its heartbeats.
pub struct HeartbeatSchedule {
    ticks: Interval,
    last: Option<(ProcessState, Instant)>,
}

impl Default for HeartbeatSchedule {
    fn default() -> Self {
        let mut ticks = interval(HEARTBEAT_AFTER_CHANGE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, last: None }
    }
}

impl HeartbeatSchedule {
    /// Waits until a heartbeat is due, and returns the state to send. Dropping the future loses nothing.
    pub async fn next(&mut self, state: impl Fn() -> ProcessState) -> ProcessState {
        loop {
            let now = self.ticks.tick().await;
            let state = state();
            let is_due = self.last.as_ref().is_none_or(|(sent, sent_at)| {
                state.has_changed_since(sent) || now.duration_since(*sent_at) >= HEARTBEAT_EVERY
            });
            if is_due {
                self.last = Some((state.clone(), now));
                return state;
            }
        }
    }
}

impl Heartbeat {
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a heartbeat has string keys only")
    }

    pub fn decode(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn a_decoded_heartbeat_equals_the_encoded_one() {
        let worker = WorkerState {
            messages: 3,
            bookings: 70,
            rate: Some(812.5),
            not_ready: vec!["seats: locked".to_owned()],
            figures: Some(WorkerFigures {
                settled: [("confirmed".to_owned(), 7)].into(),
                ..WorkerFigures::default()
            }),
            ..WorkerState::default()
        };
        for state in [
            ProcessState::Worker(worker),
            ProcessState::Worker(WorkerState::default()),
            ProcessState::Api(Published {
                messages: 1,
                bookings: 64,
                recent: vec![0, 64],
                recent_until: Some(5),
                requested: 70,
                requested_by_concert: [(ConcertId(Uuid::from_u128(9)), 12)].into(),
                controls: Some(IntakeControls {
                    revision: 3,
                    intake_paused: true,
                    accept_per_second: NonZeroU32::new(50),
                }),
                concert_controls: Some(vec![ConcertControls {
                    concert_id: ConcertId(Uuid::from_u128(9)),
                    paused: false,
                    accept_per_second: NonZeroU32::new(5),
                }]),
                figures: Some(ApiFigures { accepted: 65, ..ApiFigures::default() }),
                instance: Some(InstanceReport {
                    ticket_keys: vec!["a1b2c3d4e5f6".to_owned()],
                    booking_deadline_millis: 900_000,
                    clock_offset_millis: Some(-3),
                    ..InstanceReport::default()
                }),
            }),
        ] {
            let heartbeat = Heartbeat { process: Uuid::from_u128(7), version: "0.1.0".to_owned(), state };
            assert_eq!(Heartbeat::decode(&heartbeat.encode()).unwrap(), heartbeat);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_sends_one_heartbeat_a_second_and_two_while_its_state_changes() {
        let mut schedule = HeartbeatSchedule::default();
        let started = Instant::now();
        let idle = || ProcessState::Worker(WorkerState::default());
        for _ in 0..10 {
            schedule.next(idle).await;
        }
        assert_eq!(started.elapsed(), HEARTBEAT_EVERY * 9);
        let started = Instant::now();
        for messages in 1..=10 {
            let busy = || ProcessState::Worker(WorkerState { messages, ..WorkerState::default() });
            schedule.next(busy).await;
        }
        assert_eq!(started.elapsed(), HEARTBEAT_AFTER_CHANGE * 10);
        let started = Instant::now();
        for recent_until in 1..=11 {
            let recent_until = Some(recent_until);
            let idle = || ProcessState::Api(Published { recent_until, ..Published::default() });
            schedule.next(idle).await;
        }
        assert_eq!(started.elapsed(), HEARTBEAT_AFTER_CHANGE + HEARTBEAT_EVERY * 10);
    }

    #[test]
    fn a_field_that_a_newer_version_adds_is_ignored_and_an_unknown_kind_is_not_decoded() {
        let id = Uuid::from_u128(7);
        let json = format!(
            r#"{{"process":"{id}","version":"9","kind":"api","messages":1,"bookings":2,"added":true}}"#
        );
        let heartbeat = Heartbeat::decode(json.as_bytes()).unwrap();
        let published = Published { messages: 1, bookings: 2, ..Published::default() };
        assert_eq!(heartbeat.state, ProcessState::Api(published));
        assert!(Heartbeat::decode(json.replace("api", "scheduler").as_bytes()).is_err());
    }
}
