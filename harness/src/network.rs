//! Faults of a service's network, said as a sentence.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use seaworthy_fault_proxy::{Proxy, Stream, Toxic, ToxicKind};
use tokio::time::sleep;

#[cfg(feature = "toxiproxy")]
use crate::toxiproxy::ToxiproxyProxy;
use crate::{Error, Service};

/// Where faults of a network are set: the embedded proxy, or one of a Toxiproxy server.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Embedded(Proxy),
    #[cfg(feature = "toxiproxy")]
    Toxiproxy(ToxiproxyProxy),
}

/// The faults that the network to a service can have.
///
/// ```no_run
/// use std::time::Duration;
/// use seaworthy_harness::{Error, Stack};
///
/// # async fn example(stack: Stack) -> Result<(), Error> {
/// let ms = Duration::from_millis;
/// // For three seconds; sooner if the guard is dropped, as it is when the test panics.
/// let slow = stack.postgres().faults().latency(ms(200)).jitter(ms(50)).for_secs(3).await?;
/// drop(slow);
///
/// let away = stack.redis().faults().down().inject().await?;
/// away.heal().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Faults {
    service: String,
    target: Option<Target>,
}

impl Service {
    /// The faults that the network to this service can have. What is not listed there is a [`Toxic`], and goes through
    /// [`Faults::toxic`].
    pub fn faults(&self) -> Faults {
        Faults { service: self.name().to_owned(), target: self.proxy().cloned().map(Target::Embedded) }
    }
}

impl Faults {
    pub(crate) fn of(service: String, target: Target) -> Self {
        Faults { service, target: Some(target) }
    }

    /// Answers take longer.
    pub fn latency(self, latency: Duration) -> Sentence {
        self.toxic(Toxic::latency(latency))
    }

    /// Answers come at this many kilobytes (1000 bytes) a second; 0 stalls them.
    pub fn bandwidth(self, kilobytes_per_second: u64) -> Sentence {
        self.toxic(Toxic::bandwidth(kilobytes_per_second))
    }

    /// Answers are swallowed, and the connection closes after this time; zero means never.
    pub fn timeout(self, timeout: Duration) -> Sentence {
        self.toxic(Toxic::timeout(timeout))
    }

    /// Each connection ends after this many bytes of answers.
    pub fn limit_data(self, bytes: u64) -> Sentence {
        self.toxic(Toxic::limit_data(bytes))
    }

    /// Connections close later than they are closed.
    pub fn slow_close(self, delay: Duration) -> Sentence {
        self.toxic(Toxic::slow_close(delay))
    }

    /// Connections are reset (TCP RST): the live ones and the new ones.
    pub fn reset(self) -> Sentence {
        self.toxic(Toxic::reset_peer())
    }

    /// Any toxic of the fault proxy.
    pub fn toxic(self, toxic: impl Into<Toxic>) -> Sentence {
        Sentence { faults: self, what: What::Toxic(toxic.into()) }
    }

    /// Connections are refused, and the live ones are closed.
    pub fn down(self) -> Sentence {
        Sentence { faults: self, what: What::Down }
    }
}

/// A fault that is being described; nothing happens before [`inject`](Sentence::inject) or [`for_time`](Sentence::for_time).
#[derive(Debug, Clone)]
#[must_use = "nothing happens before it is injected"]
pub struct Sentence {
    faults: Faults,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Toxic(Toxic),
    Down,
}

impl Sentence {
    /// A latency varies by up to this much. Other faults have no jitter, and stay as they are.
    pub fn jitter(self, jitter: Duration) -> Self {
        self.change(|toxic| match *toxic.kind() {
            ToxicKind::Latency { latency, .. } => {
                let (stream, share) = (toxic.stream(), toxic.share());
                Toxic::new(ToxicKind::Latency { latency, jitter }).on(stream).toxicity(share)
            }
            _ => toxic,
        })
    }

    /// It is the requests that have the fault, not the answers.
    pub fn on_requests(self) -> Self {
        self.change(|toxic| toxic.on(Stream::Upstream))
    }

    /// Only this share of the connections has it, between 0 and 1; which ones, the seed decides.
    pub fn toxicity(self, share: f64) -> Self {
        self.change(|toxic| toxic.toxicity(share))
    }

    fn change(mut self, change: impl FnOnce(Toxic) -> Toxic) -> Self {
        self.what = match self.what {
            What::Toxic(toxic) => What::Toxic(change(toxic)),
            What::Down => What::Down,
        };
        self
    }

