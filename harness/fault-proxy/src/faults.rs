//! The toxics of a proxy as its connections see them.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use crate::{
    Toxic,
    decisions::{Decided, Dice, Identity},
    protocol::Plan,
};

/// What every connection of a proxy looks at, and wakes up for when it changes.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// Connections of an older epoch close at once.
    pub(crate) epoch: u64,
    pub(crate) toxics: Arc<[Arc<Installed>]>,
}

/// A toxic in place. A changed toxic is a new one of the same name.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) toxic: Toxic,
    pub(crate) name: Arc<str>,
    /// How often a fault on messages happened, over all connections.
    pub(crate) hits: AtomicU64,
}

impl Installed {
    pub(crate) fn new(toxic: Toxic) -> Arc<Self> {
        let name = toxic.name().into();
        Arc::new(Installed { toxic, name, hits: AtomicU64::new(0) })
    }
}

/// A toxic that a connection has met.
#[derive(Debug, Clone)]
pub(crate) struct Met {
    pub(crate) installed: Arc<Installed>,
    pub(crate) since: Instant,
    pub(crate) applies: bool,
    pub(crate) dice: Dice,
    /// What both directions know of messages that failed.
    pub(crate) plan: Plan,
}

/// The toxics that a connection has met and that are still in place, in their order.
#[derive(Debug, Default)]
pub(crate) struct Meetings {
    met: Vec<Met>,
}

impl Meetings {
    /// Looks at the toxics again: those that were there stay as they are, whatever happened to others.
    pub(crate) fn update(&mut self, toxics: &[Arc<Installed>], identity: &Identity, now: Instant) {
        let old = std::mem::take(&mut self.met);
        self.met = toxics
            .iter()
            .map(|installed| {
                let known = old.iter().find(|met| met.installed.name == installed.name);
                match known {
                    Some(met) if Arc::ptr_eq(&met.installed, installed) => met.clone(),
                    _ => meet(installed, identity, now, known.is_none()),
                }
            })
            .collect();
    }

    /// The toxics that apply to the connection.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Met> {
        self.met.iter().filter(|met| met.applies)
    }
}

fn meet(installed: &Arc<Installed>, identity: &Identity, now: Instant, is_new: bool) -> Met {
    let Toxic { stream, toxicity, .. } = installed.toxic;
    let dice = identity.dice(&installed.name, stream);
    let applies = toxicity >= 1.0 || dice.applies(toxicity);
    if toxicity < 1.0 && is_new {
        dice.note(0, || Decided::Applies(applies));
    }
    Met { installed: installed.clone(), since: now, applies, dice, plan: Plan::default() }
}
