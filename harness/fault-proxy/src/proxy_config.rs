//! What a proxy is made from, and what of it can change.

use std::collections::HashSet;

use crate::{
    Error, Toxic,
    limits::{self, MAX_TOXICS},
};

/// What a proxy is called, where it listens and where it leads.
#[derive(Debug, Clone)]
pub struct ProxyConfig {
    pub(crate) name: String,
    pub(crate) listen: String,
    pub(crate) upstream: String,
    pub(crate) enabled: bool,
    pub(crate) toxics: Vec<Toxic>,
}

impl ProxyConfig {
    /// A proxy on a free port of the loopback interface that leads to `upstream` (`host:port`).
    pub fn new(name: impl Into<String>, upstream: impl Into<String>) -> Self {
        ProxyConfig {
            name: name.into(),
            listen: "127.0.0.1:0".to_owned(),
            upstream: upstream.into(),
            enabled: true,
            toxics: Vec::new(),
        }
    }

    /// Listens on this address (`host:port`) instead; port 0 means any free one, and no host every interface.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = address.into();
        self
    }

    /// Starts the proxy disabled.
    pub fn disabled(mut self) -> Self {
        self.enabled = false;
        self
    }

    /// Gives the proxy a toxic from its first connection on.
    pub fn toxic(mut self, toxic: impl Into<Toxic>) -> Self {
        self.toxics.push(toxic.into());
        self
    }

    /// Checks all that can be told without the network.
    pub(crate) fn check(&self) -> Result<(), Error> {
        limits::check_name("the name of a proxy", &self.name)?;
        limits::check_address("the upstream of a proxy", &self.upstream)?;
        if !self.listen.is_empty() {
            limits::check_address("the listening address of a proxy", &self.listen)?;
        }
        let mut names = HashSet::new();
        for (at, toxic) in self.toxics.iter().enumerate() {
            toxic.validate()?;
            limits::check_name("the name of a toxic", &toxic.name())?;
            limits::check_count("toxics on a proxy", at, MAX_TOXICS)?;
            if !names.insert(toxic.name()) {
                return Err(Error::ToxicExists { proxy: self.name.clone(), toxic: toxic.name() });
            }
        }
        Ok(())
    }
}

/// What of a proxy shall be different; what is not named stays as it is.
#[derive(Debug, Clone, Default)]
pub struct ProxyChange {
    pub(crate) listen: Option<String>,
    pub(crate) upstream: Option<String>,
    pub(crate) enabled: Option<bool>,
}

impl ProxyChange {
    /// Listens on this address instead. Live connections are closed, toxics stay.
    pub fn listen(mut self, address: impl Into<String>) -> Self {
        self.listen = Some(address.into());
        self
    }

    /// Leads to another upstream. Live connections are closed, toxics stay.
    pub fn upstream(mut self, upstream: impl Into<String>) -> Self {
        self.upstream = Some(upstream.into());
        self
    }

    /// Enables or disables the proxy.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = Some(enabled);
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if let Some(upstream) = &self.upstream {
            limits::check_address("the upstream of a proxy", upstream)?;
        }
        match &self.listen {
            Some(listen) if !listen.is_empty() => {
                limits::check_address("the listening address of a proxy", listen)
            }
            _ => Ok(()),
        }
    }
}
