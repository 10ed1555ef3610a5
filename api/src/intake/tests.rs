mod concerts;

use hamro_shared::domain::{CustomerName, Email, SeatId, Timestamp};
use hamro_shared::queue::IntakeControls;
use tokio::time::advance;

use super::*;

const STEP: Duration = Duration::from_millis(1);

fn controls(revision: i64, limit: Option<u32>) -> IntakeControls {
    IntakeControls {
        revision,
        intake_paused: limit.is_none(),
        accept_per_second: limit.and_then(std::num::NonZeroU32::new),
    }
}

fn of_intake(intake: IntakeControls) -> Controls {
    Controls { intake, concerts: Vec::new() }
}

fn stored(revision: i64) -> StoredControls {
    let at = Timestamp::from_unix_millis(0).unwrap();
    let change = Change { at, by: "alice".to_owned(), reason: "test".to_owned() };
    StoredControls { controls: of_intake(controls(revision, None)), change: Some(change) }
}

fn heartbeat(process: u128, published: Published) -> Heartbeat {
    let state = ProcessState::Api(published);
    Heartbeat { process: Uuid::from_u128(process), version: "test".to_owned(), state }
}

fn instance(number: u128) -> Intake {
    let intake = Intake::new(Uuid::from_u128(number));
    intake.listens(true);
    intake
}

fn revision(intake: &Intake) -> Option<i64> {
    intake.current().map(|current| current.controls.intake.revision)
}

/// A booking of these seats.
fn booking(seats: &[i32], concert: Option<ConcertId>) -> BookingRequest {
    let name = CustomerName::parse("Alice").unwrap();
    let email = Email::parse("alice@example.com").unwrap();
    BookingRequest::new(name, email, seats.iter().copied().map(SeatId).collect(), concert).unwrap()
}

/// Requests a booking, and returns whether it is admitted.
fn request(intake: &Intake, booking: &BookingRequest) -> Result<(), NotAdmitted> {
    let booked = intake.count_request(booking);
    intake.check_paused(&booked)?;
    intake.admit(&booked, Instant::now())
}

/// Asks for a booking of no controlled concert, without counting it as requested.
fn admit(intake: &Intake, now: Instant) -> Result<(), NotAdmitted> {
    intake.admit(&BookedConcerts::default(), now)
}

