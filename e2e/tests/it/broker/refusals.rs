//! Connections that RabbitMQ refuses.

use anyhow::Result;
use hamro_e2e::outage::{rabbitmqctl, run_aside};
use hamro_e2e::{Deployment, Setup};

use super::{PASSWORD, User, create, delete, names_the_cause, split_url};

#[tokio::test]
async fn a_refused_connection_is_named_in_the_log_and_in_readiness_and_recovers_without_a_restart()
-> Result<()> {
    Deployment::run(Setup { apis: 1, workers: 0, ..Setup::default() }, async |deployment| {
        let all = "^.*$".to_owned();
        let name = format!("{}-1", deployment.name());
        let user = User { name, configure: all.clone(), write: all.clone(), read: all };
        create(&[&user]).await?;
        let (login, server) = split_url(deployment);
        let (address, _) = server.split_once('/').unwrap_or_default();
        let wrong_password = format!("amqp://hamro:{PASSWORD}@{server}");
        let no_virtual_host = format!("{login}@{address}/nowhere");
        for (url, cause) in [
            (&wrong_password, "RabbitMQ refuses the user name or the password"),
            (&no_virtual_host, "the virtual host nowhere does not exist"),
        ] {
            for (program, role) in [("hamro-api", "publishing"), ("hamro-worker", "consuming")] {
                names_the_cause(deployment, program, &[("AMQP_URL", url)], role, cause).await?;
            }
        }

        run_aside(rabbitmqctl(&["clear_permissions", "-p", "/", &user.name])?).await?;
        let url = user.url(deployment);
        let cause = "the user has no rights in the virtual host /";
        names_the_cause(deployment, "hamro-worker", &[("AMQP_URL", &url)], "requeuing", cause).await?;
        deployment.expects_errors = true;
        let number = deployment.launch_api(&[("AMQP_URL", &url)]).await?;
        deployment.apis[number].process.line_after("rabbitmqctl set_permissions -p '/'").await?;
        run_aside(rabbitmqctl(&["set_permissions", "-p", "/", &user.name, ".*", ".*", ".*"])?).await?;
        deployment.apis[number].client.wait_until_ready().await?;
        deployment.stop_apis().await?;
        delete(&[&user]).await
    })
    .await
}
