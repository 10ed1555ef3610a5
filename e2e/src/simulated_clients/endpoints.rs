//! The api instances behind a simulated load balancer.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use anyhow::Result;
use hamro_verification::http::Client;
use hamro_verification::instance::Instance;

use super::RESPONSE_TIMEOUT;
use crate::deployment::Api;

/// The maximum number of connections to an instance.
const CONNECTIONS: usize = 1_024;

#[derive(Default)]
pub struct Endpoints(RwLock<State>);

#[derive(Default)]
struct State {
    current: Vec<Instance>,
    /// Every instance so far. A restarted api is another instance, even at the same address.
    known: HashMap<String, Instance>,
}

impl Endpoints {
    pub(super) fn set(&self, apis: &[Api]) -> Result<()> {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        state.current.clear();
        for api in apis {
            let instance = state.instance(api)?;
            state.current.push(instance);
        }
        Ok(())
    }

    pub fn all(&self) -> Vec<Instance> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).current.clone()
    }

    /// The instance that the load balancer chooses for a request.
    pub fn any(&self) -> Instance {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        state.current[rand::random_range(0..state.current.len())].clone()
    }
}

impl State {
    fn instance(&mut self, api: &Api) -> Result<Instance> {
        if let Some(known) = self.known.get(api.client.instance()) {
            return Ok(known.clone());
        }
        let client = Client::new(&api.client.url(""), CONNECTIONS, RESPONSE_TIMEOUT)?;
        let instance = Instance { number: self.known.len().try_into()?, client };
        self.known.insert(api.client.instance().to_owned(), instance.clone());
        Ok(instance)
    }
}
