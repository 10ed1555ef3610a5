//! Logins that Postgres refuses, at the start and later.

use anyhow::Result;
use hamro_e2e::{Deployment, Setup, wait_until};

use super::printed_by_failing;

/// The `DATABASE_URL` of the deployment with this user and password.
fn url_of(deployment: &Deployment, user: &str, password: &str) -> String {
    let variables = deployment.environment(&[]);
    let url = variables.into_iter().find_map(|(name, url)| (name == "DATABASE_URL").then_some(url));
    let url = url.unwrap_or_default();
    let (_, rest) = url.split_once('@').unwrap_or_default();
    format!("postgres://{user}:{password}@{rest}")
}

/// The user of the test's own sessions.
async fn own_user(deployment: &Deployment) -> Result<String> {
    Ok(sqlx::query_scalar("SELECT current_user::text").fetch_one(&deployment.pool).await?)
}

async fn drop_user(deployment: &Deployment, user: &str) -> Result<()> {
    let owner = own_user(deployment).await?;
    let hand_over = format!("REASSIGN OWNED BY {user} TO {owner}; DROP OWNED BY {user}; DROP ROLE {user}");
    deployment.run_as_superuser(hand_over).await
}

#[tokio::test]
async fn a_login_that_is_refused_at_the_start_stops_both_programs_with_the_address_of_the_server()
-> Result<()> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        let missing = deployment.name().to_owned();
        let valid = deployment.environment(&[]).into_iter().find(|(name, _)| name == "DATABASE_URL");
        let missing_database = valid.unwrap_or_default().1.replace(&missing, "hamro_nowhere");
        for (url, reason) in [
            (
                url_of(deployment, "hamro", "wrong-hunter2"),
                "password authentication failed for user \"hamro\"",
            ),
            (missing_database, "database \"hamro_nowhere\" does not exist"),
        ] {
            for program in ["hamro-api", "hamro-worker"] {
                let environment = deployment.environment(&[("DATABASE_URL", &url)]);
                let printed = printed_by_failing(program, &[], &environment).await?;
                let (_, rest) = printed.split_once("the database refuses this process: ").unwrap_or_default();
                assert!(rest.contains("Postgres at 127.0.0.1:") && rest.contains(reason), "{printed}");
                assert!(rest.contains("correct DATABASE_URL"), "{printed}");
                assert!(!printed.contains("hunter2"), "{printed}");
            }
        }
        Ok(())
    })
    .await
}

/// Open sessions go on when new ones are refused.
#[tokio::test]
async fn a_database_whose_open_sessions_work_is_not_reported_as_unavailable() -> Result<()> {
    Deployment::run(Setup { expects_errors: true, ..Setup::without_processes() }, async |deployment| {
        let user = format!("user_{}", deployment.name());
        deployment.run_as_superuser(format!("CREATE ROLE {user} SUPERUSER LOGIN PASSWORD 'first'")).await?;
        let url = url_of(deployment, &user, "first");
        let api = deployment.start_api(&[("DATABASE_URL", &url)]).await?;
        let client = deployment.apis[api].client.clone();
        assert_eq!(client.get("/concerts?limit=1").await?.status, 200);
        // For the lock below: the tables are theirs.
        let own = own_user(deployment).await?;
        deployment.run_as_superuser(format!("GRANT {user} TO {own}")).await?;
        deployment.run_as_superuser(format!("ALTER ROLE {user} PASSWORD 'second'")).await?;

        // Reads occupy the open sessions, until one needs another.
        let mut lock = deployment.pool.begin().await?;
        sqlx::raw_sql("LOCK TABLE concerts").execute(&mut *lock).await?;
        let reading: Vec<_> = (2..20)
            .map(|limit| {
                let (client, path) = (client.clone(), format!("/concerts?limit={limit}"));
                tokio::spawn(async move { client.get(&path).await })
            })
            .collect();
        wait_until("a session is refused", async || {
            let ready = client.get("/health/ready").await?;
            Ok((ready.body["database"] == "unavailable").then_some(()))
        })
        .await?;
        lock.rollback().await?;
        for read in reading {
            read.await??;
        }
        assert_eq!(client.get("/concerts?limit=20").await?.status, 200);
        let ready = client.get("/health/ready").await?;
        assert_eq!((ready.status, &ready.body["database"]), (200, &serde_json::Value::Null), "{ready:?}");

        deployment.stop_apis().await?;
        drop_user(deployment, &user).await
    })
    .await
}

#[tokio::test]
async fn a_password_that_is_changed_later_stops_no_process() -> Result<()> {
    Deployment::run(Setup { expects_errors: true, ..Setup::without_processes() }, async |deployment| {
        let user = format!("user_{}", deployment.name());
        deployment.run_as_superuser(format!("CREATE ROLE {user} SUPERUSER LOGIN PASSWORD 'first'")).await?;
        let url = url_of(deployment, &user, "first");
        let api = deployment.start_api(&[("DATABASE_URL", &url)]).await?;
        deployment.start_worker(&[("DATABASE_URL", &url)]).await?;
        let client = deployment.apis[api].client.clone();
        let seats = client.seat_ids(0).await?;
        assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);

        deployment.run_as_superuser(format!("ALTER ROLE {user} PASSWORD 'second'")).await?;
        let sessions =
            format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'");
        deployment.run_as_superuser(sessions).await?;
        let accepted = client.create_booking("bob", &seats[1..2]).await?;
        assert_eq!(accepted.status, 202);
        wait_until("the api has noticed", async || {
            // A page that is not in the api's memory.
            let concerts = client.get("/concerts?limit=7").await?;
            Ok((concerts.code() == "database-unavailable").then_some(()))
        })
        .await?;
        deployment.workers[0].line_after("password authentication failed").await?;

        deployment.run_as_superuser(format!("ALTER ROLE {user} PASSWORD 'first'")).await?;
        wait_until("the booking is settled", async || {
            let status = client.get(accepted.location()?).await?;
            Ok((status.body["status"] == "confirmed").then_some(()))
        })
        .await?;
        deployment.stop_apis().await?;
        deployment.stop_workers().await?;
        drop_user(deployment, &user).await
    })
    .await
}
