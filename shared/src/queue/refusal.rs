//! Says why RabbitMQ refuses a connection or an operation, and what an administrator has to do.
//!
//! RabbitMQ grants three rights on exchanges and queues: `configure` to declare one, `write` to publish to an exchange or
//! to bind a queue, `read` to consume a queue or to bind to an exchange. Its error names the object. Before version 3.12
//! it does not name the right, which follows from the operation.

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::uri::AMQPUri;
use lapin::{Error, ErrorKind};

use super::{Topology, tls};
use crate::tls::TlsProblem;
use crate::tls::files::FileError;

/// What a process does with an object of the topology when RabbitMQ returns an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Operation {
    #[error("declaring {0}")]
    Declare(String),
    #[error("binding queue {0}")]
    Bind(String),
    #[error("looking for {0}")]
    LookFor(String),
}

/// An error of [`Topology`].
#[derive(Debug, thiserror::Error)]
#[error("{operation}")]
pub struct TopologyError {
    pub operation: Operation,
    #[source]
    pub error: Error,
}

/// A refusal that lasts until an administrator acts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}: {remedy}")]
pub struct Refusal {
    /// For anyone who may see the state of a process: no user and no address.
    pub cause: String,
    /// For operators.
    pub remedy: String,
}

impl Refusal {
    /// Replaces an error by what an administrator has to know, if RabbitMQ refuses something.
    pub fn explained(error: anyhow::Error, uri: &AMQPUri, topology: &Topology) -> anyhow::Error {
        Self::of(&error, uri, topology).map_or(error, anyhow::Error::from)
    }

    /// `None` if the error is something else, such as a lost connection.
    fn of(error: &anyhow::Error, uri: &AMQPUri, topology: &Topology) -> Option<Self> {
        if let Some(refusal) = Self::of_tls(error) {
            return Some(refusal);
        }
        let operation = error.chain().find_map(|error| error.downcast_ref::<TopologyError>());
        let lapin = error.chain().find_map(|error| error.downcast_ref::<Error>())?;
        let ErrorKind::ProtocolError(error) = lapin.kind() else { return None };
        let text = error.get_message().as_str();
        match error.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
                let operation = operation.map(|error| &error.operation);
                Some(match Access::parse(text, operation) {
                    Some(access) => access.refusal(uri, topology),
                    None => login_refused(text, uri),
                })
            }
            AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => Some(virtual_host_refused(text, uri, topology)),
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => match operation.map(|error| &error.operation) {
                Some(Operation::LookFor(object)) => Some(Self {
                    cause: format!("{object} does not exist"),
                    remedy: "declare it with `hamro-api declare`, or set DECLARE_TOPOLOGY=true".to_owned(),
                }),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Refusal {
    /// A file or a certificate that cannot be used.
    fn of_tls(error: &anyhow::Error) -> Option<Self> {
        if let Some(error) = error.downcast_ref::<FileError>() {
            let cause = format!("the file in the parameter {} of AMQP_URL cannot be used", error.name);
            return Some(Self { cause, remedy: error.to_string() });
        }
        let TlsProblem { cause, remedy } = TlsProblem::of(error.as_ref(), &tls::NAMES)?;
        Some(Self { cause: cause.to_owned(), remedy })
    }
}

/// What RabbitMQ says of itself in an error, if it says anything.
pub fn broker_text(error: &anyhow::Error) -> Option<String> {
    let lapin = error.chain().find_map(|error| error.downcast_ref::<Error>())?;
    let ErrorKind::ProtocolError(error) = lapin.kind() else { return None };
    Some(error.get_message().as_str().to_owned())
}

fn login_refused(text: &str, uri: &AMQPUri) -> Refusal {
    let user = &uri.authority.userinfo.username;
    let cause = "RabbitMQ refuses the user name or the password".to_owned();
    let remedy = if user == "guest" {
        "the user guest may only connect from the broker's own machine; use another one in AMQP_URL"
            .to_owned()
    } else {
        format!("correct AMQP_URL, or run: rabbitmqctl change_password {} PASSWORD ({text})", quoted(user))
    };
    Refusal { cause, remedy }
}

/// The virtual host is missing or full, or the user has no rights there.
fn virtual_host_refused(text: &str, uri: &AMQPUri, topology: &Topology) -> Refusal {
    if text.contains("not found") {
        let cause = format!("the virtual host {} does not exist", uri.vhost);
        let remedy = format!("correct AMQP_URL, or run: rabbitmqctl add_vhost {}", quoted(&uri.vhost));
        return Refusal { cause, remedy };
    }
    if text.contains("limit") {
        return Refusal {
            cause: "a limit of the virtual host or the user is reached".to_owned(),
            remedy: text.to_owned(),
        };
    }
    let cause = format!("the user has no rights in the virtual host {}", uri.vhost);
    Refusal { cause, remedy: grant(&uri.authority.userinfo.username, &uri.vhost, topology) }
}

/// A right that the user does not have.
#[derive(Debug, PartialEq, Eq)]
struct Access<'a> {
    right: &'static str,
    /// `exchange` or `queue`.
    kind: &'a str,
    name: &'a str,
}

impl<'a> Access<'a> {
    /// Reads `ACCESS_REFUSED - [write ]access to exchange 'bookings' in vhost '/' refused for user 'shop'`.
    fn parse(text: &'a str, operation: Option<&Operation>) -> Option<Self> {
        let (before, rest) = text.split_once("access to ")?;
        let (kind, rest) = rest.split_once(" '")?;
        let (name, _) = rest.split_once("' in vhost")?;
        let named =
            ["configure", "write", "read"].into_iter().find(|right| before.ends_with(&format!("{right} ")));
        let right = named.unwrap_or(match (operation, kind) {
            // To create an exchange or a queue that forwards messages, it needs rights on the target as well.
            (Some(Operation::Declare(object)), _)
                if object.ends_with(&format!(" {name}")) || name.starts_with("amq.gen-") =>
            {
                "configure"
            }
            (Some(Operation::Declare(_)), _) | (Some(Operation::Bind(_)), "queue") | (None, "exchange") => {
                "write"
            }
            _ => "read",
        });
        Some(Self { right, kind, name })
    }

