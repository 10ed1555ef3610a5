//! What early rejection must not break, and the situations that the model must reach.

use stateright::{Model, Property};

use super::{ATTEMPTS, Attempt, EarlyRejection, LEASE, Refusal, State};

pub const NO_FREE_SEAT_IS_REFUSED: &str = "no free seat is refused";
pub const NO_RETRY_IS_REFUSED_BY_ITS_OWN_SALE: &str = "no retry is refused because its first try was sold";
pub const ONE_OUTCOME_PER_KEY: &str = "no retry is refused after its first try was sold";
pub const NO_SALE_AFTER_A_REFUSAL: &str = "no first try is sold after its retry was refused";
pub const EVERY_TICKET_ENDS: &str = "every ticket ends";
pub const EVERY_RELEASED_SEAT_BECOMES_FREE: &str = "every released seat becomes free";

impl EarlyRejection {
    pub(super) fn checked_properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always(NO_FREE_SEAT_IS_REFUSED, |_, state: &State| {
                !refusals(state).any(|refusal| refusal.seats_were_free)
                    && !state.attempts.contains(&Attempt::Rejected { wrongly: true })
            }),
            Property::always(NO_RETRY_IS_REFUSED_BY_ITS_OWN_SALE, |_, state: &State| {
                !refusals(state).any(|refusal| refusal.by_own_sale)
            }),
            Property::always(ONE_OUTCOME_PER_KEY, |_, state: &State| {
                !refusals(state).any(|refusal| refusal.after_own_sale)
            }),
            Property::always(NO_SALE_AFTER_A_REFUSAL, |_, state: &State| {
                !state
                    .attempts
                    .iter()
                    .any(|attempt| matches!(attempt, Attempt::Sold { after_refusal: true, .. }))
            }),
            Property::always(EVERY_TICKET_ENDS, |model: &Self, state: &State| {
                state.now < model.end || !is_terminal(model, state) || !has_queued(state)
            }),
            Property::always(EVERY_RELEASED_SEAT_BECOMES_FREE, |model: &Self, state: &State| {
                state.unfinished.is_none() || !is_terminal(model, state)
            }),
            Property::sometimes("a booking without a key is refused early", |_, state: &State| {
                matches!(state.attempts[ATTEMPTS - 1], Attempt::Refused(_))
            }),
            Property::sometimes("a booking with a key is refused early", |_, state: &State| {
                matches!(state.attempts[0], Attempt::Refused(_))
            }),
            Property::sometimes("a retry shares a sale", |_, state: &State| {
                state.attempts.contains(&Attempt::Shared { sold: true })
            }),
            Property::sometimes("a worker rejects a booking", |_, state: &State| {
                state.attempts.contains(&Attempt::Rejected { wrongly: false })
            }),
        ];
        if self.releases > 0 {
            properties.push(Property::sometimes("a released seat is sold again", |_, state: &State| {
                state.seats.iter().any(|seat| seat.released != 0 && seat.sold_to.is_some())
            }));
            properties.push(Property::sometimes("an early refusal follows a release", |_, state: &State| {
                state.version.freed_version > 0 && refusals(state).any(|refusal| refusal.at > LEASE)
            }));
        }
        if self.restores > 0 {
            properties.push(Property::sometimes("an early refusal follows a restore", |_, state: &State| {
                state.version.epoch > 0 && refusals(state).next().is_some() && !has_lost(state)
            }));
        }
        if self.failovers > 0 {
            properties
                .push(Property::sometimes("an early refusal follows a failover", |_, state: &State| {
                    state.version.timeline > 0 && refusals(state).next().is_some()
                }));
        }
        properties
    }
}

fn refusals(state: &State) -> impl Iterator<Item = &Refusal> {
    state.attempts.iter().filter_map(|attempt| match attempt {
        Attempt::Refused(refusal) => Some(refusal),
        _ => None,
    })
}

fn has_lost(state: &State) -> bool {
    state.attempts.iter().any(|attempt| matches!(attempt, Attempt::Lost { .. }))
}

fn has_queued(state: &State) -> bool {
    state.attempts.iter().any(|attempt| matches!(attempt, Attempt::Queued { .. }))
}

fn is_terminal(model: &EarlyRejection, state: &State) -> bool {
    let mut actions = Vec::new();
    model.actions(state, &mut actions);
    actions.is_empty()
}
