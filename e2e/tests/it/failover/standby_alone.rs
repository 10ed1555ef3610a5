//! A standby given as the only server.

use anyhow::Result;
use hamro_e2e::replicated_postgres::ReplicatedPostgres;
use hamro_e2e::replicated_postgres::Server::{New, Old};
use hamro_e2e::{Deployment, Setup, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_given_as_the_only_server_is_named_and_used_once_it_is_promoted() -> Result<()> {
    let postgres = ReplicatedPostgres::start("failover-alone")?;
    let primary: &'static str = postgres.url_of(Old).to_owned().leak();
    let variables = vec![("DATABASE_URL", primary)];
    Deployment::run(Setup { variables, ..Setup::without_processes() }, async |deployment| {
        postgres.is_caught_up().await?;
        let standby = deployment.database_on(postgres.url_of(New));
        let api = deployment.launch_api(&[("DATABASE_URL", standby.as_str())]).await?;
        let client = deployment.apis[api].client.clone();
        wait_until("the readiness names the standby", async || {
            let response = client.get("/health/ready").await?;
            let detail = response.body["detail"].as_str().unwrap_or_default();
            Ok((detail.contains("127.0.0.1:") && detail.contains("it is a standby")).then_some(()))
        })
        .await?;
        postgres.promote().await?;
        deployment.use_server(postgres.url_of(New))?;
        client.wait_until_ready().await?;
        deployment.start_worker(&[("DATABASE_URL", standby.as_str())]).await?;
        let booked = client.book_seats("Alice", &client.seat_ids(0).await?[..1]).await?;
        assert_eq!(booked.status, 201, "{booked:?}");
        Ok(())
    })
    .await
}
