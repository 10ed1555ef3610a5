//! Changing `TICKET_KEYS` one instance after another ("Change a key or a token" in docs/RUNBOOK.md), by hand and with
//! `hamro-api keys`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hamro_e2e::process::Process;
use hamro_e2e::{Client, Deployment, Setup, wait_until};
use nix::sys::signal::Signal;
use tokio::sync::RwLock;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

const OLD: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const NEW: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// The statuses of a status request to the instance `reader` for a ticket of the instance `issuer`.
async fn status_of_ticket(deployment: &Deployment, issuer: usize, reader: usize) -> Result<u16> {
    let issuer = &deployment.apis[issuer].client;
    let accepted = issuer.create_booking("alice", &issuer.seat_ids(0).await?[..1]).await?;
    Ok(deployment.apis[reader].client.get(accepted.location()?).await?.status)
}

#[tokio::test]
async fn each_step_of_a_key_rotation_keeps_every_ticket_valid_on_every_instance() -> Result<()> {
    let setup = Setup { apis: 0, workers: 0, expects_leftovers: true, ..Setup::default() };
    Deployment::run(setup, async |deployment| {
        let (both, swapped) = (format!("{OLD},{NEW}"), format!("{NEW},{OLD}"));
        for keys in [OLD, both.as_str(), swapped.as_str(), NEW] {
            deployment.start_api(&[("TICKET_KEYS", keys)]).await?;
        }
        // While a step is taken, some instances have the keys of that step and some those of the step before.
        for (before, after) in [(0, 1), (1, 2), (2, 3)] {
            for (issuer, reader) in [(before, before), (before, after), (after, before), (after, after)] {
                let status = status_of_ticket(deployment, issuer, reader).await?;
                // In the last step, tickets of the old key are given up. None are issued any more.
                assert_eq!(status, 200, "a ticket of instance {issuer} on instance {reader}");
            }
        }
        // The wrong order: the first step adds the new key in front.
        assert_eq!(status_of_ticket(deployment, 2, 0).await?, 404);
        // The last step before the old tickets are over.
        assert_eq!(status_of_ticket(deployment, 1, 3).await?, 404);
        Ok(())
    })
    .await
}

/// Clients that book on all instances, and ask all instances for all tickets.
#[derive(Clone, Default)]
struct Buyers {
    instances: Arc<RwLock<Vec<Client>>>,
    /// The paths of all tickets.
    tickets: Arc<RwLock<Vec<String>>>,
    stop: CancellationToken,
}

impl Buyers {
    /// Fails at the first ticket that an instance does not know.
    async fn run(self) -> Result<()> {
        let mut ticks = interval(Duration::from_millis(50));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.stop.run_until_cancelled(ticks.tick()).await.is_some() {
            // An instance is stopped only while this lock is free.
            let instances = self.instances.read().await;
            for client in &*instances {
                let accepted = client.create_booking("alice", &[1]).await?;
                self.tickets.write().await.push(accepted.location()?.to_owned());
            }
            self.check(&instances, 20).await?;
        }
        Ok(())
    }

    /// Every instance knows the last `count` tickets, and the first ones.
    async fn check(&self, instances: &[Client], count: usize) -> Result<()> {
        let tickets = self.tickets.read().await.clone();
        for ticket in tickets.iter().rev().take(count).chain(tickets.iter().take(5)) {
            for client in instances {
                let status = client.get(ticket).await?.status;
                ensure!(status == 200, "{} responds with {status} to {ticket}", client.instance());
            }
        }
        Ok(())
    }

    /// Restarts all instances, one after another, with the keys of the file.
    async fn restart(&self, deployment: &mut Deployment, file: &Path) -> Result<()> {
        let keys = fs::read_to_string(file)?;
        for _ in 0..deployment.apis.len() {
            let number = deployment.start_api(&[("TICKET_KEYS", &keys)]).await?;
            self.instances.write().await.push(deployment.apis[number].client.clone());
            let mut old = deployment.apis.remove(0);
            self.instances.write().await.retain(|client| client.instance() != old.client.instance());
            old.process.signal(Signal::SIGTERM)?;
            ensure!(old.process.ended().await?.success(), "{}", old.process.printed());
        }
        Ok(())
    }
}

