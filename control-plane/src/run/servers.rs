//! The API addresses of all servers, as agents and joining servers are told them.

use tokio::sync::watch;

/// The list; changes are watched by the sessions.
#[derive(Debug)]
pub struct ServerList {
    addresses: watch::Sender<Vec<String>>,
}

impl ServerList {
    /// A list that begins with this server alone.
    pub fn new(own_address: String) -> Self {
        Self {
            addresses: watch::Sender::new(vec![own_address]),
        }
    }

    /// Replaces the list. Those who watch it are woken only if it is another.
    pub fn set(&self, addresses: Vec<String>) {
        self.addresses.send_if_modified(|present| {
            let changed = *present != addresses;
            *present = addresses;
            changed
        });
    }

    /// The present list.
    pub fn get(&self) -> Vec<String> {
        self.addresses.borrow().clone()
    }

    /// Watches the list.
    pub fn subscribe(&self) -> watch::Receiver<Vec<String>> {
        self.addresses.subscribe()
    }
}
