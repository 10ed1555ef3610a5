//! What only RabbitMQ's management API shows, on a broker of this test's own that has the plugin.

use std::net::TcpListener;
use std::process::Command;

use anyhow::{Context, Result};
use hamro_e2e::outage::run;
use hamro_e2e::private_stack::PrivateStack;
use hamro_e2e::{Deployment, Setup, wait_until};

use super::{KEY, Report};

/// A broker with the management plugin. Dropping it stops the broker.
struct ManagedBroker {
    stack: PrivateStack,
    amqp_url: String,
    /// The address of the management API.
    address: String,
}

impl ManagedBroker {
    fn start() -> Result<Self> {
        let started = PrivateStack::start("doctor", &["--only", "rabbitmq"], ["AMQP_URL"])?;
        let (stack, [amqp_url]) = started.context("the stack did not start")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let broker = Self { stack, amqp_url, address: format!("127.0.0.1:{port}") };
        broker.enable_plugin(port)?;
        Ok(broker)
    }

    fn enable_plugin(&self, port: u16) -> Result<()> {
        let plugins = format!("{}/rabbitmq/enabled_plugins", self.stack.directory);
        std::fs::write(&plugins, "[rabbitmq_management].\n")?;
        self.control(&[
            "eval",
            &format!(
                "application:load(rabbitmq_management), \
                 application:set_env(rabbitmq_management, tcp_config, [{{port, {port}}}, {{ip, \"127.0.0.1\"}}]), \
                 rabbit_plugins:ensure(\"{plugins}\")."
            ),
        ])?;
        for (user, tag) in [("monitor", "monitoring"), ("manager", "management")] {
            self.control(&["add_user", user, "hunter2"])?;
            self.control(&["set_user_tags", user, tag])?;
            self.control(&["set_permissions", "-p", "/", user, "^$", "^$", "^$"])?;
        }
        Ok(())
    }

    fn control(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(format!("{}/rabbitmqctl", self.stack.directory));
        command.args(arguments);
        run(command)
    }

    /// The `MANAGEMENT_URL` of a user.
    fn url(&self, user: &str, password: &str) -> String {
        format!("http://{user}:{password}@{}", self.address)
    }
}

#[tokio::test]
async fn a_policy_that_loses_bookings_is_reported_with_its_name() -> Result<()> {
    let broker = ManagedBroker::start()?;
    let amqp_url: &'static str = broker.amqp_url.clone().leak();
    let variables = vec![("TICKET_KEYS", KEY), ("AMQP_URL", amqp_url)];
    Deployment::run(Setup { variables, ..Setup::default() }, async |deployment| {
        let url = broker.url("monitor", "hunter2");
        let report = Report::of(deployment, &[("MANAGEMENT_URL", &url)]).await?;
        for check in [
            "version of RabbitMQ",
            "nodes of RabbitMQ",
            "arguments of the queue",
            "members of the queue",
            "policies",
        ] {
            report.expect("ok", check, "", "")?;
            assert!(!report.has("error", check, "", ""), "{}", report.printed);
        }

        // Only this user may see the nodes.
        let manager =
            Report::of(deployment, &[("MANAGEMENT_URL", &broker.url("manager", "hunter2"))]).await?;
        manager.expect("skipped", "nodes of RabbitMQ", "this user may not see them", "set_user_tags")?;
        manager.expect("ok", "policies", "none", "")?;
        let wrong =
            Report::of(deployment, &[("MANAGEMENT_URL", &broker.url("monitor", "wrong-hunter2"))]).await?;
        wrong.expect("error", "management API", "refuses it to this user", "set_user_tags")?;
        let nowhere = Report::of(deployment, &[("MANAGEMENT_URL", "http://u:hunter2@127.0.0.1:1")]).await?;
        nowhere.expect("error", "management API", "cannot be reached", "correct MANAGEMENT_URL")?;

        let pattern = format!("^{}", deployment.topology.bookings_exchange().replace('.', "\\."));
        let policy = r#"{"max-length":5000,"overflow":"drop-head"}"#;
        broker.control(&["set_policy", "--apply-to", "queues", "short-queues", &pattern, policy])?;
        let operator_policy = r#"{"max-length-bytes":1000}"#;
        broker.control(&[
            "set_operator_policy",
            "--apply-to",
            "queues",
            "tiny-queues",
            &pattern,
            operator_policy,
        ])?;
        let expected = [
            (
                "drops the oldest accepted bookings",
                "remove overflow from the policy short-queues or tiny-queues",
            ),
            ("refused with 503 as soon as so few bytes wait", "remove max-length-bytes from the policy"),
            ("deleted without a trace", "remove max-length from the policy"),
        ];
        // RabbitMQ applies one policy after the other, in the background.
        let report = wait_until("both policies are shown", async || {
            let report = Report::of(deployment, &[("MANAGEMENT_URL", &url)]).await?;
            let is_shown = |(finding, remedy)| report.has("error", "policies", finding, remedy);
            Ok(expected.into_iter().all(is_shown).then_some(report))
        })
        .await?;
        for printed in [&report.printed, &wrong.printed, &nowhere.printed] {
            assert!(!printed.contains("hunter2"), "{printed}");
        }
        broker.control(&["clear_policy", "short-queues"])?;
        broker.control(&["clear_operator_policy", "tiny-queues"])
    })
    .await
}
