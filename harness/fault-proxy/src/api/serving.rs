//! Serving the routes: so many connections, each for so long.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::{JoinHandle, JoinSet},
};

use super::settings::Settings;

/// A pause after `accept` failed, for example because no file handle was left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Connections beyond the limit that are told so at a time; the rest are closed.
const TURNED_AWAY: usize = 64;
/// How long one of them may take to hear it.
const TURNING_AWAY: Duration = Duration::from_secs(1);
/// What it hears.
const BUSY: &str = "{\"error\":\"too many open connections to the API\",\"status\":503}\n";

/// A running API. Dropping it stops the API; the proxies stay.
#[derive(Debug)]
pub struct Api {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl Api {
    /// The address that the API listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening, and waits until the requests under way are answered, for so long at most.
    pub async fn shut_down(mut self, patience: Duration) {
        self.stop.send_replace(true);
        let _ = tokio::time::timeout(patience, &mut self.serving).await;
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub(super) async fn start(router: Router, address: SocketAddr, settings: &Settings) -> io::Result<Api> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = watch::channel(false);
    let places = Arc::new(Semaphore::new(settings.max_connections));
    let serving = tokio::spawn(accept_all(listener, router, places, settings.header_timeout, stopped));
    Ok(Api { address, stop, serving })
}

async fn accept_all(
    listener: TcpListener,
    router: Router,
    places: Arc<Semaphore>,
    header_timeout: Duration,
    mut stopped: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    let refusals = Arc::new(Semaphore::new(TURNED_AWAY));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => break,
            Some(_) = connections.join_next() => continue,
        };
        let Ok((socket, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if let Ok(place) = places.clone().try_acquire_owned() {
            let _ = socket.set_nodelay(true);
            connections.spawn(serve(socket, router.clone(), header_timeout, stopped.clone(), place));
        } else if let Ok(place) = refusals.clone().try_acquire_owned() {
            connections.spawn(async move {
                let _place = place;
                let _ = tokio::time::timeout(TURNING_AWAY, turn_away(socket)).await;
            });
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(
    socket: TcpStream,
    router: Router,
    header_timeout: Duration,
    mut stopped: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stopped| *stopped) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Says so at once: a client that waits for a place would take it for a hanging API.
async fn turn_away(mut socket: TcpStream) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{BUSY}",
        BUSY.len()
    );
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await?;
    // Closing with bytes unread would reset the connection, and the client would not see the answer.
    while socket.read(&mut [0; 1024]).await? > 0 {}
    Ok(())
}
