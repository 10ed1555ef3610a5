//! What an api instance knows about the seats, how it learns it, and the rule by which it refuses.

use super::{
    ATTEMPTS, Action, Attempt, EarlyRejection, Id, Ids, LEASE, Rule, Seat, State, contains, has_same_key, key,
};

/// An api instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Instance {
    pub view: Option<View>,
    /// When the last comparison that found the view's numbers began, by the instance's own clock.
    pub lease: Option<u8>,
    /// A comparison whose response is on its way: when it began, and what it read.
    pub comparing: Option<(u8, u8, u8)>,
    /// Its database session has ended, and it does not know yet.
    pub session_is_dead: bool,
    /// How far the clock that measures ages is behind, because it stood still.
    pub behind: u8,
    pub is_suspended: bool,
}

/// What an instance knows about the seats.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct View {
    pub epoch: u8,
    /// `None` until it is read, if it is not read together with the seats.
    pub freed_version: Option<u8>,
    pub marks: Vec<Mark>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    pub sold_to: Option<Id>,
    /// Whether the digest of that attempt's key was readable.
    pub is_digest_known: bool,
    pub released: Ids,
    /// The same for those of the released sales.
    pub is_history_known: bool,
}

impl Mark {
    fn is_of(self, attempt: Id) -> bool {
        self.sold_to == Some(attempt) && self.is_digest_known
    }

    /// Whether no sale of this seat can be the attempt's own, or that of another attempt under its key. One such seat is
    /// enough: a sale of its own would have been a sale of all its seats.
    fn was_never_sold_to(self, model: &EarlyRejection, attempt: Id) -> bool {
        let is_own = |id: Id| has_same_key(id, attempt);
        let is_own_now = if self.is_digest_known {
            self.sold_to.is_some_and(is_own)
        } else {
            model.has(Rule::UnknownDigestsMatch)
        };
        let was_own = if self.is_history_known {
            (0..ATTEMPTS).any(|id| contains(self.released, id) && is_own(id))
        } else {
            self.released != 0
        };
        !(is_own_now || was_own && model.has(Rule::ReleasedSalesCount))
    }
}

impl State {
    /// The rule of early rejection: whether the instance may refuse the attempt.
    pub(super) fn may_refuse(&self, model: &EarlyRejection, instance: &Instance, attempt: Id) -> bool {
        let Some(view) = &instance.view else {
            return false;
        };
        let age = |began| self.now - instance.behind - began;
        let has_lease = match instance.lease {
            Some(began) => age(began) <= LEASE || !model.has(Rule::LeaseEnds),
            None => !model.has(Rule::LeaseNeedsComparison),
        };
        let is_sold_to_another = |seat: &u8| {
            let mark = view.marks[usize::from(*seat)];
            let ignores_keys = key(attempt).is_none() || !model.has(Rule::KeyedAttemptsNeedDigests);
            mark.sold_to.is_some() && (ignores_keys || mark.was_never_sold_to(model, attempt))
        };
        has_lease && model.seats_of(attempt).iter().any(is_sold_to_another)
    }

    /// Marks the seats of an attempt as sold to it.
    pub(super) fn mark(&mut self, model: &EarlyRejection, instance: usize, attempt: Id) {
        if let Some(view) = &mut self.instances[instance].view {
            for seat in model.seats_of(attempt) {
                let mark = &mut view.marks[usize::from(seat)];
                *mark = Mark { sold_to: Some(attempt), is_digest_known: true, ..*mark };
            }
        }
    }

    pub(super) fn view(&self, model: &EarlyRejection, digests_known: bool) -> View {
        let mark = |seat: &Seat| Mark {
            sold_to: seat.sold_to,
            is_digest_known: digests_known,
            released: seat.released,
            is_history_known: digests_known,
        };
        View {
            epoch: self.epoch,
            freed_version: model.has(Rule::SeatsAreReadWithTheirVersion).then_some(self.freed_version),
            marks: self.seats.iter().map(mark).collect(),
        }
    }

