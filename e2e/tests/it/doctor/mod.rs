//! `hamro-api doctor` on real installations, with one fault each.

mod management;

use anyhow::{Context, Result, ensure};
use hamro_e2e::outage::{rabbitmqctl, run_aside};
use hamro_e2e::process::Process;
use hamro_e2e::{Deployment, Setup};
use serde_json::Value;

/// Random, unlike the key of other tests, which the doctor reports.
const KEY: &str = "7c0b5f7e2a9d41c683e0f1b25d94a7c6f3180e6b9a52d7c401f8be6237a95d0e";
const OTHER_KEY: &str = "1d94e07fb35a2c68d1f0477be9a2635c80fe41d2b6973a5ce8024f9b17d6ac30";

/// What the command has printed.
struct Report {
    verdict: String,
    checks: Vec<Value>,
    is_success: bool,
    printed: String,
}

impl Report {
    /// Runs the doctor with the settings of the deployment and these changes.
    async fn of(deployment: &Deployment, changes: &[(&str, &str)]) -> Result<Self> {
        let environment = deployment.environment(&[&[("TICKET_KEYS", KEY)], changes].concat());
        let output = Process::output("hamro-api", &["doctor", "--json"], &environment).await?;
        let printed = String::from_utf8(output.stdout)?;
        let report: Value = serde_json::from_str(&printed).with_context(|| printed.clone())?;
        let checks = report["checks"].as_array().cloned().unwrap_or_default();
        let verdict = report["verdict"].as_str().unwrap_or_default().to_owned();
        Ok(Self { verdict, checks, is_success: output.status.success(), printed })
    }

    /// Whether a check has this verdict, and its finding and its remedy contain these texts.
    fn has(&self, verdict: &str, check: &str, finding: &str, remedy: &str) -> bool {
        self.checks.iter().any(|found| {
            let contains = |member: &str, text| found[member].as_str().unwrap_or_default().contains(text);
            found["verdict"] == verdict
                && found["check"] == check
                && contains("finding", finding)
                && contains("remedy", remedy)
        })
    }

    fn expect(&self, verdict: &str, check: &str, finding: &str, remedy: &str) -> Result<()> {
        let has = self.has(verdict, check, finding, remedy);
        ensure!(has, "no {verdict} of {check} with {finding:?} and {remedy:?}: {}", self.printed);
        ensure!(self.is_success == (self.verdict != "error"), "{}", self.printed);
        Ok(())
    }
}

/// The setting of the deployment with a part of it replaced.
fn changed(deployment: &Deployment, name: &str, change: impl FnOnce(&str) -> String) -> String {
    let variables = deployment.environment(&[]);
    let value = variables.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
    change(value.unwrap_or_default())
}

/// The URL with another password.
fn with_password(url: &str, password: &str) -> String {
    let (before, rest) = url.split_once('@').unwrap_or_default();
    let (user, _) = before.rsplit_once(':').unwrap_or_default();
    format!("{user}:{password}@{rest}")
}

fn setup() -> Setup {
    Setup { variables: vec![("TICKET_KEYS", KEY)], ..Setup::default() }
}

