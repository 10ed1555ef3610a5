//! What an api instance knows about the seats, how it learns it, and the rule by which it refuses.

use std::time::Duration;

use hamro_api::early_rejection::rule::{self, SoldSeat};
use hamro_shared::domain::{KeyDigest, SaleKey};
use hamro_shared::epoch::History;
use uuid::Uuid;

use super::{
    ATTEMPTS, Action, Attempt, EarlyRejection, Id, Ids, LEASE, Rule, Seat, SeatsVersion, State, contains, key,
};

/// An api instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Instance {
    pub view: Option<View>,
    /// When the last comparison that found the view's version began, by the instance's own clock.
    pub lease: Option<u8>,
    /// A comparison whose response is on its way: when it began, and what it read.
    pub comparing: Option<(u8, SeatsVersion)>,
    /// Its database session has ended, and it does not know yet.
    pub session_is_dead: bool,
    /// How far the clock that measures ages is behind, because it stood still.
    pub behind: u8,
    pub is_suspended: bool,
}

/// What an instance knows about the seats.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct View {
    pub version: SeatsVersion,
    /// `false` until `freed_version` is read, if it is not read together with the seats.
    pub has_freed_version: bool,
    pub marks: Vec<Mark>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    pub sold_to: Option<Id>,
    pub digest: Digest,
    pub released: Ids,
    /// Whether the digests of the keys of the released sales were readable.
    pub is_history_known: bool,
}

/// What an instance knows of the key of a sale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Digest {
    #[default]
    Unknown,
    Known,
    /// It is of a later version, and taken for one of its own, so it seems to be of another key.
    Mistaken,
}

/// The digest of the key that the first try and its retry share.
const OWN: KeyDigest = KeyDigest(1);
const ANOTHER: KeyDigest = KeyDigest(2);

impl Mark {
    fn is_of(self, attempt: Id) -> bool {
        self.sold_to == Some(attempt) && self.digest == Digest::Known
    }

    /// The key of the sale that has the seat, as the instance knows it.
    fn live(self, model: &EarlyRejection, sold_to: Id) -> SaleKey {
        match self.digest {
            Digest::Known => sale_key(sold_to),
            Digest::Mistaken => SaleKey::Digest(ANOTHER),
            Digest::Unknown if model.has(Rule::UnknownDigestsMatch) => SaleKey::Unknown,
            Digest::Unknown => SaleKey::None,
        }
    }

    /// The keys of the sales that were released.
    fn released(self, model: &EarlyRejection) -> Vec<SaleKey> {
        let sales = (0..ATTEMPTS).filter(|id| contains(self.released, *id));
        let key = |id| if self.is_history_known { sale_key(id) } else { SaleKey::Unknown };
        sales.filter(|_| model.has(Rule::ReleasedSalesCount)).map(key).collect()
    }
}

fn sale_key(attempt: Id) -> SaleKey {
    key(attempt).map_or(SaleKey::None, |_| SaleKey::Digest(OWN))
}

/// The version as the product has it.
fn product_version(version: SeatsVersion) -> rule::SeatsVersion {
    let epoch = Uuid::from_u128(version.epoch.into());
    let history = History { epoch, timeline: version.timeline.into() };
    rule::SeatsVersion { history, freed_version: version.freed_version.into() }
}

/// A time of an instance's clock. Two moments of the model that are one step apart may be less than a second apart.
fn time(step: u8) -> Duration {
    const { assert!(LEASE == 1, "the lease is one step") };
    rule::LEASE.mul_f64(0.6) * u32::from(step)
}

