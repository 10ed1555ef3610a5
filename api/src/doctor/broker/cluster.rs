//! The nodes of RabbitMQ, and the queues on them.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::doctor::report::{Finding, problems_or_ok};

const VERSION: &str = "version of RabbitMQ";
const NODES: &str = "nodes of RabbitMQ";
const MEMBERS: &str = "members of the queue";
const ARGUMENTS: &str = "arguments of the queue";

/// The first version that is supported, and the first that was never tried.
const VERSIONS: ((u32, u32), (u32, u32)) = ((3, 10), (5, 0));

/// How many copies of a queue survive the loss of one.
const COPIES: usize = 3;

#[derive(Debug, Deserialize)]
pub struct Node {
    pub name: String,
    #[serde(default)]
    pub running: bool,
    #[serde(default)]
    pub mem_alarm: bool,
    #[serde(default)]
    pub disk_free_alarm: bool,
    #[serde(default)]
    pub partitions: Vec<String>,
}

/// A queue as the management API describes it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Queue {
    #[serde(rename = "type")]
    pub kind: String,
    pub arguments: Map<String, Value>,
    pub members: Vec<String>,
    pub online: Vec<String>,
    /// Missing until the statistics are collected, as are the policies.
    pub state: Option<String>,
    pub policy: Option<String>,
    pub operator_policy: Option<String>,
    pub effective_policy_definition: Option<Map<String, Value>>,
}

pub fn version(version: &str) -> Finding {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    let found = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    if found < VERSIONS.0 {
        let finding = format!("{version} is too old: it lacks safe dead letters");
        return Finding::error(VERSION, finding, "upgrade to 3.10 or later");
    }
    if found >= VERSIONS.1 {
        let finding = format!("{version} is newer than all that were tried");
        return Finding::warning(VERSION, finding, "try the upgrade on a copy first (make test)");
    }
    Finding::ok(VERSION, version)
}

pub fn nodes(nodes: &[Node]) -> Vec<Finding> {
    let problems = nodes.iter().filter_map(|node| {
        let finding = if !node.running {
            let remedy = "start it; the queues go on as long as most of their members run";
            Finding::warning(NODES, "does not run", remedy)
        } else if node.disk_free_alarm {
            let remedy = "make room on its disk (docs/RUNBOOK.md: A disk is full)";
            Finding::error(NODES, "its disk alarm is on: all bookings are refused with 503", remedy)
        } else if node.mem_alarm {
            let remedy = "give it more memory, or start workers, so that the queues become shorter";
            Finding::error(NODES, "its memory alarm is on: all bookings are refused with 503", remedy)
        } else if node.partitions.is_empty() {
            return None;
        } else {
            let finding = format!("it has lost {}", node.partitions.join(", "));
            Finding::error(NODES, finding, "repair the network between them, then restart the smaller part")
        };
        Some(finding.of(&node.name))
    });
    let mut findings = problems_or_ok(problems.collect(), || {
        Finding::ok(NODES, format!("{} run, without alarm and partition", nodes.len()))
    });
    if nodes.len() > 1 {
        findings.push(Finding::skipped(
            "configuration of the nodes",
            "RabbitMQ does not show it over HTTP",
            "on each node: rabbitmqctl environment | grep -E 'cluster_partition_handling|consumer_timeout|net_ticktime'; \
             cluster_partition_handling should be pause_minority, and consumer_timeout at least 1800000",
        ));
    }
    findings
}

/// `nodes` is unknown if this user may not see them.
pub fn members(name: &str, queue: &Queue, nodes: Option<usize>) -> Finding {
    let (members, online) = (queue.members.len(), queue.online.len());
    let finding = if queue.kind != "quorum" {
        let finding = format!("it is a {} queue, which does not keep bookings safely", queue.kind);
        Finding::error(MEMBERS, finding, declare_again(name))
    } else if online * 2 <= members {
        let finding = format!("{online} of {members} run: without more than half of them, nothing moves");
        Finding::error(MEMBERS, finding, "start the other nodes")
    } else if online < members {
        Finding::warning(MEMBERS, format!("{online} of {members} run"), "start the other nodes")
    } else if nodes.is_some_and(|nodes| members < nodes.min(COPIES)) {
        let finding = format!("{members}, although there are {} nodes", nodes.unwrap_or_default());
        let remedy = format!(
            "on each node without a member: rabbitmq-queues grow NODE all --vhost-pattern '.*' --queue-pattern '^{name}$'"
        );
        Finding::warning(MEMBERS, finding, remedy)
    } else {
        Finding::ok(MEMBERS, format!("{members}, all of them run"))
    };
    finding.of(name)
}

