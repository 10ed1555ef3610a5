//! Checks that final statuses do not change, from what clients were told.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use super::{Case, Promise, Story, Violation};
use crate::journal::{Entry, Standing};
use crate::status_read::StatusRead;

impl Case<'_> {
    pub(super) fn final_status_stands(&mut self) {
        for (ticket, story) in &self.tickets {
            let mut finals: BTreeSet<&Standing> = story.finals().map(|(standing, _)| standing).collect();
            if finals.is_empty() {
                continue;
            }
            let stands = self.settled.get(ticket).map(|settled| &settled.standing);
            finals.extend(stands);
            if finals.len() > 1 || stands.is_none() {
                let detail = format!("clients saw {ticket} as {finals:?}; its final state is {stands:?}");
                self.violations.push(Violation { broken: Promise::FinalStatusStands, detail });
            }
        }
    }

    pub(super) fn final_status_is_not_taken_back(&mut self) {
        for (ticket, story) in &self.tickets {
            let unsettled = story.seen.iter().filter(|(standing, _)| !standing.is_final());
            for (standing, read) in unsettled {
                let told = story.finals().find(|(_, earlier)| read.must_be_final_after(earlier));
                if let Some((end, earlier)) = told {
                    let (now, before) = (&standing.status, &end.status);
                    let detail = format!(
                        "{ticket} was {before} by {} (received at {} us), and then {now} by {} (sent at {} us)",
                        earlier.instance, earlier.received, read.instance, read.sent
                    );
                    self.violations.push(Violation { broken: Promise::FinalStatusStands, detail });
                }
            }
        }
    }
}

impl<'a> Story<'a> {
    fn finals(&self) -> impl Iterator<Item = (&'a Standing, &'a StatusRead)> {
        self.seen.iter().copied().filter(|(standing, _)| standing.is_final())
    }
}

/// The number of status reads that had to return a final status, because an earlier read had returned one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// From the instance that had reported the status.
    pub same_instance: usize,
    /// From another instance, more than a second later.
    pub other_instance: usize,
}

/// Counts the status reads to which the guarantee applies. If there are none, it was not tested.
pub fn count_reads(journal: &[Entry]) -> Reads {
    let mut finals: HashMap<Uuid, Vec<&StatusRead>> = HashMap::new();
    for entry in journal {
        if let Entry::Seen { ticket, standing, read } = entry
            && standing.is_final()
        {
            finals.entry(*ticket).or_default().push(read);
        }
    }
    let mut reads = Reads::default();
    for entry in journal {
        let Entry::Seen { ticket, read, .. } = entry else { continue };
        let earlier = finals.get(ticket).into_iter().flatten();
        let mut binding = earlier.filter(|earlier| read.must_be_final_after(earlier)).peekable();
        if binding.peek().is_some() {
            let is_same = binding.any(|earlier| earlier.instance == read.instance);
            *if is_same { &mut reads.same_instance } else { &mut reads.other_instance } += 1;
        }
    }
    reads
}
