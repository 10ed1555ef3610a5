//! The api instances behind a simulated load balancer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{PoisonError, RwLock};

use anyhow::Result;
use hamro_verification::http::Client;
use hamro_verification::instance::Instance;

use super::RESPONSE_TIMEOUT;
use crate::deployment::Api;

/// The maximum number of connections to an instance.
const CONNECTIONS: usize = 1_024;

#[derive(Default)]
pub struct Endpoints {
    state: RwLock<State>,
    /// Requests through a proxy.
    proxied: AtomicU16,
}

#[derive(Default)]
struct State {
    current: Vec<Instance>,
    /// Every instance so far. A restarted api is another instance, even at the same address.
    known: HashMap<String, Instance>,
    proxy: Option<Client>,
}

impl Endpoints {
    pub(super) fn set(&self, apis: &[Api]) -> Result<()> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.current.clear();
        for api in apis {
            let instance = state.instance(api)?;
            state.current.push(instance);
        }
        Ok(())
    }

    /// Sends everything through a real load balancer from here on.
    pub(super) fn set_proxy(&self, proxy: Client) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).proxy = Some(proxy);
    }

    pub fn all(&self) -> Vec<Instance> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        match &state.proxy {
            Some(proxy) => vec![self.through(proxy), self.through(proxy)],
            None => state.current.clone(),
        }
    }

    /// Behind a proxy it is unknown which instance responds, so each request counts as sent to another one: what is
    /// reported then may be as old as another instance may report it. The numbers repeat after minutes.
    fn through(&self, proxy: &Client) -> Instance {
        Instance { number: self.proxied.fetch_add(1, Ordering::Relaxed), client: proxy.clone() }
    }

    /// The instance that the load balancer chooses for a request.
    pub fn any(&self) -> Instance {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(proxy) = &state.proxy {
            return self.through(proxy);
        }
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
