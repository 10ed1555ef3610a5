//! The exchange through which workers announce outcomes.

use anyhow::Result;
use hamro_shared::domain::{Outcome, SettledTicket};
use hamro_shared::queue::{Heartbeat, ProcessState, SettledEvent, WorkerState};
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ExchangeDeleteOptions};
use uuid::Uuid;

use super::{Deployment, envelope};

impl Deployment {
    /// Makes all announcements fail from here on, by deleting their exchange.
    pub async fn lose_announcements(&mut self) -> Result<()> {
        // The workers log the missing exchange repeatedly.
        self.expects_errors = true;
        let options = ExchangeDeleteOptions::default();
        Ok(self.channel.exchange_delete(self.topology.settled_exchange().into(), options).await?)
    }

    /// Sends the heartbeat of a worker that reads envelopes up to this version. It is running until it is `stopped`.
    pub async fn send_worker_heartbeat(
        &self,
        process: Uuid,
        envelope_version: u16,
        stopped: bool,
    ) -> Result<()> {
        let state = ProcessState::Worker(WorkerState { envelope_version, stopped, ..WorkerState::default() });
        let heartbeat = Heartbeat { process, version: "0.1.0".to_owned(), state };
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let exchange = self.topology.heartbeats_exchange().into();
        self.channel
            .basic_publish(exchange, "".into(), options, &heartbeat.encode(), properties)
            .await?
            .await?;
        Ok(())
    }

    /// Announces the outcome of a ticket that was issued just now and that no client has.
    pub async fn announce_another(&self) -> Result<()> {
        let ticket = envelope("nobody", &[1])?.ticket.id;
        let another =
            SettledTicket { ticket_id: ticket, settled_at: ticket.issued_at(), outcome: Outcome::Expired };
        let message = SettledEvent { tickets: vec![another], bookings: 1, parcels: 1, sales: vec![] };
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let exchange = self.topology.settled_exchange().into();
        self.channel
            .basic_publish(exchange, "".into(), options, &message.encode(), properties)
            .await?
            .await?;
        Ok(())
    }
}
