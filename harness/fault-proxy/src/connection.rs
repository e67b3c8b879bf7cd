//! One client connection and its way to the upstream.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    Stream, ToxicKind,
    faults::{Faults, Setup, applies, later},
    link::{End, Link},
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
        let mut up = Link::new(
            client_read,
            server_write,
            Faults::new(self.seed, Stream::Upstream, self.setup.clone()),
        );
        let mut down = Link::new(
            server_read,
            client_write,
            Faults::new(self.seed, Stream::Downstream, self.setup.clone()),
        );
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

async fn connect(upstream: &str) -> std::io::Result<TcpStream> {
    const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
    timeout(CONNECT_DEADLINE, TcpStream::connect(upstream)).await?
}
