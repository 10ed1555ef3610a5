//! Visitors who open the page as a browser does. Some of them book, and choose again if another buyer was faster.
//!
//! All buyers choose from one map, which an event stream of the load generator keeps current. To decode the map that
//! each page receives would measure the load generator.

use std::sync::Arc;
use std::time::Instant;

use rand::RngExt;
use rand::rngs::StdRng;

use super::Workload;
use super::live_map::{ATTEMPTS, think, try_once};
use crate::run_context::RunContext;
use crate::visits::{OpenPage, Visits};
use hamro_verification::contract::BookingIntent;

impl Workload {
    pub(super) async fn open_and_book(&self, context: &Arc<RunContext>, number: u64, due: Instant) {
        let Some(visits) = &context.visits else { return };
        let mut rng = context.rng(number);
        let is_warm = rng.random_bool(visits.arguments.warm_share);
        let books = rng.random_bool(visits.arguments.book_share);
        context.metrics.begin_visit(due);
        let page = visits.open_page(number, is_warm, || due.elapsed()).await;
        context.metrics.end_visit(page.is_some());
        let Some(page) = page else { return };
        let page = Arc::new(page);
        if visits.arguments.streams {
            tokio::spawn(watch(context.clone(), page.clone()));
        }
        if books {
            self.choose_from_page(context, visits, number, page, &mut rng).await;
        }
    }

    async fn choose_from_page(
        &self,
        context: &RunContext,
        visits: &Visits,
        number: u64,
        page: Arc<OpenPage>,
        rng: &mut StdRng,
    ) {
        let group_size = self.seat_choice.group_size(rng);
        let mut shown = page.as_ref().clone();
        for attempt in 0..ATTEMPTS {
            think(rng).await;
            let seats = self.live_map.choose(group_size, rng);
            if seats.is_empty() {
                return;
            }
            let key = self.seat_choice.keys.then_some(attempt);
            let intent = BookingIntent { buyer: number, seats, key };
            if try_once(context, intent, Instant::now()).await != Some(true) {
                return;
            }
            // A page without events requests the map again.
            if !visits.arguments.streams && !visits.reload_map(&mut shown).await {
                return;
            }
        }
    }
}

/// Keeps the event stream open until the visitor leaves or the run ends.
async fn watch(context: Arc<RunContext>, page: Arc<OpenPage>) {
    if let Some(visits) = &context.visits {
        context.give_up.run_until_cancelled(visits.watch(&page)).await;
    }
}
