//! Compares what clients were told with the seat map and the tiers.

use std::collections::{HashMap, HashSet};

use anyhow::Result;

use super::Proof;
use super::rules::sold_seats;
use crate::books::Books;
use crate::concert::{Seat, Tier, seat_map, tiers};
use crate::http::Client;
use crate::journal::{Concert, Header};
use crate::violation::{Rule, Violations};

/// Adds differences to the proof. If the catalogue cannot be read, the proof fails.
pub(super) async fn compare(proof: &mut Proof, books: &Books, header: &Header, client: &Client) {
    if let Err(error) = compare_all(proof, books, header, client).await {
        proof.violations.add(Rule::MapAgrees, format!("the catalogue cannot be read: {error:#}"));
    }
}

async fn compare_all(proof: &mut Proof, books: &Books, header: &Header, client: &Client) -> Result<()> {
    let (sold, in_doubt) = {
        let ledger = books.ledger();
        let doubtful = ledger.requests.iter().filter(|request| request.is_doubtful && request.end.is_none());
        let in_doubt: HashSet<i32> = doubtful.flat_map(|request| &request.wish.seats).copied().collect();
        (sold_seats(&ledger, &mut Violations::default()), in_doubt)
    };
    // Otherwise buyers that are not in this journal may have bought seats.
    let is_whole = header.own && books.ledger().is_complete;
    if !is_whole {
        proof.remarks.push(
            "other buyers may have bought seats of these concerts: additional sold seats were not checked"
                .to_owned(),
        );
    }
    let tiers = tiers(client).await?;
    for concert in &header.concerts {
        let seats = seat_map(client, concert.id).await?;
        compare_map(proof, concert, &seats, &sold, |seat| !is_whole || in_doubt.contains(&seat));
        let tiers: Vec<&Tier> = tiers.iter().filter(|tier| tier.concert_id == concert.id).collect();
        compare_tiers(proof, &seats, &tiers, is_whole);
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
                proof.violations.add(Rule::MapAgrees, what);
            }
            (Some(sale), true) if before.contains(&id) => {
                let what = format!("seat {id} is in booking {sale}, but was sold before the run");
                proof.violations.add(Rule::NoSeatTwice, what);
            }
            (None, true) if !before.contains(&id) && !may_be_sold(id) => {
                let what = format!("the seat map shows seat {id} as sold, but no client was told so");
                proof.violations.add(Rule::MapAgrees, what);
            }
            _ => {}
        }
    }
}

fn compare_tiers(proof: &mut Proof, seats: &[Seat], tiers: &[&Tier], is_quiet: bool) {
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
            proof.violations.add(Rule::TiersAgree, what);
        }
    }
}
