//! Which roles of a process have a connection to the broker: for its metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::metric_labels;
use crate::telemetry::metrics::MetricsRegistry;

metric_labels! {
    struct Role {
        role,
    }
}

/// The roles that have started. Clones share the record.
#[derive(Clone, Default)]
pub(super) struct ConnectedRoles(Arc<Mutex<BTreeMap<&'static str, bool>>>);

/// Until this is dropped, a role counts as connected.
pub(super) struct Connected {
    roles: ConnectedRoles,
    role: &'static str,
}

impl ConnectedRoles {
    pub fn register(&self, registry: &mut MetricsRegistry) {
        let roles = self.clone();
        registry.read_gauges(
            "broker_connected",
            "Whether a part of the program is connected to RabbitMQ (1) or not (0)",
            move || {
                let connected = |(role, is_connected): (&&'static str, &bool)| {
                    (Role { role }, f64::from(u8::from(*is_connected)))
                };
                roles.lock().iter().map(connected).collect()
            },
        );
    }

    /// The role has started and is not connected yet.
    pub fn start(&self, role: &'static str) {
        self.lock().insert(role, false);
    }

    pub fn connect(&self, role: &'static str) -> Connected {
        self.lock().insert(role, true);
        Connected { roles: self.clone(), role }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.roles.lock().insert(self.role, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_counts_as_connected_only_while_it_has_a_connection() {
        let roles = ConnectedRoles::default();
        let is_connected = || roles.lock().get("consuming").copied();
        assert_eq!(is_connected(), None);
        roles.start("consuming");
        assert_eq!(is_connected(), Some(false));
        let connected = roles.connect("consuming");
        assert_eq!(is_connected(), Some(true));
        drop(connected);
        assert_eq!(is_connected(), Some(false));
    }
}
