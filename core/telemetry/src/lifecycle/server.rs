//! A server that drains before it ends.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    time::Duration,
};

use axum::Router;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::{info, warn};

use super::{
    Draining, Error,
    connection::{self, Places},
    draining::Phase,
    listener::Listener,
    notify,
};

/// A pause after the system had no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long connections that are cut get to notice.
const CUT_GRACE: Duration = Duration::from_millis(500);

/// An HTTP/1.1 server for a router, which ends without losing a request; see [the module](super) for how.
///
/// Handlers can take [`ConnectInfo<SocketAddr>`](axum::extract::ConnectInfo) and [`Draining`].
#[must_use]
pub struct Server {
    router: Router,
    address: String,
    listener: Option<Listener>,
    draining: Draining,
    on_drain: Vec<Box<dyn FnOnce() + Send>>,
    max_connections: usize,
    header_timeout: Duration,
    linger: Duration,
    deadline: Duration,
}

/// What became of the connections that were open when the server was told to stop, or that came after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Those that ended by themselves, or when there was nothing left to answer.
    pub finished: usize,
    /// Those that were still busy at the deadline.
    pub cut: usize,
}

impl Server {
    /// A server that listens on 127.0.0.1:8080 unless a service manager hands a socket over.
    pub fn new(router: Router) -> Self {
        Server {
            router,
            address: "127.0.0.1:8080".to_owned(),
            listener: None,
            draining: Draining::new(),
            on_drain: Vec::new(),
            max_connections: 10_000,
            header_timeout: Duration::from_secs(30),
            linger: Duration::from_millis(300),
            deadline: Duration::from_secs(10),
        }
    }

    /// Where to listen, `host:port`; unused when a service manager hands a socket over.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = address.into();
        self
    }

    /// Listens on this socket, which others hold too: it stays open when this server ends.
    pub fn listener(mut self, socket: TcpListener) -> Self {
        self.listener = Some(Listener { socket, shared: true });
        self
    }

    /// Says on this [`Draining`] when the server begins to drain.
    pub fn draining(mut self, draining: Draining) -> Self {
        self.draining = draining;
        self
    }

    /// Runs first when the server is told to stop, for example to turn its readiness red. It must not block.
    pub fn on_drain(mut self, then: impl FnOnce() + Send + 'static) -> Self {
        self.on_drain.push(Box::new(then));
        self
    }

    /// Connections that may be open at once (default 10,000, at least 1); more wait until one is closed.
    pub fn max_connections(mut self, limit: usize) -> Self {
        self.max_connections = limit.max(1);
        self
    }

    /// How long a client may take to send a request's head, counted from when it could begin (default 30 s). An idle connection is closed
    /// after this time too: behind a load balancer, choose more than the time after which that one closes idle connections.
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// How long the server goes on answering, with `Connection: close`, once it was told to stop (default 300 ms): longer than the pause
    /// between two requests of a busy client.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// How long after it was told to stop what is still running is cut (default 10 s).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Takes over the socket of a service manager, or listens itself.
    ///
    /// # Errors
    ///
    /// [`Error::AddressInUse`], [`Error::Listen`], [`Error::HandedOver`].
    pub async fn bind(mut self) -> Result<Bound, Error> {
        let Listener { socket, shared } = match self.listener.take() {
            Some(listener) => listener,
            None => Listener::open(&self.address).await?,
        };
        let fail = |source| Error::Listen { address: self.address.clone(), source };
        socket.set_nonblocking(true).map_err(fail)?;
        let local = socket.local_addr().map_err(fail)?;
        let socket = tokio::net::TcpListener::from_std(socket).map_err(fail)?;
        Ok(Bound { places: Places::new(self.max_connections), server: self, socket, local, shared })
    }

    /// Listens and serves until `stop` comes, then drains.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<Drained, Error> {
        Ok(self.bind().await?.serve(stop).await)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

/// A server that listens.
#[must_use]
#[derive(Debug)]
pub struct Bound {
    server: Server,
    socket: tokio::net::TcpListener,
    local: SocketAddr,
    shared: bool,
    places: Places,
}

impl Bound {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Says that it is ready to whoever started it, serves until `stop` comes, and drains.
    pub async fn serve(mut self, stop: impl Future<Output = ()>) -> Drained {
        if let Err(error) = notify::tell("READY=1") {
            warn!(%error, "the service manager can't be told that the server is ready");
        }
        let mut stop = pin!(stop);
        tokio::select! {
            never = self.accept() => match never {},
            () = &mut stop => {}
        }
        self.drain().await
    }

    async fn drain(mut self) -> Drained {
        let told = Instant::now();
        let _ = notify::tell("STOPPING=1");
        self.server.on_drain.drain(..).for_each(|then| then());
        let draining = self.server.draining.clone();
        draining.advance(Phase::Lingering);
        let mut all = self.places.taken();
        let deadline = told + self.server.deadline;
        let lingers_until = (told + self.server.linger).min(deadline);
        let places = self.places.clone();
        if self.shared {
            // Whoever else holds the socket accepts what comes from now on.
            drop(self.socket);
            let _ = timeout_at(lingers_until, places.empty()).await;
        } else {
            // Nobody else does: what knocks before the news is everywhere is still answered.
            let accepted = self.accept_until(lingers_until).await;
            all += accepted;
            drop(self.socket);
        }
        draining.advance(Phase::Closing);
        let _ = timeout_at(deadline, places.empty()).await;
        let cut = places.taken();
        draining.advance(Phase::Cut);
        let _ = timeout(CUT_GRACE, places.empty()).await;
        let drained = Drained { finished: all.saturating_sub(cut), cut };
        info!(
            finished = drained.finished,
            cut,
            took_ms = told.elapsed().as_millis(),
            "the server is drained"
        );
        drained
    }

    /// Accepts for ever.
    async fn accept(&mut self) -> std::convert::Infallible {
        loop {
            self.accept_one().await;
        }
    }

    async fn accept_until(&mut self, end: Instant) -> usize {
        let mut accepted = 0;
        let mut end = pin!(sleep_until(end));
        loop {
            tokio::select! {
                taken = self.accept_one() => accepted += usize::from(taken),
                () = &mut end => return accepted,
            }
        }
    }

    /// Whether a connection was accepted. Nothing is lost when this is dropped while it waits.
    async fn accept_one(&mut self) -> bool {
        self.places.free().await;
        match self.socket.accept().await {
            Ok((stream, peer)) => {
                let Server { router, draining, header_timeout, .. } = &self.server;
                let (router, timeout) = (router.clone(), *header_timeout);
                tokio::spawn(connection::serve(stream, peer, router, draining, &self.places, timeout));
                true
            }
            // The client gave up before its turn came.
            Err(error) if is_of_the_connection(&error) => false,
            // Most often too many open files, which others will close.
            Err(error) => {
                warn!(%error, "no connection can be accepted for now");
                sleep(ACCEPT_PAUSE).await;
                false
            }
        }
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
