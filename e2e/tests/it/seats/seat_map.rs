//! Seat maps as documents: `/seats/concert/{id}`.

use anyhow::Result;
use hamro_e2e::{Deployment, Setup, wait_until};
use hyper::Method;
use serde_json::json;

#[tokio::test]
async fn seat_map_queries_use_at_most_two_database_sessions() -> Result<()> {
    let variables = vec![("DATABASE_CONNECTIONS", "4")];
    Deployment::run(Setup { variables, ..Setup::default() }, async |deployment| {
        let client = deployment.client().clone();
        let (concert, _) = client.seat_map(0).await?;
        let mut holder = deployment.pool.begin().await?;
        sqlx::raw_sql("LOCK TABLE seats IN ACCESS EXCLUSIVE MODE").execute(&mut *holder).await?;
        let path = format!("/seats/concert/{concert}");
        let maps = (0..12).map(|_| {
            tokio::spawn({
                let (client, path) = (client.clone(), path.clone());
                async move { client.get(&path).await }
            })
        });
        let maps: Vec<_> = maps.collect();
        wait_until("two seat maps are being read", async || {
            let waiting: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity \
                 WHERE datname = current_database() AND wait_event_type = 'Lock' \
                 AND application_name LIKE 'hamro-api%'",
            )
            .fetch_one(&deployment.pool)
            .await?;
            assert!(waiting <= 2, "{waiting} seat maps are being read");
            Ok((waiting == 2).then_some(()))
        })
        .await?;
        // The other requests for seat maps wait without a session.
        let created = client.write(Method::POST, "/ticket-types", &json!({"name": "Balcony"})).await?;
        assert_eq!(created.status, 201, "{created:?}");
        assert_eq!(client.get("/concerts").await?.status, 200);
        holder.rollback().await?;
        for map in maps {
            let map = map.await??;
            assert_eq!(map.status, 200, "{map:?}");
        }
        Ok(())
    })
    .await
}
