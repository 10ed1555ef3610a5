//! Status reads on several instances: what a client may see after it, or somebody else, has seen a final status.
//!
//! # What is modelled
//!
//! One ticket. A worker settles it, or an instance fences it at its deadline and reports that at once. Announcements
//! reach each instance late or never. Each instance has a cache of outcomes, with the product's own rule for evictions
//! ([`is_evicted`]), and a watermark: it begins a look-up, whose response may be slow or never come, and keeps the last
//! one ([`Reading`]). A read is sent and evaluated at any later time, in the order of `api/src/bookings/outcome.rs`:
//! cache, watermark, Postgres. An instance may restart. Time passes in steps of half a second without an end: ages stop
//! at the value after which they make no difference.
//!
//! # What is left out
//!
//! How the ticket is settled ([`settlement`](crate::settlement)), held requests and event streams, which wait for what
//! a read would return, and reads of an unavailable database, which are errors and no status.

mod action;
mod ages;
mod properties;
mod rules;

use std::collections::BTreeSet;
use std::time::Duration;

use hamro_api::outcomes::cache::is_evicted;
use hamro_api::outcomes::watermark::Reading;
use hamro_shared::domain::TicketId;
use stateright::{Model, Property};
use uuid::Uuid;

pub use self::action::Action;
pub use self::properties::*;
pub use self::rules::Rule;
use crate::bookings::{moment, ticket_id};

const STEP: Duration = Duration::from_millis(500);

/// The number of steps that are more than a second.
const OVER_A_SECOND: u8 = 3;

/// The age at which a reading is not used any more.
const USELESS: u8 = 2;

/// The age at which an outcome may be evicted, and how much earlier than in the product that is: fewer ages, fewer
/// states. What holds here holds all the more if outcomes are kept for longer.
const OLDEST: u8 = 5;
const EVICTED_EARLIER: u8 = 6;

/// How far the clock of the instance that issued the ticket is ahead, if it is: beyond the bound of the watermark.
const AHEAD: u8 = 6;

/// The model: how much of it to explore, and without which rules.
#[derive(Clone, Debug)]
pub struct StatusReads {
    pub instances: usize,
    pub restarts: u8,
    /// Whether the ticket was issued by a clock that is three seconds ahead.
    pub is_ticket_ahead: bool,
    pub removed: BTreeSet<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Stops when the ticket is within the bound of a look-up.
    now: u8,
    /// The time since the commit.
    settled: Option<u8>,
    instances: Vec<Instance>,
    read: Option<Read>,
    restarts_left: u8,
    broken: Option<&'static str>,
    has_evicted: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Instance {
    reading: Option<LookUp>,
    looking_up: Option<LookUp>,
    /// The time since the outcome was cached.
    cached: Option<u8>,
    /// The time since this instance first reported the outcome.
    reported: Option<u8>,
    is_suspended: bool,
}

/// A look-up of the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct LookUp {
    age: u8,
    saw_settled: bool,
    /// Whether the ticket is at most its bound.
    covers_ticket: bool,
}

/// A request for the status that has no response yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Read {
    instance: usize,
    /// The guarantee that the response `queued` would break.
    forbidden: Option<&'static str>,
}

impl StatusReads {
    pub fn small() -> Self {
        Self { instances: 2, restarts: 0, is_ticket_ahead: false, removed: BTreeSet::new() }
    }

    #[must_use]
    pub fn without(self, rules: &[Rule]) -> Self {
        Self { removed: rules.iter().copied().collect(), ..self }
    }

    fn has(&self, rule: Rule) -> bool {
        !self.removed.contains(&rule)
    }

    fn ticket(&self) -> TicketId {
        let issued_at = if self.is_ticket_ahead { STEP * u32::from(AHEAD) } else { Duration::ZERO };
        ticket_id(1, moment(0) + issued_at)
    }

    /// Whether the watermark of the instance shows that the ticket is not settled.
    fn proves_unsettled(&self, instance: &Instance) -> bool {
        let Some(look_up) = instance.reading else {
            return false;
        };
        let (none, all) = (TicketId(Uuid::nil()), TicketId(Uuid::max()));
        let is_bounded = self.has(Rule::ReadingsAreBounded) && !look_up.covers_ticket;
        let is_found = look_up.saw_settled && look_up.covers_ticket;
        let reading = Reading {
            largest_settled: if is_found { self.ticket() } else { none },
            bound: if is_bounded { none } else { all },
        };
        let age = if self.has(Rule::ReadingsEnd) { STEP * u32::from(look_up.age) } else { Duration::ZERO };
        reading.proves_unsettled(self.ticket(), age)
    }

    fn is_evictable(&self, cached: u8) -> bool {
        !self.has(Rule::OutcomesAreKept) || is_evicted(STEP * u32::from(cached + EVICTED_EARLIER), usize::MAX)
    }
}