/// Runs `hamro-api keys STEP`. Returns its output, or the error that it prints.
async fn keys(deployment: &Deployment, step: &str, file: &Path) -> Result<Result<String, String>> {
    let file = file.to_str().context("a path")?;
    let arguments = ["keys", step, "--file", file, "--instances", "2"];
    let output = Process::output("hamro-api", &arguments, &deployment.environment(&[])).await?;
    let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    for secret in fs::read_to_string(file)?.trim().split(',') {
        ensure!(!stdout.contains(secret) && !stderr.contains(secret), "{stdout}{stderr}");
    }
    Ok(if output.status.success() { Ok(stdout) } else { Err(stderr) })
}

/// The step is possible, as soon as an instance that has just ended is not heard any more.
async fn step(deployment: &Deployment, step: &str, file: &Path) -> Result<()> {
    let what = format!("keys {step} succeeds");
    wait_until(&what, async || Ok(keys(deployment, step, file).await?.ok().map(drop))).await
}

async fn refused(deployment: &Deployment, step: &str, file: &Path, reason: &str) -> Result<()> {
    let before = fs::read_to_string(file)?;
    let printed = keys(deployment, step, file).await?.err().with_context(|| format!("{step} succeeds"))?;
    ensure!(printed.contains(reason), "{step}: {printed}");
    ensure!(fs::read_to_string(file)? == before, "{step} has changed the file");
    Ok(())
}

/// A file with one key.
fn key_file(deployment: &Deployment) -> Result<PathBuf> {
    let directory = std::env::temp_dir().join(deployment.name());
    fs::create_dir(&directory)?;
    let file = directory.join("ticket-keys");
    fs::write(&file, format!("{OLD}\n"))?;
    Ok(file)
}

#[tokio::test]
async fn a_key_is_replaced_by_command_under_load_and_a_step_is_refused_until_the_one_before_has_ended()
-> Result<()> {
    let variables = vec![
        ("TICKET_KEYS", OLD),
        // All book the same seat, and each needs a ticket.
        ("EARLY_REJECTION", "off"),
        ("BOOKING_WAIT", "1s"),
        ("BOOKING_DEADLINE", "3s"),
        ("SHUTDOWN_TIMEOUT", "6s"),
    ];
    Deployment::run(Setup { apis: 2, variables, ..Setup::default() }, async |deployment| {
        let file = key_file(deployment)?;
        let buyers = Buyers::default();
        buyers.instances.write().await.extend(deployment.apis.iter().map(|api| api.client.clone()));
        let load = tokio::spawn(buyers.clone().run());

        step(deployment, "add", &file).await?;
        refused(deployment, "switch", &file, "runs with other keys").await?;
        buyers.restart(deployment, &file).await?;
        step(deployment, "switch", &file).await?;
        refused(deployment, "remove", &file, "runs with other keys").await?;
        buyers.restart(deployment, &file).await?;
        let shown = keys(deployment, "show", &file).await?;
        assert!(shown.as_ref().is_ok_and(|it| it.contains("2 api instances are heard")), "{shown:?}");
        step(deployment, "remove", &file).await?;

        // Until here, every ticket was known to every instance.
        buyers.stop.cancel();
        load.await??;
        let instances = buyers.instances.read().await.clone();
        buyers.check(&instances, 1_000).await?;
        let old = buyers.tickets.read().await[0].clone();
        buyers.restart(deployment, &file).await?;
        let client = deployment.client();
        assert_eq!(client.get(&old).await?.status, 404, "the key is removed");
        let accepted = client.create_booking("alice", &[1]).await?;
        assert_eq!(deployment.apis[1].client.get(accepted.location()?).await?.status, 200);
        fs::remove_dir_all(file.parent().context("a directory")?)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn without_a_file_the_next_value_is_printed_and_nothing_else() -> Result<()> {
    Deployment::run(Setup { workers: 0, ..Setup::default() }, async |deployment| {
        let environment = deployment.environment(&[]);
        let current = environment.iter().find(|(name, _)| name == "TICKET_KEYS");
        let current = &current.context("no TICKET_KEYS")?.1;
        let output = Process::output("hamro-api", &["keys", "add"], &environment).await?;
        let (printed, explained) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
        let added = printed.trim().strip_prefix(&format!("{current},")).context(printed.clone())?;
        assert_eq!(added.len(), 64, "{printed}");
        assert!(explained.contains("restart all api instances") && !explained.contains(added), "{explained}");
        let too_many = ["keys", "add", "--instances", "2"];
        let output = Process::output("hamro-api", &too_many, &environment).await?;
        let explained = String::from_utf8(output.stderr)?;
        assert!(!output.status.success() && explained.contains("only 1 of 2 api instances"), "{explained}");
        Ok(())
    })
    .await
}