    /// Drops what no longer makes a difference, so that fewer states differ.
    pub(super) fn forget_the_past(&mut self, model: &EarlyRejection) {
        let now = self.now;
        for instance in &mut self.instances {
            let behind = instance.behind;
            let is_over = |began: u8| now - behind - began > LEASE;
            if model.has(Rule::LeaseEnds) && instance.lease.is_some_and(is_over) {
                instance.lease = None;
            }
            if model.has(Rule::LeaseCountsFromBeginning)
                && instance.comparing.is_some_and(|(began, ..)| is_over(began))
            {
                instance.comparing = None;
            }
        }
        let queued_before = |moment| {
            let is_older = |attempt: &Attempt| matches!(attempt, Attempt::Queued { issued_at, .. } if *issued_at < moment);
            self.attempts.iter().any(is_older)
        };
        let is_past: Vec<bool> =
            self.seats.iter().map(|seat| seat.free_from <= now && !queued_before(seat.free_from)).collect();
        for (seat, is_past) in self.seats.iter_mut().zip(is_past) {
            if is_past {
                seat.free_from = 0;
            }
        }
    }
}

impl EarlyRejection {
    pub(super) fn instance_actions(&self, state: &State, instance: usize, actions: &mut Vec<Action>) {
        let it = &state.instances[instance];
        if it.is_suspended {
            actions.push(Action::Resume { instance });
            return;
        }
        if !self.has(Rule::AgesCountSuspensions) && it.behind == 0 && it.lease.is_some() {
            actions.push(Action::Suspend { instance });
        }

        if it.session_is_dead {
            actions.push(Action::Reconnect { instance });
            return;
        }
        if it.view.as_ref().is_some_and(|view| view.freed_version.is_none()) {
            actions.push(Action::ReadVersion { instance });
            return;
        }
        if it.view.as_ref() != Some(&state.view(self, true)) {
            actions.push(Action::Load { instance, digests_known: true });
        }
        if it.view.is_none() {
            actions.push(Action::Load { instance, digests_known: false });
        }
        if it.comparing.is_some() {
            actions.push(Action::EndComparison { instance });
        } else if it.view.is_some() && it.lease != Some(state.now - it.behind) {
            actions.push(Action::BeginComparison { instance });
        }
    }

    pub(super) fn instance_step(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Load { instance, digests_known } => {
                let view = state.view(self, digests_known);
                let instance = &mut state.instances[instance];
                instance.view = Some(view);
                instance.lease = None;
            }
            Action::ReadVersion { instance } => {
                let version = state.freed_version;
                state.instances[instance].view.as_mut()?.freed_version = Some(version);
            }
            Action::BeginComparison { instance } => {
                let read = (state.epoch, state.freed_version);
                let instance = &mut state.instances[instance];
                instance.comparing = Some((state.now - instance.behind, read.0, read.1));
            }
            Action::EndComparison { instance } => {
                let instance = &mut state.instances[instance];
                let (began, epoch, version) = instance.comparing.take()?;
                let view = instance.view.as_ref()?;
                let is_same = (view.epoch == epoch || !self.has(Rule::EpochsAreCompared))
                    && (view.freed_version == Some(version) || !self.has(Rule::VersionsAreCompared));
                let ended = state.now - instance.behind;
                let counts_from = if self.has(Rule::LeaseCountsFromBeginning) { began } else { ended };
                instance.lease = is_same.then_some(counts_from);
            }
            Action::Reconnect { instance } => {
                let instance = &mut state.instances[instance];
                instance.session_is_dead = false;
                instance.comparing = None;
                if self.has(Rule::NewSessionsEndLeases) {
                    instance.view = None;
                    instance.lease = None;
                }
            }
            Action::Suspend { instance } => state.instances[instance].is_suspended = true,
            Action::Resume { instance } => state.instances[instance].is_suspended = false,
            _ => return None,
        }
        Some(())
    }

    /// Whether the instance marks the seats of a sale when it is announced. Announcements that change nothing are no
    /// steps of the model. They may be late, lost and repeated.
    pub(super) fn may_apply(&self, state: &State, attempt: Id, instance: usize) -> bool {
        let instance = &state.instances[instance];
        match (&instance.view, state.attempts[attempt]) {
            (Some(view), Attempt::Sold { epoch, freed_version, .. }) if !instance.is_suspended => {
                let is_current = (view.epoch, view.freed_version) == (epoch, Some(freed_version));
                let seats = self.seats_of(attempt);
                (is_current || !self.has(Rule::AnnouncementsNameTheVersion))
                    && seats.iter().any(|seat| !view.marks[usize::from(*seat)].is_of(attempt))
            }
            _ => false,
        }
    }
}
