//! A named set of proxies with one seed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{DecisionLog, Error, Proxy, ProxyConfig};

/// A set of proxies, each with its own name. Cheap to clone; all clones are the same set.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    seed: u64,
    log: DecisionLog,
    by_name: Arc<Mutex<BTreeMap<String, Proxy>>>,
}

impl Proxies {
    /// An empty set whose random decisions all come from `seed`.
    pub fn with_seed(seed: u64) -> Self {
        Proxies { seed, ..Proxies::default() }
    }

    /// The log of the decisions that the toxics take. It records nothing until it is told to.
    pub fn decisions(&self) -> &DecisionLog {
        &self.log
    }

    /// Starts a proxy.
    ///
    /// # Errors
    ///
    /// [`Error::ProxyExists`] and [`Error::Listen`].
    pub async fn create(&self, config: ProxyConfig) -> Result<Proxy, Error> {
        if self.lock().contains_key(&config.name) {
            return Err(Error::ProxyExists(config.name));
        }
        let proxy = Proxy::start(config, self.seed, self.log.clone()).await?;
        let mut proxies = self.lock();
        if proxies.contains_key(proxy.name()) {
            return Err(Error::ProxyExists(proxy.name().to_owned()));
        }
        proxies.insert(proxy.name().to_owned(), proxy.clone());
        Ok(proxy)
    }

    /// The proxy of this name.
    ///
    /// # Errors
    ///
    /// [`Error::ProxyNotFound`].
    pub fn get(&self, name: &str) -> Result<Proxy, Error> {
        self.lock().get(name).cloned().ok_or_else(|| Error::ProxyNotFound(name.to_owned()))
    }

    /// Every proxy, by name.
    pub fn list(&self) -> Vec<Proxy> {
        self.lock().values().cloned().collect()
    }

    /// Stops a proxy, closes its connections and forgets it.
    ///
    /// # Errors
    ///
    /// [`Error::ProxyNotFound`].
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let proxy = self.lock().remove(name).ok_or_else(|| Error::ProxyNotFound(name.to_owned()))?;
        proxy.close().await;
        Ok(())
    }

    /// Enables every proxy and removes every toxic.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`] of the first proxy that could not listen again; the others are reset all the same.
    pub fn reset(&self) -> Result<(), Error> {
        let mut outcome = Ok(());
        for proxy in self.list() {
            proxy.clear_toxics();
            outcome = outcome.and(proxy.enable());
        }
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Proxy>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
