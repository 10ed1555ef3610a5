//! Which connections to the broker do not work, and why: for the readiness of a process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::nodes::Nodes;

/// The roles whose last attempt failed, with the cause. Clones share the record.
#[derive(Clone, Debug, Default)]
pub struct RoleFailures {
    roles: Arc<Mutex<BTreeMap<&'static str, String>>>,
    nodes: Nodes,
}

impl RoleFailures {
    pub(super) fn of(nodes: Nodes) -> Self {
        Self { roles: Arc::default(), nodes }
    }

    /// One text per node of a cluster that does not work, by its place in `AMQP_URL`: `node 2 of 3: connection refused`.
    /// The process may work nevertheless, with the other nodes.
    pub fn nodes(&self) -> Vec<String> {
        self.nodes.failures()
    }

    /// One text per role that does not work: `publishing: the virtual host / does not exist`.
    pub fn list(&self) -> Vec<String> {
        self.failures().iter().map(|(role, cause)| format!("{role}: {cause}")).collect()
    }

    pub(super) fn set(&self, role: &'static str, cause: String) {
        self.failures().insert(role, cause);
    }

    pub(super) fn clear(&self, role: &'static str) {
        self.failures().remove(role);
    }

    fn failures(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.roles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