    fn refusal(&self, uri: &AMQPUri, topology: &Topology) -> Refusal {
        let Self { right, kind, name } = self;
        let remedy = if *right == "configure" {
            "; or, if an administrator declares the queues (`hamro-api declare`), set DECLARE_TOPOLOGY=false"
        } else {
            ""
        };
        Refusal {
            cause: format!("RabbitMQ refuses the {right} right on {kind} {name}"),
            remedy: format!("{}{remedy}", grant(&uri.authority.userinfo.username, &uri.vhost, topology)),
        }
    }
}

/// The command that grants all rights that both programs need.
fn grant(user: &str, virtual_host: &str, topology: &Topology) -> String {
    let objects = quoted(&topology.objects_pattern());
    format!(
        "run: rabbitmqctl set_permissions -p {} {} {objects} {objects} {objects} (docs/RUNBOOK.md lists fewer rights)",
        quoted(virtual_host),
        quoted(user)
    )
}

/// A word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_missing_right_follows_from_the_error_or_else_from_the_operation() {
        let declare = Operation::Declare("queue bookings.intake".to_owned());
        let bind = Operation::Bind("bookings.intake".to_owned());
        for (text, operation, expected) in [
            (
                "access to queue 'bookings.intake' in vhost",
                Some(&declare),
                ("configure", "queue", "bookings.intake"),
            ),
            (
                "access to exchange 'bookings.dead' in vhost",
                Some(&declare),
                ("write", "exchange", "bookings.dead"),
            ),
            (
                "access to queue 'bookings.intake' in vhost",
                Some(&bind),
                ("write", "queue", "bookings.intake"),
            ),
            ("access to exchange 'bookings' in vhost", Some(&bind), ("read", "exchange", "bookings")),
            ("access to exchange 'bookings' in vhost", None, ("write", "exchange", "bookings")),
            ("access to exchange 'amq.default' in vhost", None, ("write", "exchange", "amq.default")),
            ("access to queue 'bookings.intake' in vhost", None, ("read", "queue", "bookings.intake")),
            (
                "read access to queue 'bookings.intake' in vhost",
                Some(&declare),
                ("read", "queue", "bookings.intake"),
            ),
        ] {
            let text = format!("ACCESS_REFUSED - {text} '/' refused for user 'shop'");
            let (right, kind, name) = expected;
            assert_eq!(Access::parse(&text, operation), Some(Access { right, kind, name }), "{text}");
        }
        let login = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.";
        assert_eq!(Access::parse(login, None), None);
    }

    #[test]
    fn the_remedy_is_a_command_for_this_user_virtual_host_and_prefix() {
        let command = grant("o'neil", "/", &Topology::new("staging-1."));
        assert!(
            command
                .starts_with(r"run: rabbitmqctl set_permissions -p '/' 'o'\''neil' '^(staging-1\.bookings"),
            "{command}"
        );
    }
}
