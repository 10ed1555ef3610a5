//! What a client may rely on, and the situations that the model must reach.

use stateright::Property;

use super::{State, StatusReads};

pub const AN_INSTANCE_STANDS_BY_ITS_REPORT: &str =
    "an instance that has reported a final status keeps reporting it";
pub const OTHERS_FOLLOW_WITHIN_A_SECOND: &str =
    "other instances report it to every request sent more than a second later";
pub const SETTLED_SHOWS_WITHIN_A_SECOND: &str =
    "every request sent more than a second after the commit receives the outcome";
pub const A_FINAL_STATUS_IS_COMMITTED: &str = "a reported final status is committed";

impl StatusReads {
    pub(super) fn checked_properties() -> Vec<Property<Self>> {
        vec![
            Property::always(AN_INSTANCE_STANDS_BY_ITS_REPORT, |_, state: &State| {
                state.broken != Some(AN_INSTANCE_STANDS_BY_ITS_REPORT)
            }),
            Property::always(OTHERS_FOLLOW_WITHIN_A_SECOND, |_, state: &State| {
                state.broken != Some(OTHERS_FOLLOW_WITHIN_A_SECOND)
            }),
            Property::always(SETTLED_SHOWS_WITHIN_A_SECOND, |_, state: &State| {
                state.broken != Some(SETTLED_SHOWS_WITHIN_A_SECOND)
            }),
            Property::always(A_FINAL_STATUS_IS_COMMITTED, |_, state: &State| {
                state.settled.is_some() || state.instances.iter().all(|instance| instance.reported.is_none())
            }),
            Property::sometimes("a reported outcome is evicted", |_, state: &State| {
                state.has_evicted && state.instances[0].reported.is_some()
            }),
            Property::sometimes(
                "an instance is behind another for a while",
                |model: &Self, state: &State| {
                    state.instances[0].reported.is_some()
                        && state.instances[1..].iter().any(|other| model.proves_unsettled(other))
                },
            ),
        ]
    }
}