#[tokio::test]
async fn a_healthy_installation_has_no_error_and_the_doctor_changes_nothing() -> Result<()> {
    Deployment::run(setup(), async |deployment| {
        let report = Report::of(deployment, &[]).await?;
        for (check, finding) in [
            ("settings", "all settings of the api are valid"),
            ("ticket keys", "1 key"),
            ("broker", "accepts this user"),
            ("rights in RabbitMQ", "those of an api instance"),
            ("queues", "0 parcels wait for 1 consumers"),
            ("database", "takes writes"),
            ("sessions of the database", "the programs can open and use them"),
            ("settings of Postgres", ""),
            ("schema", "up to date"),
            ("indexes", "all are valid"),
            ("clock of this machine", "from the database clock"),
            ("api instances", "1 heard"),
            ("workers", "1 heard, all ready"),
            ("versions", "everywhere"),
            ("ticket keys of the instances", "the same"),
            ("BOOKING_DEADLINE of the instances", "15m everywhere"),
            ("clocks of the instances", "agree"),
        ] {
            // The throwaway Postgres of the tests is not durable, which is an error.
            let verdict = if check == "settings of Postgres" { "error" } else { "ok" };
            report.expect(verdict, check, finding, "")?;
        }
        report.expect("skipped", "management API", "MANAGEMENT_URL is not set", "rabbitmqctl add_user")?;
        let environment = deployment.environment(&[]);
        for (name, value) in
            environment.iter().filter(|(name, _)| ["DATABASE_URL", "AMQP_URL"].contains(&&**name))
        {
            let (_, password) =
                value.split_once('@').unwrap_or_default().0.rsplit_once(':').unwrap_or_default();
            ensure!(!password.is_empty() && !report.printed.contains(password), "{name}");
        }
        ensure!(!report.printed.contains(KEY));
        let weak = deployment.environment(&[("TICKET_KEYS", &"ab".repeat(32))]);
        let text = String::from_utf8(Process::output("hamro-api", &["doctor"], &weak).await?.stdout)?;
        ensure!(text.contains("\nok       schema: up to date ("), "{text}");
        ensure!(text.contains("error    ticket keys: key 1 can be guessed"), "{text}");
        Ok(())
    })
    .await
}

