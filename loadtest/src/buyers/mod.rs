//! The behaviour of buyers in each scenario.

mod live_map;
mod opening;
mod polls;
mod replay;
mod seat_choice;

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;

use live_map::LiveMap;
use polls::IssuedTickets;
pub use seat_choice::SeatChoice;

use crate::run_context::RunContext;
use crate::scenario::Scenario;

/// What the buyers of a run do, and the state that they share.
pub struct Workload {
    seat_choice: SeatChoice,
    live_map: Arc<LiveMap>,
    issued: IssuedTickets,
}

impl Workload {
    /// `seats` are the free seats that buyers can book.
    pub fn new(seat_choice: SeatChoice, seats: &[i32]) -> Self {
        let seats = if seat_choice.scenario.chooses_from_the_map() { seats } else { &[] };
        Self { live_map: Arc::new(LiveMap::new(seats)), seat_choice, issued: IssuedTickets::default() }
    }

    /// Prepares what the scenario needs before the first buyer arrives.
    pub async fn prepare(&self, context: &Arc<RunContext>) -> Result<()> {
        match self.seat_choice.scenario {
            Scenario::LiveMap | Scenario::Opening => live_map::subscribe(context, &self.live_map).await,
            Scenario::Polls => self.book_first_ticket(context).await,
            _ => Ok(()),
        }
    }

    /// Runs the buyer with this number, who is due at this moment.
    pub async fn run_buyer(&self, context: &Arc<RunContext>, number: u64, due: Instant) {
        match self.seat_choice.scenario {
            Scenario::Rush | Scenario::Spread | Scenario::HotSeat | Scenario::Soak => {
                let intent = self.seat_choice.of(number, &context.seat_pool);
                context.book_and_follow(number, intent, due).await;
            }
            Scenario::LiveMap => self.choose_and_book(context, number, due).await,
            Scenario::Opening => self.open_and_book(context, number, due).await,
            Scenario::Polls => self.book_or_poll(context, number, due).await,
            Scenario::Replay => self.book_repeatedly(context, number, due).await,
        }
    }
}
