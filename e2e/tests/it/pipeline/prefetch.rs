//! A worker whose prefetch task fails while its process and its connection live on.

use anyhow::Result;
use hamro_e2e::{Installation, Setup, ledger};

#[tokio::test]
async fn a_prefetch_task_that_panics_is_replaced() -> Result<()> {
    let mut installation = Installation::start(Setup { workers: 0, ..Setup::default() }).await?;
    installation.expects_errors = true;
    let worker = installation.start_worker(&[("HAMRO_FAULTS", "worker.receiving=panic@3")]).await?;
    let client = installation.client().clone();
    let seats = client.seat_ids(0).await?;
    for seat in &seats[..8] {
        let accepted = client.create_booking("alice", &[*seat]).await?;
        assert_eq!(client.final_status(accepted.location()?).await?["status"], "confirmed");
    }
    installation.workers[worker].line_after("the prefetch task panicked").await?;
    assert_eq!(ledger::count(&installation.pool, "sales").await?, 8);
    installation.close().await
}
