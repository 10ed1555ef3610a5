//! RabbitMQ, as a user of AMQP sees it: each node, the topology, the rights of this user, and what waits in the queues.
//! [`management`] reads the rest.

mod cluster;
mod management;
mod policies;

use hamro_shared::queue::{Broker, BrokerConfig, Heartbeat, QueueCount, Refusal};
use lapin::Connection;

pub use self::management::{ManagementUrl, check as check_management};
use super::report::{Finding, Verdict, problems_or_ok};

const NODE: &str = "broker";
const RIGHTS: &str = "rights in RabbitMQ";
const QUEUES: &str = "queues";

/// The findings, and the heartbeats of all processes if they could be received.
pub async fn check(config: &BrokerConfig) -> (Vec<Finding>, Option<Vec<Heartbeat>>) {
    let nodes = config.for_inspection();
    let brokers = nodes.iter().map(|node| Broker::new(node, "hamro-api"));
    let connecting = brokers.map(|broker| async move {
        let connected = broker.connect("doctor").await;
        (broker, connected)
    });
    let (mut findings, mut usable) = (Vec::new(), None);
    for (broker, connected) in futures_util::future::join_all(connecting).await {
        match connected {
            Ok(connection) => {
                findings.push(
                    Finding::ok(NODE, "accepts this user, and has the exchanges and queues")
                        .of(broker.addresses()),
                );
                usable.get_or_insert((broker, connection));
            }
            Err(error) => findings.push(unusable(&error).of(broker.addresses())),
        }
    }
    let Some((broker, connection)) = usable else {
        let reason = "no node of AMQP_URL can be used";
        findings.extend([RIGHTS, QUEUES].map(|check| Finding::skipped(check, reason, "see above")));
        return (findings, None);
    };
    // The programs run on as long as one node works.
    for finding in &mut findings {
        finding.verdict = finding.verdict.min(Verdict::Warning);
    }
    findings.extend(queues(&broker, &connection).await);
    let (rights, heard) = rights(&broker, &connection).await;
    findings.extend(rights);
    // Best effort: the broker also notices a closed socket.
    let _ = connection.close(200, "done".into()).await;
    (findings, heard)
}

fn unusable(error: &anyhow::Error) -> Finding {
    match error.downcast_ref::<Refusal>() {
        Some(Refusal { cause, remedy }) => Finding::error(NODE, cause, remedy),
        None => Finding::error(
            NODE,
            // The first error is the address.
            error.chain().skip(1).map(ToString::to_string).collect::<Vec<_>>().join(": "),
            "start it, or correct AMQP_URL; a firewall or a wrong port shows like this too",
        ),
    }
}

/// Tries the rights of an api instance.
async fn rights(broker: &Broker, connection: &Connection) -> (Vec<Finding>, Option<Vec<Heartbeat>>) {
    let topology = broker.topology();
    let mut problems = Vec::new();
    for exchange in [topology.bookings_exchange(), topology.heartbeats_exchange()] {
        if let Err(error) = broker.may_publish(connection, &exchange).await {
            problems.push(missing_right(&error, Verdict::Error));
        }
    }
    if let Err(error) = broker.may_publish(connection, &topology.settled_exchange()).await {
        // Other instances then learn of a release later.
        problems.push(missing_right(&error, Verdict::Warning));
    }
    let heard = broker.heard(connection).await;
    if let Err(error) = &heard {
        problems.push(missing_right(error, Verdict::Error));
    }
    let ok = || Finding::ok(RIGHTS, "those of an api instance; workers report theirs themselves");
    (problems_or_ok(problems, ok), heard.ok())
}

fn missing_right(error: &anyhow::Error, verdict: Verdict) -> Finding {
    let finding = match error.downcast_ref::<Refusal>() {
        Some(Refusal { cause, remedy }) => Finding::error(RIGHTS, cause, remedy),
        None => Finding::error(RIGHTS, format!("{error:#}"), "look at the log of RabbitMQ"),
    };
    Finding { verdict, ..finding }
}

async fn queues(broker: &Broker, connection: &Connection) -> Vec<Finding> {
    match broker.queue_counts(connection).await {
        Ok(counts) => waiting(&counts),
        Err(error) => vec![Finding::error(QUEUES, format!("{error:#}"), "look at the log of RabbitMQ")],
    }
}

/// What waits in the intake queue, the queue of dead letters and that of unrouted parcels.
fn waiting([intake, dead, unrouted]: &[QueueCount; 3]) -> Vec<Finding> {
    let mut problems = Vec::new();
    if intake.consumers == 0 {
        let finding = format!("no worker consumes it, and {} parcels wait", intake.messages);
        problems.push(Finding::error(QUEUES, finding, "start hamro-worker").of(&intake.name));
    }
    if dead.messages > 0 {
        let finding = format!("{} parcels wait to be taken apart by a worker", dead.messages);
        let remedy = "docs/RUNBOOK.md: How parcels reach `bookings.dead`";
        problems.push(Finding::warning(QUEUES, finding, remedy).of(&dead.name));
    }
    if unrouted.messages > 0 {
        let finding = format!("{} parcels reached no other queue, and wait for a worker", unrouted.messages);
        let remedy = "run `hamro-api declare`, and look whether a worker is ready";
        problems.push(Finding::warning(QUEUES, finding, remedy).of(&unrouted.name));
    }
    let ok = format!("{} parcels wait for {} consumers", intake.messages, intake.consumers);
    problems_or_ok(problems, || Finding::ok(QUEUES, ok))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parcels_that_nobody_consumes_are_reported() {
        let count =
            |name: &str, messages, consumers| QueueCount { name: name.to_owned(), messages, consumers };
        let verdicts =
            |counts| waiting(&counts).into_iter().map(|it| (it.verdict, it.of)).collect::<Vec<_>>();
        let [intake, dead, unrouted] = [count("intake", 7, 1), count("dead", 0, 1), count("unrouted", 0, 1)];
        assert_eq!(verdicts([intake.clone(), dead.clone(), unrouted.clone()]), [(Verdict::Ok, None)]);
        let abandoned = [count("intake", 7, 0), count("dead", 1, 0), count("unrouted", 2, 0)];
        assert_eq!(
            verdicts(abandoned),
            [
                (Verdict::Error, Some("intake".to_owned())),
                (Verdict::Warning, Some("dead".to_owned())),
                (Verdict::Warning, Some("unrouted".to_owned())),
            ]
        );
    }
}
