//! Hears from the workers what has been settled, on a connection of its own: while the broker blocks publishers,
//! outcomes still come in.

use anyhow::bail;
use futures_util::StreamExt;
use hamro_shared::queue::{Session, SettledMessage, Topology};
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Outcomes;

pub struct Listener {
    topology: Topology,
    outcomes: Outcomes,
}

impl Listener {
    pub fn new(topology: Topology, outcomes: Outcomes) -> Self {
        Self { topology, outcomes }
    }
}

impl Session for Listener {
    const ROLE: &'static str = "listening";

    async fn run(
        &mut self,
        _: &Connection,
        channel: &Channel,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let queue = self.topology.listen_to_settled(channel).await?;
        // Hints need no acknowledgement: what is lost is looked up.
        let options = BasicConsumeOptions { no_ack: true, exclusive: true, ..BasicConsumeOptions::default() };
        let mut messages =
            channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = stop.cancelled() => return Ok(()),
            };
            let Some(message) = message else { bail!("the queue of outcomes has gone") };
            match SettledMessage::decode(&message?.data) {
                Ok(settled) => self.outcomes.announce(settled.tickets),
                Err(error) => warn!("cannot read what a worker announced: {error}"),
            }
        }
    }
}
