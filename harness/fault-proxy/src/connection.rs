//! One client connection and its way to the upstream.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    Stream, Toxic, ToxicKind,
    link::{End, Link},
    proxy::{Setup, connect, fnv1a},
};

/// What a connection needs to know of its proxy.
pub(crate) struct Connection {
    pub(crate) seed: u64,
    pub(crate) setup: watch::Receiver<Setup>,
    pub(crate) counter: Arc<AtomicU64>,
}

impl Connection {
    pub(crate) async fn run(mut self, client: TcpStream, upstream: String) {
        let _counted = Counted::new(self.counter.clone());
        let epoch = self.setup.borrow().epoch;
        let server = tokio::select! {
            () = closed(self.setup.clone(), epoch) => return,
            server = connect(&upstream) => server,
        };
        let Ok(server) = server else { return };
        // Small requests must not wait for Nagle's algorithm on top of an injected delay.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (client_read, client_write) = client.into_split();
        let (server_read, server_write) = server.into_split();
        let mut up = Link::new(client_read, server_write, self.faults(Stream::Upstream));
        let mut down = Link::new(server_read, client_write, self.faults(Stream::Downstream));
        let end = tokio::select! {
            biased;
            () = closed(self.setup.clone(), epoch) => End::Closed,
            () = self.reset_due() => End::Reset,
            end = run_both(&mut up, &mut down) => end,
        };
        if end == End::Reset {
            up.reset();
            down.reset();
        }
    }

    fn faults(&self, stream: Stream) -> Faults {
        let jitter = ChaCha8Rng::seed_from_u64(self.seed ^ fnv1a(stream.as_str().as_bytes()));
        Faults { seed: self.seed, stream, setup: self.setup.clone(), jitter }
    }

    /// Waits until a `reset_peer` toxic, now or later, says that this connection is to be reset.
    async fn reset_due(&mut self) {
        let opened = Instant::now();
        loop {
            let toxics = self.setup.borrow_and_update().toxics.clone();
            let timeouts = toxics.iter().filter(|toxic| applies(toxic, self.seed)).filter_map(|toxic| {
                match toxic.kind {
                    ToxicKind::ResetPeer { timeout } => Some(timeout),
                    _ => None,
                }
            });
            match timeouts.min() {
                Some(Duration::ZERO) => return,
                Some(timeout) => tokio::select! {
                    () = sleep_until(later(opened, timeout)) => return,
                    changed = self.setup.changed() => if changed.is_err() { return std::future::pending().await },
                },
                None if self.setup.changed().await.is_err() => return std::future::pending().await,
                None => {}
            }
        }
    }
}

/// Runs both directions until both have finished, or one says that the connection is over.
async fn run_both(up: &mut Link, down: &mut Link) -> End {
    let (mut up, mut down) = (pin!(up.run()), pin!(down.run()));
    tokio::select! {
        end = &mut up => if end == End::Finished { down.await } else { end },
        end = &mut down => if end == End::Finished { up.await } else { end },
    }
}

/// `start + wait`, or a day from `start` when the sum would overflow the clock.
pub(crate) fn later(start: Instant, wait: Duration) -> Instant {
    const A_DAY: Duration = Duration::from_secs(86_400);
    start.checked_add(wait).unwrap_or(start + A_DAY)
}

/// The faults of one stream of one connection, as they are now.
pub(crate) struct Faults {
    seed: u64,
    stream: Stream,
    setup: watch::Receiver<Setup>,
    jitter: ChaCha8Rng,
}

impl Faults {
    /// Every kind of fault that applies to this stream now.
    pub(crate) fn now(&mut self) -> Vec<ToxicKind> {
        let setup = self.setup.borrow_and_update();
        let mine = setup.toxics.iter().filter(|toxic| toxic.stream == self.stream);
        mine.filter(|toxic| applies(toxic, self.seed)).map(|toxic| toxic.kind).collect()
    }

    /// Waits for the next change of the proxy's toxics.
    pub(crate) async fn changed(&mut self) {
        if self.setup.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// A deviation between `-jitter` and `+jitter`, as `latency + deviation`, never below zero.
    pub(crate) fn delay(&mut self, latency: Duration, jitter: Duration) -> Duration {
        if jitter.is_zero() {
            return latency;
        }
        let jitter = u64::try_from(jitter.as_micros()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4);
        let moved = Duration::from_micros(self.jitter.random_range(0..=2 * jitter));
        latency.saturating_add(moved).saturating_sub(Duration::from_micros(jitter))
    }
}

/// Whether a toxic applies to the connection with this seed: the same answer as often as it is asked.
fn applies(toxic: &Toxic, seed: u64) -> bool {
    if toxic.toxicity >= 1.0 {
        return true;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ fnv1a(toxic.name().as_bytes()));
    rng.random::<f64>() < toxic.toxicity
}

async fn closed(mut setup: watch::Receiver<Setup>, epoch: u64) {
    // An error means that the proxy is gone, which closes its connections too.
    let _ = setup.wait_for(|setup| setup.epoch != epoch).await;
}

struct Counted(Arc<AtomicU64>);

impl Counted {
    fn new(counter: Arc<AtomicU64>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Counted(counter)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
