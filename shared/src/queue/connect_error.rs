//! Why a connection to the broker cannot be opened, in words for everybody who may see the state of a process: without
//! user names and addresses.

use std::io;

use lapin::{Error, ErrorKind};

use super::refusal::{Refusal, broker_text};

/// Every node of a cluster was tried in vain, for different reasons.
#[derive(Debug, thiserror::Error)]
#[error("no node of RabbitMQ works: {text}")]
pub struct NoNodeWorks {
    /// For operators.
    pub text: String,
    /// Without addresses.
    pub cause: String,
}

/// The node did not complete the connection within the limit.
#[derive(Debug, thiserror::Error)]
#[error("the broker did not respond in time")]
pub struct NoResponse;

/// Why a connection cannot be opened or was lost.
pub fn public_cause(error: &anyhow::Error) -> String {
    if let Some(none) = error.downcast_ref::<NoNodeWorks>() {
        return none.cause.clone();
    }
    let refusal = error.downcast_ref::<Refusal>().map(|refusal| refusal.cause.clone());
    refusal.or_else(|| broker_text(error)).unwrap_or_else(|| network_cause(error).to_owned())
}

fn network_cause(error: &anyhow::Error) -> &'static str {
    if error.is::<NoResponse>() {
        return "no response in time";
    }
    let lapin = error.chain().find_map(|error| error.downcast_ref::<Error>());
    match lapin.map(Error::kind) {
        Some(ErrorKind::IOError(error)) => io_cause(error),
        Some(ErrorKind::MissingHeartbeatError) => "the broker sends no heartbeats",
        _ => "no connection to RabbitMQ",
    }
}

fn io_cause(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no route to its address",
        // Of rustls: a certificate that is not accepted, or a server without TLS.
        io::ErrorKind::InvalidData => "TLS failed",
        // The standard library has no kind for it.
        _ if error.to_string().contains("failed to lookup address") => "its name cannot be resolved",
        _ => "no connection to RabbitMQ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_named_without_addresses() {
        let refused = Error::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        let unknown =
            Error::from(io::Error::other("failed to lookup address information: Name or service not known"));
        let both =
            NoNodeWorks { text: "one:5672: refused".to_owned(), cause: "node 1 of 2: refused".to_owned() };
        for (error, cause) in [
            (anyhow::Error::from(refused).context("RabbitMQ at one:5672"), "connection refused"),
            (anyhow::Error::from(unknown), "its name cannot be resolved"),
            (anyhow::Error::from(NoResponse).context("RabbitMQ at one:5672"), "no response in time"),
            (anyhow::Error::from(both), "node 1 of 2: refused"),
            (anyhow::anyhow!("something else at one:5672"), "no connection to RabbitMQ"),
        ] {
            assert_eq!(public_cause(&error), cause, "{error:#}");
        }
    }
}
