//! `hamro-api keys`: changes `TICKET_KEYS` in steps, and refuses a step while an instance does not run with the one before.
//!
//! The command cannot restart the instances, which are on other machines. It knows from their heartbeats which keys they
//! have.

mod steps;
mod store;

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use hamro_shared::config::Env;
use hamro_shared::output::print;
use hamro_shared::queue::{Broker, BrokerConfig, Heartbeat, ProcessState};
use hamro_shared::telemetry::write_to_stderr;

use self::steps::{Instance, KeyList, Refusal, Report, Step};
use self::store::Store;

#[derive(clap::Subcommand)]
pub enum KeysCommand {
    /// Show which keys are stored, and which ones each instance has
    Show(Arguments),
    /// First step: add a new key, which verifies and does not sign yet
    Add(Arguments),
    /// Second step: sign with the last key of the list
    ///
    /// Taken once more, it is the way back.
    Switch(Arguments),
    /// Last step: remove the last key of the list, whose tickets are then unknown
    Remove {
        #[command(flatten)]
        arguments: Arguments,
        /// The key has leaked: remove it although its tickets may be in the queue
        #[arg(long)]
        without_waiting: bool,
    },
}

#[derive(clap::Args)]
pub struct Arguments {
    /// File of the keys; by default, that of `TICKET_KEYS_FILE`
    #[arg(long)]
    file: Option<PathBuf>,
    /// How many api instances there are: refuse to go on if fewer are heard
    #[arg(long)]
    instances: Option<usize>,
}

pub async fn run(command: KeysCommand) -> anyhow::Result<()> {
    let (arguments, step) = match command {
        KeysCommand::Show(arguments) => (arguments, None),
        KeysCommand::Add(arguments) => (arguments, Some(Step::Add)),
        KeysCommand::Switch(arguments) => (arguments, Some(Step::Switch)),
        KeysCommand::Remove { arguments, without_waiting } => {
            (arguments, Some(Step::Remove { without_waiting }))
        }
    };
    // The file stays locked until this command ends.
    let store = Store::open(arguments.file.as_deref(), Env::process())?;
    let keys = store.read()?;
    let instances = Box::pin(heard()).await?;
    let Some(step) = step else { return print(&shown(&keys, &instances)) };
    if let Some(expected) = arguments.instances
        && instances.len() < expected
    {
        return Err(Refusal::TooFew { heard: instances.len(), expected }.into());
    }
    let next = keys.after(step, KeyList::generate(), &instances)?;
    let result = done(step, &next, instances.len());
    match store {
        Store::File(file) => {
            file.replace(&next)?;
            print(&format!("{} is written. {result}", file.path().display()))
        }
        Store::Environment(_) => {
            // Only the value is on stdout, so that a script can store it.
            write_to_stderr(format!("Store this value of TICKET_KEYS. {result}\n"));
            print(&next.secret())
        }
    }
}

/// The api instances of the installation.
async fn heard() -> anyhow::Result<Vec<Instance>> {
    let mut env = Env::process();
    let config = BrokerConfig::read(&mut env);
    let config = env.finish(config)?;
    let mut failure = None;
    for node in config.for_inspection() {
        let broker = Broker::new(&node, "hamro-api");
        match broker.connect("keys").await {
            Ok(connection) => {
                let heard = broker.heard(&connection).await.context("receiving heartbeats")?;
                // Best effort: the broker also notices a closed socket.
                let _ = connection.close(200, "done".into()).await;
                return Ok(heard.into_iter().filter_map(instance).collect());
            }
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.context("AMQP_URL names no node")?)
}

fn instance(heartbeat: Heartbeat) -> Option<Instance> {
    let ProcessState::Api(published) = heartbeat.state else { return None };
    let report = published.instance.map(|report| Report {
        fingerprints: report.ticket_keys,
        uptime: Duration::from_millis(report.uptime_millis),
        // An instance that was replaced may have signed until its time for shutdown was over.
        tickets_live: Duration::from_millis(report.booking_deadline_millis + report.shutdown_timeout_millis),
    });
    // As the live view shows it.
    let name = heartbeat.process.simple().to_string()[..8].to_owned();
    Some(Instance { name, report })
}

fn shown(keys: &KeyList, instances: &[Instance]) -> String {
    let mut text = format!("stored            {keys} (the first signs, all verify)");
    for Instance { name, report } in instances {
        let keys = report
            .as_ref()
            .map_or_else(|| "unknown: an earlier version".to_owned(), |report| report.fingerprints.join(","));
        let _ = write!(text, "\ninstance {name} {keys}");
    }
    let _ = write!(text, "\n{} api instances are heard.", instances.len());
    text
}

/// What has changed, and what comes next.
fn done(step: Step, keys: &KeyList, instances: usize) -> String {
    let restart = format!("Now restart all api instances, one after another ({instances} are heard)");
    match step {
        Step::Add => {
            format!("Keys: {keys}; the last one is new. {restart}, then run `hamro-api keys switch`.")
        }
        Step::Switch => format!(
            "Keys: {keys}; the first one will sign. {restart}. Run `hamro-api keys remove` when nobody looks at tickets of \
             the old key any more, which may be weeks: until then it costs nothing."
        ),
        Step::Remove { .. } => format!("Keys: {keys}. {restart}."),
    }
}
