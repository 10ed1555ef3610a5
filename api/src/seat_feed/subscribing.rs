//! The event streams of clients that watch a seat map.

use std::sync::Arc;

use futures_util::stream::{self, Stream};
use hamro_shared::domain::ConcertId;
use tokio::sync::broadcast::error::RecvError;

use super::SeatFeed;
use super::error::SeatFeedError;
use super::events::SeatsEvent;
use super::seat_map_state::Subscription;
use super::watched_seat_map::OpenStream;

impl SeatFeed {
    /// The events of a concert's seats, starting after `last_event_id`, or with a snapshot.
    pub async fn subscribe(
        &self,
        concert: ConcertId,
        last_event_id: Option<&str>,
    ) -> Result<impl Stream<Item = Arc<SeatsEvent>> + use<>, SeatFeedError> {
        let stream = self.watch(concert).await?.open_stream();
        let subscription = stream.seat_map.subscribe(last_event_id).ok_or(SeatFeedError::ConcertNotFound)?;
        Ok(stream::unfold((stream, subscription), next_event))
    }
}

type Subscriber = (OpenStream, Subscription);

async fn next_event((stream, mut subscription): Subscriber) -> Option<(Arc<SeatsEvent>, Subscriber)> {
    let event = match subscription.first.take().or_else(|| subscription.catalogue.take()) {
        Some(first) => first,
        None => match subscription.events.recv().await {
            Ok(event) => event,
            // The client is slow and has missed events: it gets a new snapshot.
            Err(RecvError::Lagged(_)) => {
                subscription = stream.seat_map.subscribe(None)?;
                subscription.first.take()?
            }
            Err(RecvError::Closed) => return None,
        },
    };
    Some((event, (stream, subscription)))
}
