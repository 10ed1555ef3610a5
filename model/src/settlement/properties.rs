//! What settlement guarantees, and the situations that the model must reach.

use stateright::{Model, Property};

use super::{Id, Outcome, Place, Reason, Settlement, State};

pub const NO_SEAT_IS_SOLD_TWICE: &str = "no seat is in two live sales";
pub const ONE_FINAL_STATUS: &str = "every ticket has at most one outcome";
pub const ONE_OUTCOME_PER_KEY: &str = "all attempts under a key share one outcome";
pub const NO_RETRY_IS_REFUSED_BY_ITS_OWN_SALE: &str = "no retry is refused because its first try was sold";
pub const NO_RETRY_DIFFERS_FROM_ITS_SALE: &str =
    "no retry of a sale has another outcome, even after its release";
pub const SEATS_ARE_MARKED: &str = "a seat is marked as sold exactly if it is in a live sale";
pub const RELEASED_SEATS_GO_TO_LATER_TICKETS: &str = "released seats are sold only to later tickets";
pub const NO_FREE_SEAT_IS_REFUSED: &str = "no free seat is refused";
pub const ACKNOWLEDGED_MEANS_COMMITTED: &str = "a booking whose messages are all acknowledged is settled";
pub const EVERY_TICKET_ENDS: &str = "every ticket ends, and nothing stays locked or queued";
pub const NO_ENDLESS_RETRY: &str = "no batch is rolled back again and again";
pub const NO_DEADLOCK: &str = "no transactions deadlock";

