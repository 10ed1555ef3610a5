//! A worker that receives no more, although its process lives and its connection stands.

use anyhow::Result;
use hamro_e2e::{Installation, Setup, ledger};

#[tokio::test]
async fn a_receiving_task_that_panics_is_noticed_and_replaced_and_no_booking_waits() -> Result<()> {
    let mut installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    installation.expects_errors = true;
    let worker = installation.start_worker(&[("HAMRO_FAULTS", "worker.receiving=panic@3")]).await?;
    let client = installation.client().clone();
    let seats = client.seat_ids(0).await?;
    for seat in &seats[..8] {
        let taken = client.create_booking("alice", &[*seat]).await?;
        assert_eq!(client.final_status(taken.location()?).await?["status"], "confirmed");
    }
    installation.workers[worker].line_after("the prefetch task panicked").await?;
    assert_eq!(ledger::count(&installation.pool, "sales").await?, 8);
    installation.close().await
}
