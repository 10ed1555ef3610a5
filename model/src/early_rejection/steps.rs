//! The states that the checker visits: the first, what can happen in each, and which one follows.

use stateright::{Model, Property};

use super::instances::{Digest, Instance};
use super::{
    ATTEMPTS, Action, Attempt, EarlyRejection, NEVER, Release, Rule, Seat, SeatsVersion, State, Unfinished,
};

impl Model for EarlyRejection {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: 0,
            version: SeatsVersion::default(),
            seats: vec![Seat::default(); usize::from(self.seats)],
            attempts: [Attempt::NotSent; ATTEMPTS],
            instances: vec![Instance::default(); self.instances],
            release: None,
            unfinished: None,
            releases_left: self.releases,
            restores_left: self.restores,
            failovers_left: self.failovers,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.now < self.end {
            actions.push(Action::Tick);
        }
        for attempt in 0..ATTEMPTS {
            self.attempt_actions(state, attempt, actions);
        }
        if state.release.is_some() {
            actions.push(Action::CommitRelease);
        }
        if let Some(Unfinished { is_abandoned }) = state.unfinished {
            if !is_abandoned || self.has(Rule::OthersFinishReleases) {
                actions.push(Action::FinishRelease);
            }
            if !is_abandoned {
                actions.push(Action::AbandonRelease);
            }
        }
        if state.restores_left > 0 && state.release.is_none() {
            actions.push(Action::Restore);
        }
        // It takes longer than a lease to notice that the primary is lost.
        let has_lease = state.instances.iter().any(|instance| instance.lease.is_some());
        if state.failovers_left > 0 && state.release.is_none() && !has_lease {
            actions.push(Action::FailOver);
        }
        for instance in 0..self.instances {
            self.instance_actions(state, instance, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Tick => {
                state.now += 1;
                for instance in &mut state.instances {
                    instance.behind += u8::from(instance.is_suspended);
                }
                state.forget_the_past(self);
            }
            Action::Send { attempt } => state.attempts[attempt] = Attempt::Sent { at: state.now },
            Action::Queue { attempt, clock_error } => {
                let sent_at = match state.attempts[attempt] {
                    Attempt::Sent { at } => at,
                    _ => state.now,
                };
                state.attempts[attempt] = Attempt::Queued { sent_at, issued_at: state.now + clock_error };
                if !self.has(Rule::OnlyCommittedSalesMark) {
                    state.mark(self, 0, attempt, Digest::Known);
                }
            }
            Action::Refuse { attempt, .. } => {
                state.attempts[attempt] = Attempt::Refused(state.refusal(self, attempt));
            }
            Action::Settle { attempt } => {
                if let Attempt::Queued { sent_at, issued_at } = state.attempts[attempt] {
                    state.settle(self, attempt, sent_at, issued_at);
                }
            }
            Action::Reissue { attempt } => {
                if let Attempt::Queued { issued_at, .. } = &mut state.attempts[attempt] {
                    *issued_at = state.now;
                }
            }
            Action::Announce { attempt, instance, is_later_version } => {
                let digest = if !is_later_version {
                    Digest::Known
                } else if self.has(Rule::DigestsNameTheirVersion) {
                    Digest::Unknown
                } else {
                    Digest::Mistaken
                };
                state.mark(self, instance, attempt, digest);
            }
            Action::BeginRelease { attempt, only_first } => {
                state.releases_left -= 1;
                if self.has(Rule::FreeFromCountsFromCommit) {
                    state.release(self, Release { attempt, only_first, free_from: NEVER });
                    state.unfinished = Some(Unfinished { is_abandoned: false });
                } else {
                    let free_from = state.now + self.free_after();
                    state.release = Some(Release { attempt, only_first, free_from });
                }
            }
            Action::FinishRelease => {
                state.unfinished = None;
                state.finish_release(self);
            }
            Action::AbandonRelease => state.unfinished = Some(Unfinished { is_abandoned: true }),
            Action::CommitRelease => {
                let release = state.release.take()?;
                state.release(self, release);
            }
            Action::Restore => {
                state.restores_left -= 1;
                state.restore(self);
            }
            Action::FailOver => {
                state.failovers_left -= 1;
                state.fail_over(self);
            }
            action => self.instance_step(&mut state, action)?,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        self.checked_properties()
    }
}
