//! One connection: how many there may be, what is served on it, and how it ends.

use std::{
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    extract::ConnectInfo,
    http::{HeaderValue, Request, StatusCode, header::CONNECTION},
};
use hyper::{body::Incoming, server::conn::http1, service::Service as _};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
};
use tracing::{debug, trace};

use super::draining::{Draining, Phase};

/// The places for connections: as many as may be open at once.
#[derive(Debug, Clone)]
pub(super) struct Places {
    taken: Arc<watch::Sender<usize>>,
    limit: usize,
}

impl Places {
    pub(super) fn new(limit: usize) -> Self {
        Places { taken: Arc::new(watch::Sender::new(0)), limit }
    }

    /// Waits until there is room for one more.
    pub(super) async fn free(&self) {
        // We hold the sender, so the wait can't fail.
        let _ = self.taken.subscribe().wait_for(|taken| *taken < self.limit).await;
    }

    /// Waits until there is no connection.
    pub(super) async fn empty(&self) {
        let _ = self.taken.subscribe().wait_for(|taken| *taken == 0).await;
    }

    pub(super) fn taken(&self) -> usize {
        *self.taken.borrow()
    }

    fn take(&self) -> Place {
        self.taken.send_modify(|taken| *taken += 1);
        Place(self.taken.clone())
    }
}

#[derive(Debug)]
struct Place(Arc<watch::Sender<usize>>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.send_modify(|taken| *taken -= 1);
    }
}

/// Serves one connection to its end. The place is free again when the connection is closed, which for an upgraded one is later than the
/// end of this.
pub(super) fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    draining: &Draining,
    places: &Places,
    header_timeout: Duration,
) -> impl Future<Output = ()> + Send + 'static {
    let _ = stream.set_nodelay(true);
    // Counted from here, not from when the task first runs, so that the limit holds and a drain sees it.
    let connection = Connection {
        stream,
        cut_for_reads: Cut::new(draining),
        cut_for_writes: Cut::new(draining),
        _place: places.take(),
    };
    run(connection, peer, router, draining.clone(), header_timeout)
}

async fn run(
    connection: Connection,
    peer: SocketAddr,
    router: Router,
    draining: Draining,
    header_timeout: Duration,
) {
    let (closing, cut) = (draining.reached(Phase::Closing), draining.reached(Phase::Cut));
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(draining.clone());
        let (answer, draining) = (router.call(request), draining.clone());
        async move {
            let mut response = answer.await?;
            if draining.has_begun() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(header_timeout);
    let mut served = pin!(http.serve_connection(TokioIo::new(connection), service).with_upgrades());
    tokio::select! {
        ended = served.as_mut() => return report(ended),
        () = closing => served.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        ended = served => report(ended),
        () = cut => {}
    }
}

fn report(ended: hyper::Result<()>) {
    match ended {
        Err(error) if error.is_timeout() => debug!(%error, "a connection sent no request in time"),
        Err(error) => trace!(%error, "a connection broke"),
        Ok(()) => {}
    }
}

/// A stream that can be cut, also when it was upgraded and belongs to a handler that does not listen.
struct Connection {
    stream: TcpStream,
    // One each, since the two directions may be waited for by different tasks.
    cut_for_reads: Cut,
    cut_for_writes: Cut,
    _place: Place,
}

struct Cut(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Cut {
    fn new(draining: &Draining) -> Self {
        Cut(Some(Box::pin(draining.reached(Phase::Cut))))
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.0.as_mut().is_some_and(|cut| cut.as_mut().poll(context).is_pending()) {
            return Ok(());
        }
        self.0 = None;
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the server's time to drain is over"))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.cut_for_reads.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.cut_for_writes.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.cut_for_writes.check(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
