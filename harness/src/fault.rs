//! Faults as data, and their injection into a service.

use std::time::Duration;

use seaworthy_fault_proxy::{Stream, Toxic, ToxicKind};
use serde::{Deserialize, Serialize};

use crate::{Error, Service};

/// What is done to a service. One vocabulary for the network, the process and the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Fault {
    /// Every answer takes longer by `latency`, plus or minus up to `jitter`.
    Latency {
        /// The mean delay.
        latency: Duration,
        /// The largest deviation from it.
        jitter: Duration,
    },
    /// Connections are refused, and the live ones are closed.
    Down,
    /// Every connection is reset (TCP RST), the live ones and the new ones.
    Reset,
    /// Every process of the service is killed (SIGKILL). Healing starts it again.
    Kill,
    /// Every process of the service stops in its tracks (SIGSTOP).
    Pause,
    /// The disk of the service's data is full.
    DiskFull,
    /// The service restarts in its own way, told by SIGHUP, and is to lose nothing: no fault, but a moment at which services fail. It is over
    /// when the service says that its new process has taken over.
    Restart,
}

impl Fault {
    /// The fault in a word or two, for reports.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Latency { .. } => "latency",
            Fault::Down => "down",
            Fault::Reset => "reset",
            Fault::Kill => "kill -9",
            Fault::Pause => "pause",
            Fault::DiskFull => "disk full",
            Fault::Restart => "restart",
        }
    }
}

/// A fault that is on. [`heal`](Injected::heal) takes it away and waits until the service answers again; a drop takes
/// a network fault or a pause away at once, and leaves a killed service dead and a full disk full.
#[derive(Debug)]
#[must_use = "the fault heals when this is dropped"]
pub struct Injected {
    service: Service,
    fault: Fault,
    healed: bool,
}

const LATENCY: &str = "seaworthy_latency";
const RESET: &str = "seaworthy_reset";

impl Service {
    /// Injects a fault.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] when the provider can't do that, [`Error::Proxy`] when the same network fault is on
    /// already. A fault that could not be set is an error, never silence.
    pub async fn inject(&self, fault: Fault) -> Result<Injected, Error> {
        match fault {
            Fault::Latency { latency, jitter } => {
                let toxic = Toxic::new(ToxicKind::Latency { latency, jitter });
                self.network_proxy(fault)?.add_toxic(toxic.named(LATENCY).on(Stream::Downstream))?;
            }
            Fault::Reset => self.network_proxy(fault)?.add_toxic(Toxic::reset_peer().named(RESET))?,
            Fault::Down => self.network_proxy(fault)?.disable().await,
            Fault::Kill => self.instance().kill().await?,
            Fault::Pause => self.instance().pause().await?,
            Fault::DiskFull => self.instance().fill_disk().await?,
            Fault::Restart => self.restart().await?,
        }
        Ok(Injected { service: self.clone(), fault, healed: false })
    }

    fn network_proxy(&self, fault: Fault) -> Result<&seaworthy_fault_proxy::Proxy, Error> {
        self.proxy().ok_or_else(|| Error::Unsupported {
            fault: fault.name(),
            service: self.name().to_owned(),
            why: "it does not listen, so it is behind no proxy".to_owned(),
        })
    }
}

impl Injected {
    /// The fault.
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// The name of the service that has it.
    pub fn target(&self) -> &str {
        self.service.name()
    }

    /// Takes the fault away. A network fault is gone at once; after a fault of the process or the disk, this starts the service
    /// again if it was killed, and returns once it is ready.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] or [`Error::Start`] when the service does not become ready again.
    pub async fn heal(mut self) -> Result<(), Error> {
        self.healed = true;
        match self.fault {
            // Whether the service itself is up is another fault's business, which may be on at the same time.
            Fault::Latency { .. } | Fault::Down | Fault::Reset => return self.heal_now(),
            // It was over when it had been injected.
            Fault::Restart => return Ok(()),
            Fault::Pause => self.heal_now()?,
            Fault::Kill => self.service.instance().start_again().await?,
            Fault::DiskFull => self.service.instance().free_disk().await?,
        }
        self.service.wait_until_ready().await
    }

    fn heal_now(&self) -> Result<(), Error> {
        let proxy = self.service.proxy();
        match (self.fault, proxy) {
            (Fault::Latency { .. }, Some(proxy)) => Ok(proxy.remove_toxic(LATENCY)?),
            (Fault::Reset, Some(proxy)) => Ok(proxy.remove_toxic(RESET)?),
            (Fault::Down, Some(proxy)) => Ok(proxy.enable()?),
            (Fault::Pause, _) => self.service.instance().resume(),
            _ => Ok(()),
        }
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        if !self.healed {
            // There is nobody to tell; the stack's end takes every fault along.
            let _ = self.heal_now();
        }
    }
}