    /// Injects the fault until it is healed, or what this returns is dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a service behind no proxy, [`Error::Proxy`] when the proxy refuses, [`Error::Toxiproxy`] when
    /// a Toxiproxy server does, or says one thing and does another. A fault that could not be set is an error, never silence.
    pub async fn inject(self) -> Result<NetworkFault, Error> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let Sentence { faults: Faults { service, target }, what } = self;
        let target = target.ok_or_else(|| Error::Unsupported {
            fault: "a fault of the network",
            service: service.clone(),
            why: "it does not listen, so it is behind no proxy".to_owned(),
        })?;
        let on = match (what, &target) {
            (What::Toxic(toxic), Target::Embedded(proxy)) => {
                // A name of its own, so that several faults of a kind can be on at once.
                let name = format!("seaworthy_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
                proxy.add_toxic(toxic.named(&name))?;
                On::Toxic(name)
            }
            (What::Down, Target::Embedded(proxy)) => {
                proxy.disable().await;
                On::Down
            }
            #[cfg(feature = "toxiproxy")]
            (What::Toxic(toxic), Target::Toxiproxy(proxy)) => On::Toxic(proxy.add(toxic).await?),
            #[cfg(feature = "toxiproxy")]
            (What::Down, Target::Toxiproxy(proxy)) => {
                proxy.set_enabled(false).await?;
                On::Down
            }
        };
        Ok(NetworkFault { state: Arc::new(State { target, on, healed: AtomicBool::new(false) }) })
    }

    /// Injects the fault, and heals it after this time.
    ///
    /// # Errors
    ///
    /// As [`inject`](Sentence::inject).
    pub async fn for_time(self, time: Duration) -> Result<NetworkFault, Error> {
        let fault = self.inject().await?;
        let state = Arc::downgrade(&fault.state);
        tokio::spawn(async move {
            sleep(time).await;
            if let Some(state) = state.upgrade() {
                // Nobody waits for it; a fault that can't be healed is found by the next one.
                let _ = state.heal().await;
            }
        });
        Ok(fault)
    }

    /// [`for_time`](Sentence::for_time), in seconds.
    ///
    /// # Errors
    ///
    /// As [`inject`](Sentence::inject).
    pub fn for_secs(self, seconds: u64) -> impl Future<Output = Result<NetworkFault, Error>> {
        self.for_time(Duration::from_secs(seconds))
    }
}

/// A fault of the network that is on. It heals when this is dropped, also by a panic.
#[derive(Debug)]
#[must_use = "the fault heals when this is dropped"]
pub struct NetworkFault {
    state: Arc<State>,
}

struct State {
    target: Target,
    on: On,
    healed: AtomicBool,
}

#[derive(Debug)]
enum On {
    Toxic(String),
    Down,
}

impl NetworkFault {
    /// Takes the fault away.
    ///
    /// # Errors
    ///
    /// When the proxy does not take it away.
    pub async fn heal(self) -> Result<(), Error> {
        self.state.heal().await
    }

    /// Whether it has been taken away, by [`heal`](NetworkFault::heal) or since its time was over.
    pub fn is_healed(&self) -> bool {
        self.state.healed.load(Ordering::Acquire)
    }
}

impl State {
    async fn heal(&self) -> Result<(), Error> {
        if self.healed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        match &self.target {
            Target::Embedded(proxy) => self.heal_embedded(proxy),
            #[cfg(feature = "toxiproxy")]
            Target::Toxiproxy(proxy) => match &self.on {
                On::Toxic(name) => proxy.remove(name).await,
                On::Down => proxy.set_enabled(true).await,
            },
        }
    }

    fn heal_embedded(&self, proxy: &Proxy) -> Result<(), Error> {
        match &self.on {
            On::Toxic(name) => proxy.remove_toxic(name)?,
            On::Down => proxy.enable()?,
        }
        Ok(())
    }
}

impl Drop for NetworkFault {
    fn drop(&mut self) {
        if self.state.healed.swap(true, Ordering::AcqRel) {
            return;
        }
        // There is nobody to tell.
        match &self.state.target {
            Target::Embedded(proxy) => drop(self.state.heal_embedded(proxy)),
            #[cfg(feature = "toxiproxy")]
            Target::Toxiproxy(proxy) => match &self.state.on {
                On::Toxic(name) => proxy.remove_now(name),
                On::Down => proxy.enable_now(),
            },
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NetworkFault")
            .field("on", &self.on)
            .field("healed", &self.healed)
            .finish_non_exhaustive()
    }
}
