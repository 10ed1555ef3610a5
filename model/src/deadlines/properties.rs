//! What deadlines guarantee, and the situations that the model must reach.

use stateright::{Model, Property};

use super::{CORRECTED, Deadlines, Issued, Message, Outcome, Row, State};

pub const A_REPORTED_STATUS_STANDS: &str = "a reported final status is the stored one";
pub const NO_SEAT_IS_SOLD_TWICE: &str = "the seat is sold once";
pub const NOTHING_IS_SOLD_LATE: &str = "nothing is sold past its deadline";
pub const NOTHING_EXPIRES_EARLY: &str = "no ticket expires before its deadline";
pub const AN_EXPIRED_TRY_CAN_BE_RETRIED: &str = "a retry of an expired ticket is a new attempt";
pub const EVERY_TICKET_ENDS: &str = "every ticket ends, and no message stays";

impl Deadlines {
    pub(super) fn checked_properties() -> Vec<Property<Self>> {
        vec![
            Property::always(A_REPORTED_STATUS_STANDS, |_, state: &State| {
                let stored = state.rows.iter().map(|row| row.map(|row| row.outcome));
                state
                    .reported
                    .iter()
                    .zip(stored)
                    .all(|(reported, stored)| reported.is_none() || *reported == stored)
            }),
            Property::always(NO_SEAT_IS_SOLD_TWICE, |_, state: &State| {
                state.rows.iter().flatten().filter(|row| row.outcome == Outcome::Sold).count() <= 1
            }),
            Property::always(NOTHING_IS_SOLD_LATE, |_, state: &State| {
                let is_in_time = |issued: Issued, row: Row| row.decided_at <= issued.deadline + CORRECTED;
                rows(state).all(|(issued, row)| row.outcome != Outcome::Sold || is_in_time(issued, row))
            }),
            Property::always(NOTHING_EXPIRES_EARLY, |_, state: &State| {
                let is_due = |issued: Issued, row: Row| row.decided_at + CORRECTED > issued.deadline;
                rows(state).all(|(issued, row)| row.outcome != Outcome::Expired || is_due(issued, row))
            }),
            Property::always(AN_EXPIRED_TRY_CAN_BE_RETRIED, |_, state: &State| {
                rows(state).all(|(_, row)| row.outcome != Outcome::Shared { expired: true })
            }),
            Property::always(EVERY_TICKET_ENDS, |model: &Self, state: &State| {
                let mut actions = Vec::new();
                model.actions(state, &mut actions);
                !actions.is_empty() || has_ended(state)
            }),
            Property::sometimes("a ticket is sold", |_, state: &State| {
                rows(state).any(|(_, row)| row.outcome == Outcome::Sold)
            }),
            Property::sometimes("a worker expires a ticket", |_, state: &State| {
                rows(state).any(|(_, row)| row.outcome == Outcome::Expired && !row.is_fence)
            }),
            Property::sometimes(
                "an instance fences a ticket that was never in the queue",
                |_, state: &State| {
                    rows(state).any(|(issued, row)| row.is_fence && issued.message == Message::NotStored)
                },
            ),
            Property::sometimes("a worker that wants to sell meets a fence", |_, state: &State| {
                state.has_met_fence
            }),
            Property::sometimes("a retry is sold after its first try expired", |_, state: &State| {
                let outcomes = state.rows.map(|row| row.map(|row| row.outcome));
                outcomes == [Some(Outcome::Expired), Some(Outcome::Sold)]
            }),
            Property::sometimes("a retry shares a sale", |_, state: &State| {
                rows(state).any(|(_, row)| row.outcome == Outcome::Shared { expired: false })
            }),
        ]
    }
}

/// The settled tickets.
fn rows(state: &State) -> impl Iterator<Item = (Issued, Row)> {
    state.tickets.iter().zip(&state.rows).filter_map(|(issued, row)| Some(((*issued)?, (*row)?)))
}

fn has_ended(state: &State) -> bool {
    let is_open = |message| matches!(message, Message::Ready | Message::Delivered | Message::Dropped);
    let mut tickets = state.tickets.iter().zip(&state.rows);
    let has_ended = |(issued, row): (&Option<Issued>, &Option<Row>)| {
        issued.is_none_or(|issued| row.is_some() && !is_open(issued.message))
    };
    tickets.all(has_ended) && state.open().next().is_none()
}
