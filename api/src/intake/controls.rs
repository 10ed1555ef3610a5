//! What operators have decided: about the intake of the whole installation, and about single concerts.

use std::fmt;
use std::num::NonZeroU32;

use hamro_shared::queue::{ConcertControls, IntakeControls};
use serde::Serialize;

/// All controls of one revision. By default, bookings are accepted without a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Controls {
    #[serde(flatten)]
    pub intake: IntakeControls,
    /// Of the concerts that have any, one for each, in the order of their ids.
    pub concerts: Vec<ConcertControls>,
}

impl Controls {
    /// `concerts` may be in any order, as after a change by hand. Of several controls of one concert, the first count.
    pub fn new(intake: IntakeControls, mut concerts: Vec<ConcertControls>) -> Self {
        concerts.sort_by_key(|concert| concert.concert_id);
        concerts.dedup_by_key(|concert| concert.concert_id);
        Self { intake, concerts }
    }

    /// The same, but with `changed` for its concert.
    #[must_use]
    pub fn with_concert(mut self, changed: ConcertControls) -> Self {
        self.concerts.retain(|concert| concert.concert_id != changed.concert_id);
        if !changed.is_none() {
            let place = self.concerts.partition_point(|concert| concert.concert_id < changed.concert_id);
            self.concerts.insert(place, changed);
        }
        self
    }
}

/// `open without a limit, with controls of 2 concerts`
impl fmt::Display for Controls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IntakeControls { intake_paused, accept_per_second, .. } = self.intake;
        f.write_str(&describe(intake_paused, accept_per_second))?;
        match self.concerts.len() {
            0 => Ok(()),
            1 => write!(f, ", with controls of one concert"),
            number => write!(f, ", with controls of {number} concerts"),
        }
    }
}

/// `paused with a limit of 50 bookings per second`
pub fn describe(is_paused: bool, limit: Option<NonZeroU32>) -> String {
    let state = if is_paused { "paused" } else { "open" };
    match limit {
        Some(limit) => format!("{state} with a limit of {limit} bookings per second"),
        None => format!("{state} without a limit"),
    }
}

#[cfg(test)]
mod tests {
    use hamro_shared::domain::ConcertId;
    use uuid::Uuid;

    use super::*;

    fn concert(id: u128, paused: bool, limit: u32) -> ConcertControls {
        ConcertControls {
            concert_id: ConcertId(Uuid::from_u128(id)),
            paused,
            accept_per_second: NonZeroU32::new(limit),
        }
    }

    #[test]
    fn a_change_of_a_concert_replaces_its_controls_and_keeps_the_order_and_the_others() {
        let controls = [concert(5, true, 0), concert(2, false, 9), concert(7, true, 0)]
            .into_iter()
            .fold(Controls::default(), Controls::with_concert);
        assert_eq!(controls.concerts, [concert(2, false, 9), concert(5, true, 0), concert(7, true, 0)]);
        let controls = controls.with_concert(concert(5, true, 3)).with_concert(concert(2, false, 0));
        assert_eq!(controls.concerts, [concert(5, true, 3), concert(7, true, 0)]);
        assert_eq!(controls.clone().with_concert(concert(4, false, 0)), controls);
    }

    #[test]
    fn controls_that_were_changed_by_hand_are_put_in_order() {
        let concerts = vec![concert(5, true, 0), concert(2, false, 9), concert(5, false, 7)];
        let controls = Controls::new(IntakeControls::default(), concerts);
        assert_eq!(controls.concerts, [concert(2, false, 9), concert(5, true, 0)]);
    }

    #[test]
    fn controls_are_described_in_words() {
        let mut controls = Controls::default();
        assert_eq!(controls.to_string(), "open without a limit");
        controls.intake.accept_per_second = NonZeroU32::new(50);
        controls = controls.with_concert(concert(1, true, 0));
        let text = "open with a limit of 50 bookings per second, with controls of one concert";
        assert_eq!(controls.to_string(), text);
    }
}
