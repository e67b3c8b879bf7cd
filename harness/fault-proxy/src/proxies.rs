//! A named set of proxies with one seed.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    DecisionLog, Error, Proxy, ProxyChange, ProxyConfig, address,
    limits::{self, MAX_PROXIES},
};

/// A set of proxies, each with its own name. Cheap to clone; all clones are the same set.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    seed: u64,
    log: DecisionLog,
    by_name: Arc<Mutex<BTreeMap<String, Proxy>>>,
    /// Held by whoever creates, moves or deletes proxies. Nobody waits for the network or a resolver with it.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Proxies {
    /// An empty set whose random decisions all come from `seed`.
    pub fn with_seed(seed: u64) -> Self {
        Proxies { seed, ..Proxies::default() }
    }

    /// The seed that all random decisions come from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The log of the decisions that the toxics take. It records nothing until it is told to.
    pub fn decisions(&self) -> &DecisionLog {
        &self.log
    }

    /// Starts a proxy, with its toxics from the first connection on.
    ///
    /// # Errors
    ///
    /// [`Error::ProxyExists`], [`Error::Address`] and [`Error::Listen`]; [`Error::Text`] and [`Error::TooMany`] beyond a
    /// limit; and those of [`Proxy::add_toxic`] for its toxics.
    pub async fn create(&self, config: ProxyConfig) -> Result<Proxy, Error> {
        config.check()?;
        self.refuse_known(&config.name)?;
        let address = find(&config.name, &config.listen).await?;
        let _turn = self.turn.lock().await;
        self.refuse_known(&config.name)?;
        self.add(config, address)
    }

    /// Creates the proxies that are missing and replaces those whose addresses differ. A proxy whose addresses are the
    /// same stays as it is, with its connections and its own toxics, enabled or not.
    ///
    /// The first error ends it. The proxies up to there are there, and are the first of what is returned.
    pub async fn populate(&self, configs: Vec<ProxyConfig>) -> (Vec<Proxy>, Result<(), Error>) {
        let mut made = Vec::new();
        for config in configs {
            match self.put(config).await {
                Ok(proxy) => made.push(proxy),
                Err(error) => return (made, Err(error)),
            }
        }
        (made, Ok(()))
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

    /// Changes a proxy: its addresses, and whether it is enabled. Its toxics stay.
    ///
    /// # Errors
    ///
    /// [`Error::ProxyNotFound`], [`Error::Address`], [`Error::Text`] and [`Error::Listen`]; the proxy stays where it was.
    pub async fn change(&self, name: &str, change: ProxyChange) -> Result<Proxy, Error> {
        change.check()?;
        self.get(name)?;
        let address = match &change.listen {
            Some(listen) => Some(find(name, listen).await?),
            None => None,
        };
        let _turn = self.turn.lock().await;
        let proxy = self.get(name)?;
        let enabled = change.enabled.unwrap_or_else(|| proxy.is_enabled());
        if let Some(address) = address.filter(|address| *address != proxy.listen()) {
            proxy.move_to(address, change.listen.as_deref().unwrap_or_default(), !enabled).await?;
        }
        if let Some(upstream) = change.upstream.filter(|upstream| *upstream != proxy.upstream()) {
            proxy.set_upstream(upstream);
            proxy.close_connections();
        }
        if enabled {
            proxy.enable()?;
        } else {
            proxy.disable().await;
        }
        Ok(proxy)
    }

    /// Stops a proxy, closes its connections and forgets it.
    ///
    /// # Errors
    ///
    /// [`Error::ProxyNotFound`].
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let proxy = self.lock().remove(name).ok_or_else(|| Error::ProxyNotFound(name.to_owned()))?;
        proxy.close().await;
        Ok(())
    }

    /// Enables every proxy and removes every toxic.
    ///
    /// # Errors
    ///
    /// [`Error::Listen`] of the first proxy that could not listen again; the others are reset all the same.
    pub async fn reset(&self) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let mut outcome = Ok(());
        for proxy in self.list() {
            proxy.clear_toxics();
            outcome = outcome.and(proxy.enable());
        }
        outcome
    }

    async fn put(&self, config: ProxyConfig) -> Result<Proxy, Error> {
        config.check()?;
        let address = find(&config.name, &config.listen).await?;
        let _turn = self.turn.lock().await;
        let Ok(old) = self.get(&config.name) else { return self.add(config, address) };
        if old.listen() == address && old.upstream() == config.upstream {
            return Ok(old);
        }
        let was_enabled = old.is_enabled();
        old.close().await;
        let put = self.start(config, address);
        if put.is_err() && was_enabled {
            old.enable()?;
        }
        put
    }

    fn add(&self, config: ProxyConfig, address: SocketAddr) -> Result<Proxy, Error> {
        limits::check_count("proxies", self.lock().len(), MAX_PROXIES)?;
        self.start(config, address)
    }

    fn start(&self, config: ProxyConfig, address: SocketAddr) -> Result<Proxy, Error> {
        let proxy = Proxy::start(config, address, self.seed, self.log.clone())?;
        self.lock().insert(proxy.name().to_owned(), proxy.clone());
        Ok(proxy)
    }

    fn refuse_known(&self, name: &str) -> Result<(), Error> {
        if self.lock().contains_key(name) { Err(Error::ProxyExists(name.to_owned())) } else { Ok(()) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Proxy>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn find(proxy: &str, listen: &str) -> Result<SocketAddr, Error> {
    address::resolve(listen).await.map_err(|why| Error::Address {
        proxy: proxy.to_owned(),
        address: listen.to_owned(),
        why,
    })
}