/// Settings that are changed, and what the finding must contain.
type Case<'a> = (&'a [(&'a str, &'a str)], [&'a str; 4]);

#[tokio::test]
async fn settings_that_differ_or_lead_nowhere_are_named_with_what_to_do() -> Result<()> {
    Deployment::run(setup(), async |deployment| {
        let wrong_password = changed(deployment, "AMQP_URL", |url| with_password(url, "hunter2"));
        let wrong_host = changed(deployment, "AMQP_URL", |url| url.replace("/%2f", "/nowhere"));
        let database_password = changed(deployment, "DATABASE_URL", |url| with_password(url, "hunter2"));
        let dead_node = changed(deployment, "AMQP_URL", |url| url.replace('@', "@127.0.0.1:1,"));
        let cases: [Case<'_>; 10] = [
            // The programs use the other node.
            (&[("AMQP_URL", &dead_node)], ["warning", "broker", "onnection refused", "start it"]),
            (
                &[("AMQP_URL", &wrong_password)],
                ["error", "broker", "refuses the user name or the password", "correct AMQP_URL"],
            ),
            (
                &[("AMQP_URL", &wrong_host)],
                ["error", "broker", "virtual host nowhere does not exist", "rabbitmqctl add_vhost"],
            ),
            (
                &[("AMQP_URL", "amqp://u:hunter2@127.0.0.1:1/%2f")],
                ["error", "broker", "onnection refused", "start it, or correct AMQP_URL"],
            ),
            (
                &[("DATABASE_URL", &database_password)],
                ["error", "database", "password authentication failed", "correct DATABASE_URL"],
            ),
            (
                &[("DATABASE_URL", "not a URL of hunter2")],
                ["error", "settings", "DATABASE_URL is invalid", "--help"],
            ),
            (
                &[("QUEUE_PREFIX", "elsewhere.")],
                ["error", "broker", "exchange elsewhere.bookings.dead does not exist", "hamro-api declare"],
            ),
            (
                &[("HAMRO_FAULTS", "clock=+11s")],
                ["warning", "clock of this machine", "ahead of the database clock", "synchronise it"],
            ),
            (
                &[("BOOKING_DEADLINE", "20m")],
                [
                    "warning",
                    "BOOKING_DEADLINE of the instances",
                    "has 15m, and this machine 20m",
                    "set the same",
                ],
            ),
            (
                &[("TICKET_KEYS", OTHER_KEY)],
                ["warning", "ticket keys of the instances", "other keys", "hamro-api keys show"],
            ),
        ];
        for (changes, [verdict, check, finding, remedy]) in cases {
            let report = Report::of(deployment, changes).await?;
            report.expect(verdict, check, finding, remedy)?;
            // One fault does not hide what else is known.
            let others = if check == "database" || check == "settings" { "broker" } else { "schema" };
            report.expect("ok", others, "", "")?;
            ensure!(!report.printed.contains("hunter2"), "{}", report.printed);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_missing_right_is_named_with_the_command_that_grants_it() -> Result<()> {
    Deployment::run(setup(), async |deployment| {
        let user = deployment.name().to_owned();
        let exchange = deployment.topology.bookings_exchange();
        let write = format!(r"^({}\.heartbeats|amq\.gen-.*)$", exchange.replace('.', r"\."));
        run_aside(rabbitmqctl(&["add_user", &user, "hunter2"])?).await?;
        run_aside(rabbitmqctl(&["set_permissions", "-p", "/", &user, r"^amq\.gen-.*$", &write, ".*"])?)
            .await?;
        let url = changed(deployment, "AMQP_URL", |url| {
            let (_, server) = url.split_once('@').unwrap_or_default();
            format!("amqp://{user}:hunter2@{server}")
        });
        let report = Report::of(deployment, &[("AMQP_URL", &url)]).await?;
        let missing = format!("RabbitMQ refuses the write right on exchange {exchange}");
        report.expect("error", "rights in RabbitMQ", &missing, "rabbitmqctl set_permissions -p '/'")?;
        report.expect("warning", "rights in RabbitMQ", &format!("{missing}.settled"), "")?;
        report.expect("ok", "workers", "1 heard", "")?;
        run_aside(rabbitmqctl(&["delete_user", &user])?).await
    })
    .await
}

#[tokio::test]
async fn a_newer_schema_is_reported_and_every_program_runs_on_with_it() -> Result<()> {
    Deployment::run(setup(), async |deployment| {
        let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                     VALUES (99991231000001, 'of a later version', true, '\\x00', 0)";
        sqlx::raw_sql(newer).execute(&deployment.pool).await?;
        let report = Report::of(deployment, &[]).await?;
        report.expect(
            "warning",
            "schema",
            "newer than this program, by 1 migrations",
            "upgrade this program",
        )?;

        let number = deployment.start_api(&[]).await?;
        deployment.start_worker(&[]).await?;
        deployment.stop_worker(0).await?;
        let client = deployment.apis[number].client.clone();
        let seats = client.seat_ids(0).await?;
        assert_eq!(client.book_seats("alice", &seats[..1]).await?.status, 201);
        for (program, arguments) in
            [("hamro-api", &["migrate"][..]), ("hamro-worker", &["dead-letters", "list"])]
        {
            let output = Process::output(program, arguments, &deployment.environment(&[])).await?;
            assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_database_that_takes_no_writes_and_a_broken_index_are_reported() -> Result<()> {
    Deployment::run(Setup::without_processes(), async |deployment| {
        let empty = Report::of(deployment, &[]).await?;
        empty.expect("error", "schema", "the database is empty", "hamro-api migrate")?;
        let migrate = Process::output("hamro-api", &["migrate"], &deployment.environment(&[])).await?;
        assert!(migrate.status.success(), "{migrate:?}");
        let broken = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'sale_seats_live'::regclass";
        deployment.run_as_superuser(broken).await?;
        let report = Report::of(deployment, &[]).await?;
        report.expect("error", "indexes", "sale_seats_live", "REINDEX INDEX CONCURRENTLY sale_seats_live")?;
        let repaired = "UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'sale_seats_live'::regclass";
        deployment.run_as_superuser(repaired).await?;

        let name = deployment.name();
        let read_only = format!("ALTER DATABASE {name} SET default_transaction_read_only = on");
        deployment.run_as_superuser(read_only).await?;
        let report = Report::of(deployment, &[]).await?;
        report.expect("error", "database", "it was made read-only", "RESET default_transaction_read_only")?;
        report.expect("error", "sessions of the database", "the database takes no writes", "RUNBOOK.md")?;
        let reset = format!("ALTER DATABASE {name} RESET default_transaction_read_only");
        deployment.run_as_superuser(format!("BEGIN READ WRITE; {reset}; COMMIT")).await
    })
    .await
}
