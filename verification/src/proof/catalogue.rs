//! Compares the responses with the seat map and the tiers.

use std::collections::{HashMap, HashSet};

use anyhow::Result;

use super::responses::sold_seats;
use super::{Proof, RunFacts};
use crate::catalogue::{Seat, Tier, seat_map, tiers};
use crate::http::Client;
use crate::invariant::{Invariant, Violations};
use crate::journal::{Concert, Header};
use crate::run_log::RunLog;

/// A remark on what was not checked.
pub(super) const OTHER_BUYERS: &str =
    "other buyers may have bought seats of these concerts: additional sold seats were not checked";

/// Adds differences to the proof. If the catalogue cannot be read, the proof fails.
pub(super) async fn compare(
    proof: &mut Proof,
    run_log: &RunLog,
    header: &Header,
    client: &Client,
    facts: &RunFacts,
) {
    if let Err(error) = compare_all(proof, run_log, header, client, facts).await {
        proof.violations.add(Invariant::SeatMapAgrees, format!("the catalogue cannot be read: {error:#}"));
    }
}

async fn compare_all(
    proof: &mut Proof,
    run_log: &RunLog,
    header: &Header,
    client: &Client,
    facts: &RunFacts,
) -> Result<()> {
    let (mut sold, mut may_be_sold) = {
        let request_log = run_log.request_log();
        let ambiguous = request_log.requests.iter().filter(|request| request.may_have_effect());
        let may_be_sold: HashSet<i32> =
            ambiguous.flat_map(|request| &request.intent.seats).copied().collect();
        (sold_seats(&request_log, facts, &mut Violations::default()), may_be_sold)
    };
    // The database knows whether they were sold again.
    for seat in &facts.released_seats {
        sold.remove(seat);
        may_be_sold.insert(*seat);
    }
    // Otherwise buyers that are not in this journal may have bought seats.
    let is_exclusive = header.is_exclusive && run_log.request_log().is_complete;
    if !is_exclusive {
        proof.remarks.push(OTHER_BUYERS.to_owned());
    }
    for concert in &header.concerts {
        let seats = seat_map(client, concert.id).await?;
        compare_map(proof, concert, &seats, &sold, |seat| !is_exclusive || may_be_sold.contains(&seat));
        let tiers = tiers(client, concert.id).await?;
        compare_tiers(proof, &seats, &tiers, is_exclusive);
    }
    Ok(())
}

/// `may_be_sold` returns whether a seat without a known owner may be sold.
fn compare_map(
    proof: &mut Proof,
    concert: &Concert,
    seats: &[Seat],
    sold: &HashMap<i32, i64>,
    may_be_sold: impl Fn(i32) -> bool,
) {
    let before: HashSet<i32> = concert.sold_before.iter().copied().collect();
    for seat in seats {
        let id = seat.id;
        match (sold.get(&id), seat.is_booked) {
            (Some(sale), false) => {
                let what = format!("seat {id} is in booking {sale}, but the seat map shows it as free");
                proof.violations.add(Invariant::SeatMapAgrees, what);
            }
            (Some(sale), true) if before.contains(&id) => {
                let what = format!("seat {id} is in booking {sale}, but was sold before the run");
                proof.violations.add(Invariant::NoSeatSoldTwice, what);
            }
            (None, true) if !before.contains(&id) && !may_be_sold(id) => {
                let what = format!("the seat map shows seat {id} as sold, but no response confirmed it");
                proof.violations.add(Invariant::SeatMapAgrees, what);
            }
            _ => {}
        }
    }
}

pub(super) fn compare_tiers(proof: &mut Proof, seats: &[Seat], tiers: &[Tier], is_quiet: bool) {
    for tier in tiers {
        let of_tier = || seats.iter().filter(|seat| seat.ticket_tier_id == tier.id);
        let sold = of_tier().filter(|seat| seat.is_booked).count();
        let (total, gone) = (of_tier().count(), tier.total - tier.available);
        let agrees = usize::try_from(tier.total) == Ok(total) && usize::try_from(gone) == Ok(sold);
        // Other buyers may have bought a seat between the two responses.
        if !agrees && is_quiet {
            let what = format!(
                "tier {} counts {gone} of {} seats as sold, but the seat map shows {sold} of {total}",
                tier.id, tier.total
            );
            proof.violations.add(Invariant::TiersAgree, what);
        }
    }
}
