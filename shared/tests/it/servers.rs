//! Several hosts in `DATABASE_URL`, of which one is a usable server.

use std::net::TcpListener;
use std::time::Duration;

use hamro_shared::config::Env;
use hamro_shared::database::{DatabaseConfig, Sessions};
use sqlx::ConnectOptions;
use sqlx::postgres::PgPool;
use tokio::time::Instant;

/// How long opening a session may take, with all hosts.
const LIMIT: Duration = Duration::from_secs(3);

/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(2);

/// Sessions on the server of the pool, whose address is replaced by `addresses`, in which SERVER stands for it.
fn sessions(pool: &PgPool, addresses: &str) -> Sessions {
    let options = pool.connect_options();
    let server = format!("{}:{}", options.get_host(), options.get_port());
    let url = options.to_url_lossy().to_string();
    let url = url.replace(&server, &addresses.replace("SERVER", &server));
    let mut env = Env::of(&[("DATABASE_URL", &url)]);
    let config = DatabaseConfig::read(&mut env);
    env.finish(config).unwrap().sessions("tested", &[])
}

/// A host that takes connections and never responds, and one that refuses them.
fn unusable_hosts() -> (TcpListener, String) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let addresses = format!("{},{refusing}", silent.local_addr().unwrap());
    (silent, addresses)
}

#[sqlx::test]
async fn a_host_that_does_not_respond_hardly_delays_a_session_on_another(pool: PgPool) {
    let (_silent, unusable) = unusable_hosts();
    let sessions = sessions(&pool, &format!("{unusable},SERVER"));
    for _ in 0..3 {
        let started = Instant::now();
        let mut session = sessions.open().await.unwrap();
        let one: i32 = sqlx::query_scalar("SELECT 1").fetch_one(&mut session.connection).await.unwrap();
        assert_eq!(one, 1);
        assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
    }
}

#[sqlx::test]
async fn every_host_that_cannot_be_used_is_named_with_its_reason_within_the_time_limit(pool: PgPool) {
    let (_silent, unusable) = unusable_hosts();
    let started = Instant::now();
    let error = sessions(&pool, &unusable).open().await.err().unwrap().to_string();
    assert!(started.elapsed() < LIMIT + SLACK, "{:?}", started.elapsed());
    for address in unusable.split(',') {
        assert!(error.contains(&format!("Postgres at {address}: ")), "{error}");
    }
    assert!(error.contains("timed out") && error.contains("refused"), "{error}");
}

#[sqlx::test]
async fn a_server_with_two_names_is_used(pool: PgPool) {
    let sessions = sessions(&pool, "SERVER,SERVER");
    assert!(sessions.open().await.is_ok());
}
