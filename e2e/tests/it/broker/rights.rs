//! The least rights of the programs, which docs/RUNBOOK.md lists.

use anyhow::Result;
use hamro_e2e::process::Process;
use hamro_e2e::{Deployment, Setup};

use super::{User, create, delete, names_the_cause};

const RUNBOOK: &str = include_str!("../../../../docs/RUNBOOK.md");

/// The patterns of `rabbitmqctl set_permissions`: configure, write, read.
type Rights = [&'static str; 3];

const API: Rights = [
    r"^amq\.gen-.*$",
    r"^(bookings(\.(settled|heartbeats))?|amq\.gen-.*)$",
    r"^(bookings\.(settled|heartbeats)|amq\.gen-.*)$",
];
const WORKER: Rights =
    ["^$", r"^(bookings\.(settled|heartbeats)|amq\.default)$", r"^bookings\.(intake|dead|unrouted)$"];

/// A user with these rights on the queues of the deployment.
fn user(deployment: &Deployment, number: usize, rights: Rights) -> User {
    let prefix = deployment.topology.bookings_exchange().replace("bookings", "").replace('.', r"\.");
    let [configure, write, read] =
        rights.map(|pattern| pattern.replace("bookings", &format!("{prefix}bookings")));
    User { name: format!("{}-{number}", deployment.name()), configure, write, read }
}

const NOT_DECLARING: (&str, &str) = ("DECLARE_TOPOLOGY", "false");

#[tokio::test]
async fn the_least_rights_in_the_runbook_are_sufficient_for_a_booking() -> Result<()> {
    for (program, rights) in [("api", API), ("worker", WORKER)] {
        let [configure, write, read] = rights;
        let command = format!("rabbitmqctl set_permissions -p / {program} '{configure}' '{write}' '{read}'");
        assert!(RUNBOOK.contains(&command), "docs/RUNBOOK.md does not contain: {command}");
    }
    Deployment::run(Setup::without_processes(), async |deployment| {
        let (api, worker) = (user(deployment, 1, API), user(deployment, 2, WORKER));
        create(&[&api, &worker]).await?;
        let number = deployment.start_api(&[("AMQP_URL", &api.url(deployment)), NOT_DECLARING]).await?;
        let url = worker.url(deployment);
        deployment.start_worker(&[("AMQP_URL", &url), NOT_DECLARING, ("REAPER_DELAY", "0s")]).await?;
        let client = deployment.apis[number].client.clone();
        let seats = client.seat_ids(0).await?;
        assert_eq!(client.book_seats("alice", &seats[..2]).await?.status, 201);
        deployment.workers[0].line_after("isolating poison messages from ").await?;
        client.wait_until_ready().await?;
        deployment.stop_apis().await?;
        deployment.drain_and_stop_workers().await?;
        delete(&[&api, &worker]).await
    })
    .await
}

#[tokio::test]
async fn each_missing_right_is_named_in_the_log_and_in_the_readiness_of_the_role() -> Result<()> {
    const SUBSCRIBING: &str = "subscribing";
    const ANNOUNCING: &str = "announcing outcomes";
    let [configure, write, read] = API;
    let apis: [(Rights, &str, &str); 7] = [
        (["^$", write, read], SUBSCRIBING, "configure right on queue amq.gen-"),
        (
            [configure, r"^(bookings\.heartbeats|amq\.gen-.*)$", read],
            "publishing",
            "write right on exchange {}",
        ),
        (
            [configure, r"^(bookings|amq\.gen-.*)$", read],
            "publishing",
            "write right on exchange {}.heartbeats",
        ),
        ([configure, r"^bookings(\.heartbeats)?$", read], SUBSCRIBING, "write right on queue amq.gen-"),
        (
            [configure, write, r"^(bookings\.heartbeats|amq\.gen-.*)$"],
            SUBSCRIBING,
            "read right on exchange {}.settled",
        ),
        (
            [configure, write, r"^(bookings\.settled|amq\.gen-.*)$"],
            SUBSCRIBING,
            "read right on exchange {}.heartbeats",
        ),
        (
            [configure, write, r"^bookings\.(settled|heartbeats)$"],
            SUBSCRIBING,
            "read right on queue amq.gen-",
        ),
    ];
    let [none, write, read] = WORKER;
    let without_default: Rights = [none, r"^bookings\.(settled|heartbeats)$", read];
    let workers: [(Rights, &str, &str); 8] = [
        (
            [none, r"^(bookings\.heartbeats|amq\.default)$", read],
            ANNOUNCING,
            "write right on exchange {}.settled",
        ),
        (
            [none, r"^(bookings\.settled|amq\.default)$", read],
            ANNOUNCING,
            "write right on exchange {}.heartbeats",
        ),
        (without_default, "requeuing", "write right on exchange amq.default"),
        (without_default, "isolating poison messages", "write right on exchange amq.default"),
        (without_default, "forwarding unrouted parcels", "write right on exchange amq.default"),
        ([none, write, r"^bookings\.(dead|unrouted)$"], "consuming", "read right on queue {}.intake"),
        (
            [none, write, r"^bookings\.(intake|unrouted)$"],
            "isolating poison messages",
            "read right on queue {}.dead",
        ),
        (
            [none, write, r"^bookings\.(intake|dead)$"],
            "forwarding unrouted parcels",
            "read right on queue {}.unrouted",
        ),
    ];
    let all =
        apis.map(|case| ("hamro-api", case)).into_iter().chain(workers.map(|case| ("hamro-worker", case)));
    let cases: Vec<_> = all.collect();
    // Workers wait for the schema.
    Deployment::run(Setup { apis: 1, workers: 0, ..Setup::default() }, async |deployment| {
        let users: Vec<_> =
            cases.iter().enumerate().map(|(n, (_, case))| user(deployment, n, case.0)).collect();
        let users: Vec<&User> = users.iter().collect();
        create(&users).await?;
        let exchange = deployment.topology.bookings_exchange();
        for ((program, (_, role, right)), user) in cases.iter().zip(&users) {
            let cause = format!("RabbitMQ refuses the {}", right.replace("{}", &exchange));
            let changes = [("AMQP_URL", &*user.url(deployment)), NOT_DECLARING];
            names_the_cause(deployment, program, &changes, role, &cause).await?;
        }
        delete(&users).await
    })
    .await
}

#[tokio::test]
async fn a_program_that_may_not_declare_says_so_and_runs_on_what_an_administrator_has_declared() -> Result<()>
{
    Deployment::run(Setup { apis: 1, workers: 0, ..Setup::default() }, async |deployment| {
        let user = user(deployment, 1, WORKER);
        create(&[&user]).await?;
        let url = user.url(deployment);
        let dead = deployment.topology.dead_queue();
        let cause = format!("RabbitMQ refuses the configure right on exchange {dead}");
        names_the_cause(deployment, "hamro-worker", &[("AMQP_URL", &url)], "consuming", &cause).await?;

        // Under another prefix nothing is declared yet.
        let prefix = format!("{}other.", deployment.name());
        let changes = [("AMQP_URL", &*url), ("QUEUE_PREFIX", &prefix), NOT_DECLARING];
        let cause = format!("exchange {prefix}bookings.dead does not exist");
        names_the_cause(deployment, "hamro-worker", &changes, "consuming", &cause).await?;

        let declare =
            Process::output("hamro-api", &["declare"], &deployment.environment(&[NOT_DECLARING])).await?;
        assert!(declare.status.success(), "{declare:?}");
        let refused = deployment.environment(&[("AMQP_URL", &url)]);
        let declare = Process::output("hamro-api", &["declare"], &refused).await?;
        let printed = String::from_utf8(declare.stderr)?;
        assert!(printed.contains("rabbitmqctl set_permissions -p '/'"), "{printed}");
        delete(&[&user]).await
    })
    .await
}