pub fn arguments(name: &str, queue: &Queue, expected: &Map<String, Value>) -> Finding {
    let differences: Vec<_> = expected
        .iter()
        .filter(|(key, value)| queue.arguments.get(*key) != Some(value))
        .map(|(key, value)| {
            let found = queue.arguments.get(key).map_or_else(|| "missing".to_owned(), Value::to_string);
            format!("{key} is {found}, and should be {value}")
        })
        .collect();
    if differences.is_empty() {
        return Finding::ok(ARGUMENTS, "as released").of(name);
    }
    Finding::error(ARGUMENTS, differences.join("; "), declare_again(name)).of(name)
}

fn declare_again(name: &str) -> String {
    format!(
        "pause the intake and wait until the queue is empty; then stop all programs, run `rabbitmqctl delete_queue {name}` \
         and `hamro-api declare`, and start them"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::report::Verdict;

    #[test]
    fn versions_from_3_10_up_to_4_are_supported() {
        for (text, expected) in [
            ("3.9.29", Verdict::Error),
            ("3.10.8", Verdict::Ok),
            ("4.0.5", Verdict::Ok),
            ("4.3.0-rc.1", Verdict::Ok),
            ("5.0.0", Verdict::Warning),
            ("", Verdict::Error),
        ] {
            assert_eq!(version(text).verdict, expected, "{text}");
        }
    }

    #[test]
    fn a_dead_node_an_alarm_and_a_partition_are_reported() {
        let node = |extra: Value| {
            let mut node = json!({"name": "rabbit@one", "running": true});
            node.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            serde_json::from_value::<Node>(node).unwrap()
        };
        for (extra, expected) in [
            (json!({}), Verdict::Ok),
            (json!({"running": false}), Verdict::Warning),
            (json!({"mem_alarm": true}), Verdict::Error),
            (json!({"disk_free_alarm": true}), Verdict::Error),
            (json!({"partitions": ["rabbit@two"]}), Verdict::Error),
        ] {
            assert_eq!(nodes(&[node(extra.clone())])[0].verdict, expected, "{extra}");
        }
        assert_eq!(nodes(&[node(json!({})), node(json!({}))])[1].verdict, Verdict::Skipped);
    }

    #[test]
    fn a_queue_with_too_few_members_is_reported() {
        let queue = |members: usize, online: usize| Queue {
            kind: "quorum".to_owned(),
            members: vec!["node".to_owned(); members],
            online: vec!["node".to_owned(); online],
            ..Queue::default()
        };
        for (members_and_online, nodes, expected) in [
            ((1, 1), Some(1), Verdict::Ok),
            ((3, 3), Some(3), Verdict::Ok),
            ((3, 3), Some(5), Verdict::Ok),
            ((3, 3), None, Verdict::Ok),
            ((1, 1), Some(3), Verdict::Warning),
            ((3, 2), Some(3), Verdict::Warning),
            ((3, 1), Some(3), Verdict::Error),
            ((2, 1), Some(2), Verdict::Error),
        ] {
            let (all, online) = members_and_online;
            let finding = members("bookings.intake", &queue(all, online), nodes);
            assert_eq!(finding.verdict, expected, "{members_and_online:?} {nodes:?}");
        }
        let classic = Queue { kind: "classic".to_owned(), ..Queue::default() };
        assert_eq!(members("bookings.intake", &classic, Some(1)).verdict, Verdict::Error);
    }

    #[test]
    fn arguments_that_differ_from_the_released_ones_are_named() {
        let expected = json!({"x-queue-type": "quorum", "x-delivery-limit": 20});
        let expected = expected.as_object().unwrap();
        let queue = Queue { arguments: expected.clone(), ..Queue::default() };
        assert_eq!(arguments("q", &queue, expected).verdict, Verdict::Ok);
        let other = json!({"x-queue-type": "quorum", "x-delivery-limit": 5});
        let queue = Queue { arguments: other.as_object().unwrap().clone(), ..Queue::default() };
        let finding = arguments("q", &queue, expected);
        assert_eq!(finding.verdict, Verdict::Error);
        assert_eq!(finding.finding, "x-delivery-limit is 5, and should be 20");
    }
}
