//! How the processes start and stop.

use anyhow::Result;
use futures_util::future::try_join;
use hamro_e2e::process::Process;
use hamro_e2e::{Deployment, Setup, tables, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;

#[tokio::test]
async fn a_missing_or_invalid_setting_stops_the_process_with_its_name() -> Result<()> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        for (program, setting, value) in [
            ("hamro-api", "DATABASE_URL", ""),
            ("hamro-api", "AMQP_URL", "amqp//nowhere"),
            ("hamro-api", "TICKET_KEYS", "secret"),
            ("hamro-api", "PORT", "http"),
            ("hamro-api", "BOOKING_WAIT", "soon"),
            ("hamro-worker", "DATABASE_URL", "sqlite:memory"),
            ("hamro-worker", "AMQP_URL", ""),
            ("hamro-worker", "BATCH_MAX", "0"),
            ("hamro-worker", "HAMRO_FAULTS", "worker.nowhere=kill@1"),
            ("hamro-api", "HAMRO_FAULTS", "api.after-confirm"),
        ] {
            let mut process =
                Process::start(program, program, &[], &deployment.environment(&[(setting, value)]))?;
            assert!(!process.ended().await?.success(), "{program} started with {setting}={value:?}");
            let message = process.line_after(&format!("{setting} is ")).await?;
            assert!(message.contains("it should be"), "{message}");
            assert!(!process.printed().contains("secret"), "{}", process.printed());
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_port_in_use_stops_the_api_with_instructions() -> Result<()> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port().to_string();
        let mut api = Process::start("api", "hamro-api", &[], &deployment.environment(&[("PORT", &port)]))?;
        assert!(!api.ended().await?.success());
        api.line_after("set HOST and PORT to an address that is free").await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_commands_migrate_seed_and_print_the_openapi_document() -> Result<()> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        for command in ["migrate", "migrate", "seed", "seed"] {
            let mut process = Process::start(command, "hamro-api", &[command], &deployment.environment(&[]))?;
            assert!(process.ended().await?.success(), "{command}: {}", process.printed());
        }
        assert_eq!(tables::count(&deployment.pool, "concerts").await?, 3);
        assert_eq!(tables::count(&deployment.pool, "seats").await?, 300);
        let mut process = Process::start("openapi", "hamro-api", &["openapi"], &[])?;
        assert!(process.ended().await?.success());
        let document: Value =
            wait_until("the document is read", async || Ok(serde_json::from_str(&process.printed()).ok()))
                .await?;
        assert_eq!(document["openapi"], "3.1.0");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_stopping_api_answers_requests_in_flight() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let client = deployment.client().clone();
        let in_flight = tokio::spawn(async move { client.book_seats("alice", &seats[..1]).await });
        wait_until("the booking is in the queue", async || {
            Ok((deployment.waiting_messages().await? > 0).then_some(()))
        })
        .await?;

        deployment.apis[0].process.signal(Signal::SIGTERM)?;
        deployment.apis[0].process.line_after("SIGTERM received: finishing work in progress").await?;
        wait_until("it accepts no more connections", async || {
            Ok(deployment.client().get("/health/live").await.is_err().then_some(()))
        })
        .await?;
        deployment.start_worker(&[]).await?;
        assert_eq!(in_flight.await??.status, 201);
        let mut api = deployment.apis.remove(0).process;
        assert!(api.ended().await?.success(), "{}", api.printed());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_worker_killed_inside_its_transaction_loses_nothing() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        // The worker blocks at the seat that this transaction has locked.
        let holder = deployment.hold_seat(seats[0]).await?;
        let accepted = deployment.client().create_booking("alice", &seats[..2]).await?;
        deployment.worker_waits_for_a_lock().await?;
        let mut killed = deployment.workers.remove(0);
        killed.signal(Signal::SIGKILL)?;
        killed.ended().await?;
        holder.rollback().await?;

        deployment.start_worker(&[]).await?;
        let status = deployment.client().final_status(accepted.location()?).await?;
        assert_eq!(status["status"], "confirmed");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn workers_can_be_added_and_removed_while_bookings_arrive() -> Result<()> {
    Deployment::run(Setup { workers: 1, ..Setup::default() }, async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        let client = deployment.client().clone();
        let buying = async move {
            let mut locations = Vec::new();
            for (n, seat) in seats.iter().enumerate() {
                let accepted = client.create_booking(&format!("customer{n}"), &[*seat]).await?;
                locations.push(accepted.location()?.to_owned());
            }
            for location in &locations {
                assert_eq!(client.final_status(location).await?["status"], "confirmed");
            }
            anyhow::Ok(())
        };
        let scaling = async {
            deployment.start_worker(&[]).await?;
            deployment.start_worker(&[]).await?;
            let mut first = deployment.workers.remove(0);
            first.signal(Signal::SIGTERM)?;
            assert!(first.ended().await?.success(), "{}", first.printed());
            anyhow::Ok(())
        };
        try_join(buying, scaling).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_api_accepts_bookings_while_the_database_is_away() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let seats = deployment.client().seat_ids(0).await?;
        // Nothing listens on this address. The api cannot measure its clock and is not ready, but it accepts bookings.
        let away = [("DATABASE_URL", "postgres://hamro@127.0.0.1:1/hamro")];
        let cut_off = deployment.launch_api(&away).await?;
        let client = &deployment.apis[cut_off].client;
        wait_until("the api accepts bookings", async || {
            Ok((client.get("/queue").await?.body["accepting"] == true).then_some(()))
        })
        .await?;
        let accepted = client.create_booking("alice", &seats[..1]).await?;
        assert_eq!(accepted.status, 202);
        let status = client.get(accepted.location()?).await?;
        assert_eq!((status.status, status.code()), (503, "database-unavailable"));
        assert_eq!(deployment.client().final_status(accepted.location()?).await?["status"], "confirmed");
        // Outcomes arrive through the broker, so even the waiting endpoint can respond.
        assert_eq!(client.book_seats("bob", &seats[1..2]).await?.status, 201);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_a_broker_bookings_are_refused_at_once() -> Result<()> {
    Deployment::run(Setup::default(), async |deployment| {
        let number = deployment.launch_api(&[("AMQP_URL", "amqp://127.0.0.1:1/%2f")]).await?;
        let client = &deployment.apis[number].client;
        for answer in [client.create_booking("alice", &[1]).await?, client.book_seats("alice", &[1]).await?] {
            assert_eq!((answer.status, answer.code()), (503, "broker-unavailable"), "{answer:?}");
            assert!(answer.header("retry-after").is_some());
        }
        let ready = client.get("/health/ready").await?;
        assert_eq!((ready.status, ready.code()), (503, "not-ready"));
        assert_eq!(client.get("/health/live").await?.status, 200);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_halted_worker_reports_not_ready() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        deployment.expects_errors = true;
        let number = deployment.start_worker(&[("WORKER_HTTP_PORT", "0")]).await?;
        let url = deployment.workers[number].line_after("serving health checks on ").await?;
        let worker = hamro_e2e::Client::new(&url);
        worker.wait_until_ready().await?;
        let port = url.rsplit(':').next().unwrap_or_default().to_owned();
        let environment = deployment.environment(&[("WORKER_HTTP_PORT", &port)]);
        let mut healthcheck = Process::start("healthcheck", "hamro-worker", &["healthcheck"], &environment)?;
        assert!(healthcheck.ended().await?.success(), "{}", healthcheck.printed());

        // An error that no booking causes: the worker halts and keeps the booking.
        let seats = deployment.client().seat_ids(0).await?;
        sqlx::raw_sql("ALTER TABLE sales RENAME TO gone").execute(&deployment.pool).await?;
        let accepted = deployment.client().create_booking("alice", &seats[..1]).await?;
        wait_until("the worker is not ready", async || {
            let ready = worker.get("/health/ready").await?;
            Ok((ready.status == 503).then_some(()))
        })
        .await?;
        assert_eq!(worker.get("/health/live").await?.status, 200);
        let mut healthcheck = Process::start("healthcheck", "hamro-worker", &["healthcheck"], &environment)?;
        assert!(!healthcheck.ended().await?.success());

        sqlx::raw_sql("ALTER TABLE gone RENAME TO sales").execute(&deployment.pool).await?;
        assert_eq!(deployment.client().final_status(accepted.location()?).await?["status"], "confirmed");
        worker.wait_until_ready().await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn instances_that_start_together_migrate_and_seed_once() -> Result<()> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        for _ in 0..4 {
            deployment.launch_api(&[]).await?;
        }
        for api in &deployment.apis {
            api.client.wait_until_ready().await?;
            assert_eq!(api.client.get("/concerts").await?.body["total"], 3);
        }
        let seats =
            wait_until("the seats exist", async || Ok(Some(deployment.client().seat_ids(2).await?))).await?;
        assert_eq!(seats.len(), 100);
        Ok(())
    })
    .await
}
