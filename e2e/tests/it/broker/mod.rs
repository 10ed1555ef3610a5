//! The use of RabbitMQ: the rights of its users, and connections that it refuses.

mod nodes;
mod refusals;
mod rights;

use anyhow::Result;
use hamro_e2e::outage::{rabbitmqctl, run_aside};
use hamro_e2e::process::Process;
use hamro_e2e::{Client, Deployment, wait_until};

/// A user of RabbitMQ, and the patterns of its rights.
struct User {
    name: String,
    configure: String,
    write: String,
    read: String,
}

const PASSWORD: &str = "a-password-for-tests";

impl User {
    /// The `AMQP_URL` of this user.
    fn url(&self, deployment: &Deployment) -> String {
        let (_, server) = split_url(deployment);
        format!("amqp://{}:{PASSWORD}@{server}", self.name)
    }
}

/// The user and the server of the deployment's `AMQP_URL`.
fn split_url(deployment: &Deployment) -> (String, String) {
    let url =
        deployment.environment(&[]).into_iter().find_map(|(name, url)| (name == "AMQP_URL").then_some(url));
    let url = url.unwrap_or_default();
    let (user, server) = url.split_once('@').unwrap_or_default();
    (user.to_owned(), server.to_owned())
}

/// Creates the users, in one command, because each takes a second.
async fn create(users: &[&User]) -> Result<()> {
    let all: Vec<_> = users
        .iter()
        .map(|user| {
            let User { name, configure, write, read } = user;
            let text = |text: &str| format!("<<\"{}\">>", text.replace('\\', "\\\\"));
            format!("{{{}, {}, {}, {}}}", text(name), text(configure), text(write), text(read))
        })
        .collect();
    let create = format!(
        "[begin \
         rabbit_auth_backend_internal:add_user(User, <<\"{PASSWORD}\">>, <<\"tests\">>), \
         rabbit_auth_backend_internal:set_permissions(User, <<\"/\">>, Configure, Write, Read, <<\"tests\">>) \
         end || {{User, Configure, Write, Read}} <- [{}]].",
        all.join(", ")
    );
    run_aside(rabbitmqctl(&["eval", &create])?).await
}

async fn delete(users: &[&User]) -> Result<()> {
    let names: Vec<_> = users.iter().map(|user| format!("<<\"{}\">>", user.name)).collect();
    let delete = format!(
        "[rabbit_auth_backend_internal:delete_user(User, <<\"tests\">>) || User <- [{}]].",
        names.join(", ")
    );
    run_aside(rabbitmqctl(&["eval", &delete])?).await
}

/// Starts a program, and waits until its readiness and its log give this cause.
async fn names_the_cause(
    deployment: &Deployment,
    program: &str,
    changes: &[(&str, &str)],
    role: &str,
    cause: &str,
) -> Result<()> {
    let own = [("WORKER_HTTP_PORT", "0"), ("REAPER_DELAY", "0s")];
    let environment = deployment.environment(&[changes, &own].concat());
    let mut process = Process::start(program, program, &[], &environment)?;
    let marker = if program == "hamro-api" { "listening on " } else { "serving health checks on " };
    let client = Client::new(&process.line_after(marker).await?);
    let expected = format!("{role}: {cause}");
    wait_until(&format!("{program} reports {expected:?}"), async || {
        let ready = client.get("/health/ready").await?;
        Ok((ready.status == 503 && ready.body.to_string().contains(&expected)).then_some(()))
    })
    .await?;
    let line = process
        .line_after(&format!("broker connection for {role} lost; reconnecting: RabbitMQ at 127.0.0.1:"))
        .await?;
    assert!(line.contains(cause), "{line}");
    assert!(!process.printed().contains(PASSWORD), "{}", process.printed());
    Ok(())
}
