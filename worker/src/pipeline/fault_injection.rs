//! Disables safeguards of the pipeline, for tests only: see `hamro_shared::faults`.

use hamro_shared::faults::{Safeguard, is_disabled};
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;

/// Whether batches are acknowledged before they are settled. A second acknowledgement is then without effect.
pub(super) fn acknowledges_early() -> bool {
    is_disabled(Safeguard::CommitBeforeAck)
}

/// Acknowledges a batch that is not settled, if the safeguard is disabled.
pub(super) async fn acknowledge_early(last: &Delivery) -> anyhow::Result<()> {
    if acknowledges_early() {
        last.acker.ack(BasicAckOptions { multiple: true }).await?;
    }
    Ok(())
}
