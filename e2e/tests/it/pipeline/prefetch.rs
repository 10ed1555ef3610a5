//! A worker whose prefetch task fails while its process and its connection live on.

use anyhow::Result;
use hamro_e2e::{Deployment, Setup, tables};

#[tokio::test]
async fn a_prefetch_task_that_panics_is_replaced() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        deployment.expects_errors = true;
        let worker = deployment.start_worker(&[("HAMRO_FAULTS", "worker.receiving=panic@3")]).await?;
        let client = deployment.client().clone();
        let seats = client.seat_ids(0).await?;
        for seat in &seats[..8] {
            let accepted = client.create_booking("alice", &[*seat]).await?;
            assert_eq!(client.final_status(accepted.location()?).await?["status"], "confirmed");
        }
        deployment.workers[worker].line_after("the prefetch task panicked").await?;
        assert_eq!(tables::count(&deployment.pool, "sales").await?, 8);
        Ok(())
    })
    .await
}