impl State {
    /// The guarantee that the response `queued` to a request that is sent now would break.
    fn forbidden(&self, instance: usize) -> Option<&'static str> {
        let is_over_a_second_ago = |age: Option<u8>| age == Some(OVER_A_SECOND);
        if self.instances[instance].reported.is_some() {
            return Some(AN_INSTANCE_STANDS_BY_ITS_REPORT);
        }
        if self.instances.iter().any(|other| is_over_a_second_ago(other.reported)) {
            return Some(OTHERS_FOLLOW_WITHIN_A_SECOND);
        }
        is_over_a_second_ago(self.settled).then_some(SETTLED_SHOWS_WITHIN_A_SECOND)
    }

    fn respond(&mut self, model: &StatusReads, read: Read) {
        let instance = &mut self.instances[read.instance];
        let is_known = instance.cached.is_some();
        if !is_known && (model.proves_unsettled(instance) || self.settled.is_none()) {
            self.broken = self.broken.or(read.forbidden);
            return;
        }
        if !is_known {
            self.record(model, read.instance);
        }
        self.instances[read.instance].reported.get_or_insert(0);
    }

    /// Caches an outcome that the instance has read from the database, or written.
    fn record(&mut self, model: &StatusReads, instance: usize) {
        if model.has(Rule::ReportedOutcomesAreCached) {
            self.instances[instance].cached.get_or_insert(0);
        }
    }
}

impl Model for StatusReads {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: 0,
            settled: None,
            instances: vec![Instance::default(); self.instances],
            read: None,
            restarts_left: self.restarts,
            broken: None,
            has_evicted: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::HalfSecond);
        if state.settled.is_none() {
            actions.push(Action::Settle);
        }
        if state.read.is_some_and(|read| !state.instances[read.instance].is_suspended) {
            actions.push(Action::Respond);
        }
        for (instance, it) in state.instances.iter().enumerate() {
            if it.is_suspended {
                actions.push(Action::Resume { instance });
                continue;
            }
            if !self.has(Rule::NoMachineIsSuspended) {
                actions.push(Action::Suspend { instance });
            }
            // It makes no difference which instance fences. After a commit, a fence is a read.
            if instance == 0 && state.settled.is_none() {
                actions.push(Action::Fence { instance });
            }
            let may_announce = state.settled.is_some() || !self.has(Rule::AnnounceAfterCommit);
            if may_announce && it.cached.is_none() {
                actions.push(Action::Announce { instance });
            }
            // A reading is not replaced within a quarter of a second.
            if it.looking_up.is_none() && it.reading.is_none_or(|reading| reading.age > 0) {
                actions.push(Action::BeginLookUp { instance });
            }
            if it.looking_up.is_some() {
                actions.push(Action::EndLookUp { instance });
            }
            if state.read.is_none() {
                actions.push(Action::SendRead { instance });
            }
            if it.cached.is_some_and(|cached| self.is_evictable(cached)) {
                actions.push(Action::Evict { instance });
            }
            if state.restarts_left > 0 {
                actions.push(Action::Restart { instance });
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::HalfSecond => state.tick(self),
            Action::Settle => state.settled = Some(0),
            Action::Fence { instance } => {
                state.settled.get_or_insert(0);
                state.record(self, instance);
                state.instances[instance].reported = Some(0);
            }
            Action::Announce { instance } => state.instances[instance].cached = Some(0),
            Action::BeginLookUp { instance } => {
                let bound = Reading::bound_at(moment(0) + STEP * u32::from(state.now));
                let look_up = LookUp {
                    age: 0,
                    saw_settled: state.settled.is_some(),
                    covers_ticket: self.ticket() <= bound,
                };
                state.instances[instance].looking_up = Some(look_up);
            }
            Action::EndLookUp { instance } => {
                let look_up = state.instances[instance].looking_up.take()?;
                let age = if self.has(Rule::AgesCountFromBeginning) { look_up.age } else { 0 };
                state.instances[instance].reading = Some(LookUp { age, ..look_up });
            }
            Action::SendRead { instance } => {
                state.read = Some(Read { instance, forbidden: state.forbidden(instance) });
            }
            Action::Respond => {
                let read = state.read.take()?;
                state.respond(self, read);
            }
            Action::Evict { instance } => {
                state.instances[instance].cached = None;
                state.has_evicted = true;
            }
            Action::Suspend { instance } => state.instances[instance].is_suspended = true,
            Action::Resume { instance } => state.instances[instance].is_suspended = false,
            Action::Restart { instance } => {
                state.restarts_left -= 1;
                let reported = state.instances[instance].reported;
                state.instances[instance] = Instance { reported, ..Instance::default() };
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        Self::checked_properties()
    }
}