impl Settlement {
    pub(super) fn checked_properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(NO_SEAT_IS_SOLD_TWICE, |_, state: &State| {
                state.database.sales.iter().all(|sales| sales.len() <= 1)
            }),
            Property::always(ONE_FINAL_STATUS, |_, state: &State| {
                state.database.rows.iter().all(|rows| rows.len() <= 1)
            }),
            Property::always(ONE_OUTCOME_PER_KEY, |model: &Self, state: &State| {
                let holders: Vec<Id> =
                    outcomes(state).filter(|(_, outcome)| outcome.holds_key()).map(|(id, _)| id).collect();
                let shares_holders =
                    |one: &Id| holders.iter().all(|two| one == two || !model.has_same_key(*one, *two));
                holders.iter().all(shares_holders)
            }),
            Property::always(NO_RETRY_IS_REFUSED_BY_ITS_OWN_SALE, |model: &Self, state: &State| {
                refusals(state)
                    .all(|(ticket, by)| (0..7).all(|id| by & 1 << id == 0 || !model.has_same_key(id, ticket)))
            }),
            Property::always(NO_RETRY_DIFFERS_FROM_ITS_SALE, |model: &Self, state: &State| {
                let is_sale = |outcome| matches!(outcome, Outcome::Sold | Outcome::SoldWithoutKey);
                outcomes(state).filter(|(_, outcome)| is_sale(*outcome)).all(|(sale, _)| {
                    outcomes(state).all(|(retry, outcome)| {
                        let is_other_request = outcome == Outcome::Rejected(Reason::KeyReused);
                        let shares = outcome == Outcome::SharedWith(sale) || is_other_request;
                        retry == sale || !model.has_same_key(sale, retry) || shares
                    })
                })
            }),
            Property::always(SEATS_ARE_MARKED, |_, state: &State| {
                let database = &state.database;
                (0_u8..)
                    .zip(&database.sales)
                    .all(|(seat, sales)| (database.marked & 1 << seat != 0) != sales.is_empty())
            }),
            Property::always(RELEASED_SEATS_GO_TO_LATER_TICKETS, |model: &Self, state: &State| {
                let released = |seat: u8| state.database.released & 1 << seat != 0;
                (0_u8..)
                    .zip(&state.database.sales)
                    .filter(|(seat, _)| released(*seat))
                    .all(|(_, sales)| sales.iter().all(|ticket| model.requests[usize::from(*ticket)].is_late))
            }),
            Property::always(NO_FREE_SEAT_IS_REFUSED, |_, state: &State| {
                refusals(state).all(|(ticket, by)| by & !(1 << ticket) != 0)
            }),
            Property::always(ACKNOWLEDGED_MEANS_COMMITTED, |model: &Self, state: &State| {
                let is_queued = |ticket: Id| {
                    let of_ticket = |message: &&super::Message| message.ticket == ticket;
                    state
                        .messages
                        .iter()
                        .filter(of_ticket)
                        .any(|message| message.place != Place::Acknowledged)
                };
                (0..).zip(&model.requests).all(|(id, _)| is_queued(id) || state.database.is_settled(id))
            }),
            Property::always(EVERY_TICKET_ENDS, |model: &Self, state: &State| {
                let mut actions = Vec::new();
                model.actions(state, &mut actions);
                !actions.is_empty() || has_ended(state)
            }),
            Property::always(NO_ENDLESS_RETRY, |_, state: &State| {
                !state.workers.iter().flatten().any(super::Flight::is_endless)
            }),
            Property::sometimes("a seat is sold", |_, state: &State| {
                outcomes(state).any(|(_, outcome)| outcome == Outcome::Sold)
            }),
        ];
        if self.requests.iter().all(|request| request.seats.iter().all(|seat| *seat < self.seats)) {
            properties.push(Property::always(NO_DEADLOCK, |model: &Self, state: &State| {
                !state.has_deadlock(model)
            }));
        }
        properties.extend(self.situations());
        properties
    }

    /// What must be reachable, depending on the bounds.
    fn situations(&self) -> Vec<Property<Self>> {
        let mut situations = Vec::new();
        let mut reaches = |is_expected: bool, name: &'static str, condition: fn(&Self, &State) -> bool| {
            if is_expected {
                situations.push(Property::sometimes(name, condition));
            }
        };
        let has_redelivery = self.crashes + self.duplicates > 0;
        reaches(has_redelivery, "a settled booking is delivered again", |_, state| {
            state.seen.redelivered_after_commit && has_ended(state)
        });
        reaches(self.in_flight > 1, "a worker has two batches in flight", |_, state| {
            state.seen.two_in_flight
        });
        reaches(self.crashes > 0, "a transaction commits after its worker died", |_, state| {
            state.seen.orphan_committed
        });
        // A booking of seats that do not exist holds no key.
        let exist = |request: &super::Request| request.seats.iter().all(|seat| *seat < self.seats);
        let has_retry = (0..)
            .zip(&self.requests)
            .any(|(id, request)| exist(request) && (0..id).any(|first| self.has_same_key(first, id)));
        reaches(has_retry, "a retry shares an outcome or finds its key used", |_, state| {
            let is_retry =
                |outcome| matches!(outcome, Outcome::SharedWith(_) | Outcome::Rejected(Reason::KeyReused));
            outcomes(state).any(|(_, outcome)| is_retry(outcome))
        });
        reaches(self.releases > 0, "a released seat is sold again", |_, state| {
            state.database.released & state.database.marked != 0
        });
        reaches(self.releases > 1, "two releases run at the same time", |_, state| state.releases.len() > 1);
        reaches(has_retry && self.releases > 0, "a retry shares a released sale", |_, state| {
            let shares = |outcome| matches!(outcome, Outcome::SharedWith(sale) if state.database.live_seats(sale) == 0);
            outcomes(state).any(|(_, outcome)| shares(outcome))
        });
        reaches(self.seats < 4, "a booking is rejected", |_, state| {
            outcomes(state).any(|(_, outcome)| matches!(outcome, Outcome::Rejected(_)))
        });
        situations
    }
}

fn outcomes(state: &State) -> impl Iterator<Item = (Id, Outcome)> {
    (0..).zip(&state.database.rows).flat_map(|(id, rows)| rows.iter().map(move |outcome| (id, *outcome)))
}

/// The tickets that were rejected because of their seats, each with the tickets that had them.
fn refusals(state: &State) -> impl Iterator<Item = (Id, u8)> {
    outcomes(state).filter_map(|(id, outcome)| match outcome {
        Outcome::Rejected(Reason::Taken { by }) => Some((id, by)),
        _ => None,
    })
}

fn has_ended(state: &State) -> bool {
    state.database.rows.iter().all(|rows| !rows.is_empty())
        && state.messages.iter().all(|message| message.place == Place::Acknowledged)
        && state.workers.iter().all(Vec::is_empty)
        && state.orphans.is_empty()
        && state.releases.is_empty()
}
