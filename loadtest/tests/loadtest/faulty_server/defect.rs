//! What can be wrong with the faulty server.

use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    None,
    /// The tenth booking gets a seat that is already sold.
    SellsASeatTwice,
    /// Sells a seat once to every run, even if another run has bought it.
    SellsToEachRun,
    /// The tenth ticket never becomes final.
    LosesATicket,
    /// The tenth ticket is unknown after it was accepted.
    ForgetsATicket,
    /// The tenth ticket is reported as confirmed, and then as rejected.
    ChangesItsMind,
    /// The tenth ticket is reported as confirmed, and then as queued.
    TakesItBack,
    /// The event stream of the tenth ticket sends `queued` after the final event.
    StreamTakesItBack,
    /// The second instance reports `queued` for this long after the first has reported a final status.
    LagsBehind(Duration),
    /// The tenth booking gets a different seat than requested.
    GivesAnotherSeat,
    /// The tenth booking is rejected although its seat is free.
    RefusesAFreeSeat,
    /// The tenth booking is refused without a ticket, as if an accepted booking had already bought its seat. The seat is
    /// never sold.
    RefusesOnAcceptance,
    /// A retry of a sold booking is refused without a ticket, because of its own seat.
    RefusesItsOwnKey,
    /// Rejections do not name the taken seats.
    NamesNoSeat,
    /// Rejections name a seat that was not requested.
    NamesAnotherSeat,
    /// A retry is sold again.
    ForgetsKeys,
    /// The tenth ticket has the id of the ninth.
    HandsOutATicketTwice,
    /// The seat map shows a sold seat as free.
    HidesASale,
    /// The seat map shows a free seat as sold.
    InventsASale,
    /// A tier counts one sale too few.
    Miscounts,
    /// Delays responses from the tenth request on, until this many requests have arrived.
    StallsUntil(u64),
    /// Refuses the script of the booking page from the tenth request on.
    RefusesPages,
    /// The script of the booking page is not in the encoding that its head names.
    CorruptsPages,
    /// Has no seat layouts.
    HasNoLayouts,
    /// Never responds from the tenth request on.
    FallsSilent,
}