impl State {
    /// Whether the instance may refuse the attempt, by the product's rule.
    pub(super) fn may_refuse(&self, model: &EarlyRejection, instance: &Instance, attempt: Id) -> bool {
        let Some(view) = &instance.view else {
            return false;
        };
        let has_lease = match instance.lease {
            Some(began) if model.has(Rule::LeaseEnds) => {
                rule::has_lease(Some(time(began)), time(self.now - instance.behind))
            }
            Some(_) => true,
            None => !model.has(Rule::LeaseNeedsComparison),
        };
        let has_key = key(attempt).is_some() && model.has(Rule::KeyedAttemptsNeedDigests);
        let keys = if has_key { vec![OWN] } else { vec![] };
        let marks = model.seats_of(attempt).into_iter().map(|seat| view.marks[usize::from(seat)]);
        let sold: Vec<(SaleKey, Vec<SaleKey>)> =
            marks.filter_map(|mark| Some((mark.live(model, mark.sold_to?), mark.released(model)))).collect();
        let sold: Vec<SoldSeat<'_>> =
            sold.iter().map(|(live, released)| SoldSeat { live: *live, released }).collect();
        has_lease && rule::may_reject(&keys, &sold)
    }

    /// Marks the seats of an attempt as sold to it.
    pub(super) fn mark(&mut self, model: &EarlyRejection, instance: usize, attempt: Id, digest: Digest) {
        if let Some(view) = &mut self.instances[instance].view {
            for seat in model.seats_of(attempt) {
                let mark = &mut view.marks[usize::from(seat)];
                *mark = Mark { sold_to: Some(attempt), digest, ..*mark };
            }
        }
    }

    pub(super) fn view(&self, model: &EarlyRejection, digests_known: bool) -> View {
        let digest = if digests_known { Digest::Known } else { Digest::Unknown };
        let mark = |seat: &Seat| Mark {
            sold_to: seat.sold_to,
            digest,
            released: seat.released,
            is_history_known: digests_known,
        };
        View {
            version: self.version,
            has_freed_version: model.has(Rule::SeatsAreReadWithTheirVersion),
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
                && instance.comparing.is_some_and(|(began, _)| is_over(began))
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
        if it.view.as_ref().is_some_and(|view| !view.has_freed_version) {
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
                let freed_version = state.version.freed_version;
                let view = state.instances[instance].view.as_mut()?;
                view.version.freed_version = freed_version;
                view.has_freed_version = true;
            }
            Action::BeginComparison { instance } => {
                let read = state.version;
                let instance = &mut state.instances[instance];
                instance.comparing = Some((state.now - instance.behind, read));
            }
            Action::EndComparison { instance } => {
                let instance = &mut state.instances[instance];
                let (began, read) = instance.comparing.take()?;
                let view = instance.view.as_ref()?;
                let is_same =
                    view.has_freed_version && self.applies(read, view.version, Rule::VersionsAreCompared);
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

    /// Whether a version that was read or announced is that of a view, without what the removed rules compare. `versions` is the
    /// rule that compares versions.
    fn applies(&self, version: SeatsVersion, known: SeatsVersion, versions: Rule) -> bool {
        let compared = SeatsVersion {
            epoch: if self.has(Rule::EpochsAreCompared) { version.epoch } else { known.epoch },
            timeline: if self.has(Rule::TimelinesAreCompared) { version.timeline } else { known.timeline },
            freed_version: if self.has(versions) { version.freed_version } else { known.freed_version },
        };
        rule::applies(product_version(compared), product_version(known))
    }

    /// Whether the instance marks the seats of a sale when it is announced. Announcements that change nothing are no
    /// steps of the model. They may be late, lost and repeated.
    pub(super) fn may_apply(&self, state: &State, attempt: Id, instance: usize) -> bool {
        let instance = &state.instances[instance];
        let (Attempt::Sold { version, .. } | Attempt::Lost { sale: Some(version) }) = state.attempts[attempt]
        else {
            return false;
        };
        match &instance.view {
            Some(view) if !instance.is_suspended => {
                let seats = self.seats_of(attempt);
                view.has_freed_version
                    && self.applies(version, view.version, Rule::AnnouncementsNameTheVersion)
                    && seats.iter().any(|seat| !view.marks[usize::from(*seat)].is_of(attempt))
            }
            _ => false,
        }
    }
}