#[tokio::test(start_paused = true)]
async fn an_instance_admits_nothing_until_it_knows_the_controls() {
    let intake = instance(1);
    let now = Instant::now();
    assert_eq!((admit(&intake, now), intake.is_known()), (Err(NotAdmitted::NotKnown), false));
    // An instance of an earlier version knows none.
    intake.on_heartbeat(&heartbeat(2, Published::default()), now);
    assert_eq!(admit(&intake, now), Err(NotAdmitted::NotKnown));
    let paused = Published { controls: Some(controls(4, None)), ..Published::default() };
    intake.on_heartbeat(&heartbeat(2, paused), now);
    assert_eq!((admit(&intake, now), intake.is_paused()), (Err(NotAdmitted::Paused), true));
    let current = intake.current().unwrap();
    assert_eq!((current.change, current.is_stored), (None, false));
    intake.on_stored(stored(4), now);
    assert_eq!(intake.current().unwrap().change, stored(4).change);
    let fresh = instance(3);
    fresh.on_stored(StoredControls::default(), now);
    assert_eq!(admit(&fresh, now), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_instance_obeys_the_newest_controls_in_whatever_order_they_arrive() {
    let intake = instance(1);
    let began = Instant::now();
    advance(STEP).await;
    let newer = Published { controls: Some(controls(6, Some(50))), ..Published::default() };
    let older = Published { controls: Some(controls(4, None)), ..Published::default() };
    intake.on_heartbeat(&heartbeat(2, newer), Instant::now());
    intake.on_heartbeat(&heartbeat(3, older), Instant::now());
    // It was read before the change, and arrives after it.
    intake.on_stored(stored(5), began);
    assert_eq!(revision(&intake), Some(6));
    // The database was restored from a backup.
    advance(STEP).await;
    intake.on_stored(stored(5), Instant::now());
    assert_eq!((revision(&intake), intake.is_paused()), (Some(5), true));
}

#[tokio::test(start_paused = true)]
async fn the_last_known_controls_hold_while_postgres_is_away() {
    let intake = instance(1);
    intake.on_stored(stored(1), Instant::now());
    assert!(intake.current().unwrap().is_stored);
    advance(Duration::from_hours(1)).await;
    assert!(intake.is_paused() && !intake.current().unwrap().is_stored);
}

/// Instances that exchange heartbeats twice a second. Returns how many bookings they admit in the given time, if clients
/// request this many per second from each.
async fn admitted(instances: &[Intake], requests_per_second: &[u64], duration: Duration) -> u64 {
    admitted_of(&[booking(&[1], None)], instances, requests_per_second, duration).await
}

/// The same for other bookings: one for each instance, or one for all.
async fn admitted_of(
    bookings: &[BookingRequest],
    instances: &[Intake],
    requests_per_second: &[u64],
    duration: Duration,
) -> u64 {
    let mut admitted = 0;
    for millis in 0..u64::try_from(duration.as_millis()).unwrap() {
        let now = Instant::now();
        for ((intake, requests), booking) in
            instances.iter().zip(requests_per_second).zip(bookings.iter().cycle())
        {
            let due = (millis + 1) * requests / 1_000 - millis * requests / 1_000;
            for _ in 0..due {
                admitted += u64::from(request(intake, booking).is_ok());
            }
        }
        if millis % 500 == 250 {
            exchange_heartbeats(instances, now);
        }
        advance(STEP).await;
    }
    admitted
}

fn exchange_heartbeats(instances: &[Intake], now: Instant) {
    for sender in instances {
        let published = sender.complete(Published::default());
        sender.on_own_heartbeat(&published, now);
        let heartbeat = Heartbeat {
            process: sender.0.process,
            version: String::new(),
            state: ProcessState::Api(published),
        };
        for receiver in instances {
            receiver.on_heartbeat(&heartbeat, now);
        }
    }
}

/// Instances that have run for a while with this limit, and were asked for nothing.
async fn idle_instances(count: u128, limit: u32) -> Vec<Intake> {
    let instances: Vec<Intake> = (1..=count).map(instance).collect();
    for intake in &instances {
        let stored = StoredControls { controls: of_intake(controls(1, Some(limit))), change: None };
        intake.on_stored(stored, Instant::now());
    }
    admitted(&instances, &vec![0; instances.len()], Duration::from_secs(5)).await;
    instances
}

#[tokio::test(start_paused = true)]
async fn instances_together_admit_what_the_limit_permits_whichever_are_asked() {
    const TEN_SECONDS: Duration = Duration::from_secs(10);
    for requests in [
        &[500, 500][..],
        &[500, 0],
        &[40, 40],
        &[500, 5],
        &[100, 100, 100],
        &[0, 0, 700],
        &[20, 20, 20, 20, 20, 20],
        &[60],
    ] {
        let instances = idle_instances(requests.len() as u128, 50).await;
        let total = admitted(&instances, requests, TEN_SECONDS).await;
        assert!((475..=525).contains(&total), "{total} in the first 10 s of {requests:?}");
        let total = admitted(&instances, requests, TEN_SECONDS).await;
        assert!((490..=510).contains(&total), "{total} in the next 10 s of {requests:?}");
    }
    // Fewer are requested than the limit permits, evenly.
    let instances = idle_instances(2, 50).await;
    assert!(admitted(&instances, &[15, 15], TEN_SECONDS).await >= 297);
}

#[tokio::test(start_paused = true)]
async fn the_limit_holds_while_instances_join_and_die() {
    const TEN_SECONDS: Duration = Duration::from_secs(10);
    let mut instances = idle_instances(2, 50).await;
    admitted(&instances, &[200, 200], TEN_SECONDS).await;
    // It learns the controls from the others.
    instances.push(instance(3));
    let total = admitted(&instances, &[200, 200, 200], TEN_SECONDS).await;
    assert!((475..=525).contains(&total), "{total} while one joins");
    instances.truncate(1);
    let total = admitted(&instances, &[200], TEN_SECONDS).await;
    assert!((400..=510).contains(&total), "{total} while two die");
    let total = admitted(&instances, &[200], TEN_SECONDS).await;
    assert!((490..=510).contains(&total), "{total} of one");
}

#[tokio::test(start_paused = true)]
async fn a_booking_over_the_limit_is_told_how_long_the_demand_would_take() {
    let instances = idle_instances(1, 50).await;
    admitted(&instances, &[500], Duration::from_secs(5)).await;
    let now = Instant::now();
    let refused = (0..100).find_map(|_| admit(&instances[0], now).err()).unwrap();
    let NotAdmitted::Limited { backlog } = refused else { panic!("{refused:?}") };
    assert!((9..=11).contains(&backlog.as_secs()), "{backlog:?}");
}
