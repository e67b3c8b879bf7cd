//! Accepting clients and handing each to a thread.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
};

use crate::{
    DecisionLog, Recording, Stream, Tap, ToxicKind, Traffic,
    address::bind,
    connection::{Connection, Live},
    decisions::Identity,
    engine::Engine,
    faults::{Meetings, Setup},
    recording::{Listening, Log},
    traffic::Counters,
};

/// Connections that wait to be accepted; the rest are refused by the kernel.
const BACKLOG: u32 = 1024;
/// A pause after `accept` failed, for example because no file handle was left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Where connections lead, and what they share.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    seed: u64,
    log: DecisionLog,
    upstream: Mutex<Arc<str>>,
    /// The number of the next connection. It goes on when the proxy is disabled and enabled again.
    next: AtomicU64,
    live: Arc<AtomicU64>,
    traffic: Arc<Counters>,
    recordings: Mutex<Vec<Weak<Log>>>,
}

impl Route {
    pub(crate) fn new(name: &str, upstream: &str, seed: u64, log: DecisionLog) -> Self {
        Route {
            name: name.into(),
            seed,
            log,
            upstream: Mutex::new(upstream.into()),
            next: AtomicU64::new(0),
            live: Arc::default(),
            traffic: Arc::default(),
            recordings: Mutex::default(),
        }
    }

    pub(crate) fn upstream(&self) -> Arc<str> {
        self.upstream.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn lead_to(&self, upstream: &str) {
        *self.upstream.lock().unwrap_or_else(PoisonError::into_inner) = upstream.into();
    }

    pub(crate) fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    pub(crate) fn traffic(&self, stream: Stream) -> Traffic {
        self.traffic.of(stream).read()
    }

    /// Has every connection from now on listened to, until the recording is dropped.
    pub(crate) fn record(&self, tap: Tap) -> Recording {
        let recording = Recording::start(&self.name, tap);
        let mut recordings = self.recordings();
        recordings.retain(|log| log.strong_count() > 0);
        recordings.push(recording.log());
        recording
    }

    fn recordings(&self) -> MutexGuard<'_, Vec<Weak<Log>>> {
        self.recordings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self, setup: &watch::Receiver<Setup>) -> Connection {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let identity =
            Identity { seed: self.seed, proxy: self.name.clone(), connection: number, log: self.log.clone() };
        Connection {
            identity,
            setup: setup.clone(),
            traffic: self.traffic.clone(),
            _live: Live::new(self.live.clone()),
            epoch: setup.borrow().epoch,
            meetings: Meetings::default(),
            taps: Listening::new(number, self.recordings().iter().filter_map(Weak::upgrade)),
        }
    }
}

/// Turns a bound socket into a listening one. Needs the runtime of the thread that will accept.
pub(crate) fn listen(socket: TcpSocket) -> io::Result<TcpListener> {
    socket.listen(BACKLOG)
}

/// Accepts clients for as long as the proxy is enabled, and closes the port while a toxic refuses everybody.
pub(crate) async fn accept_all(route: Arc<Route>, listener: TcpListener, mut setup: watch::Receiver<Setup>) {
    let Ok(address) = listener.local_addr() else { return };
    let mut listener = Some(listener);
    loop {
        if refuses_all(&mut setup) {
            drop(listener.take());
            let _reserved = bind(address);
            if setup.wait_for(|setup| !setup.refuses_all()).await.is_err() {
                return;
            }
            continue;
        }
        let open = match listener.take() {
            Some(open) => Ok(open),
            None => bind(address).and_then(listen),
        };
        match open {
            Ok(open) => {
                accept_while_open(&route, &open, &mut setup).await;
                listener = Some(open);
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
        if setup.has_changed().is_err() {
            return;
        }
    }
}

async fn accept_while_open(route: &Arc<Route>, listener: &TcpListener, setup: &mut watch::Receiver<Setup>) {
    let Ok(engine) = Engine::get() else { return };
    let connections = setup.clone();
    loop {
        let accepted = tokio::select! {
            biased;
            changed = setup.changed() => {
                if changed.is_err() || refuses_all(setup) {
                    return;
                }
                continue;
            }
            accepted = listener.accept() => accepted.and_then(|(client, _)| client.into_std()),
        };
        match accepted {
            // The thread that moves its bytes is another one.
            Ok(client) => {
                let connection = route.connection(&connections);
                engine.next().spawn(connection.run(client, route.upstream()));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

fn refuses_all(setup: &mut watch::Receiver<Setup>) -> bool {
    setup.borrow_and_update().refuses_all()
}

impl Setup {
    fn refuses_all(&self) -> bool {
        self.toxics
            .iter()
            .any(|installed| installed.toxic.kind == ToxicKind::Refuse && installed.toxic.toxicity >= 1.0)
    }
}
