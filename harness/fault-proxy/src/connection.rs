//! One client connection and its way to the upstream: one task, from the first byte to the last.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWrite, Interest},
    net::TcpStream,
    sync::watch,
    time::timeout,
};

use crate::{
    Stream, ToxicKind,
    alarm::Alarm,
    decisions::Identity,
    faults::{Meetings, Met, Setup},
    link::{Link, Sockets},
    queue::End,
    recording::Listening,
    stages::{LINGER, later},
    traffic::Counters,
};

/// How long the upstream has to accept a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// How long the receiver of a cut connection has to act on what it got.
const CUT_GRACE: Duration = Duration::from_secs(10);

/// What a connection needs to know of its proxy.
pub(crate) struct Connection {
    pub(crate) identity: Identity,
    pub(crate) setup: watch::Receiver<Setup>,
    pub(crate) traffic: Arc<Counters>,
    pub(crate) _live: Live,
    pub(crate) epoch: u64,
    pub(crate) meetings: Meetings,
    pub(crate) taps: Listening,
}

/// Why a connection stops what it was doing.
enum Event {
    Setup,
    Ended(End),
    /// The sender of this stream vanishes.
    Vanishes(Stream),
}

impl Connection {
    pub(crate) async fn run(mut self, client: std::net::TcpStream, upstream: Arc<str>) {
        let Ok(client) = TcpStream::from_std(client) else { return };
        if self.look_again().is_err() {
            return;
        }
        if self.has(|kind| *kind == ToxicKind::Refuse) {
            reset(client);
            return;
        }
        if self.has(|kind| *kind == ToxicKind::Blackhole) {
            return Box::pin(self.hold(client)).await;
        }
        match self.reach(&upstream).await {
            Ok(server) => Box::pin(self.carry(client, server)).await,
            Err(End::Reset) => reset(client),
            Err(_) => {}
        }
    }

    /// Connects to the upstream, unless the connection is closed or reset in the meantime.
    async fn reach(&mut self, upstream: &str) -> Result<TcpStream, End> {
        let mut connecting = Box::pin(timeout(CONNECT_DEADLINE, TcpStream::connect(upstream)));
        loop {
            let due = self.reset_due();
            let mut setup = self.setup.clone();
            tokio::select! {
                biased;
                _ = setup.changed() => self.look_again()?,
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                    return Err(End::Reset);
                }
                connected = &mut connecting => {
                    return connected.map_err(io::Error::from).flatten().map_err(|_| End::Closed);
                }
            }
        }
    }

    /// Moves bytes both ways until the connection is over.
    async fn carry(mut self, client: TcpStream, server: TcpStream) {
        // Small requests must not wait for Nagle's algorithm on top of an injected delay.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let mut pair = Pair::new(client, server, self.traffic.clone(), std::mem::take(&mut self.taps));
        loop {
            pair.rebuild(&self.meetings);
            let (reset_due, vanish_due) = (self.reset_due(), self.vanish_due());
            match pair.next_event(&self.setup, reset_due, vanish_due).await {
                Event::Setup if self.look_again().is_ok() => {}
                Event::Setup => return,
                Event::Vanishes(sender) => return Box::pin(self.abandon(pair, sender)).await,
                Event::Ended(End::Reset) => {
                    reset(pair.client);
                    reset(pair.server);
                    return;
                }
                Event::Ended(End::Cut) => return Box::pin(pair.cut()).await,
                Event::Ended(_) => return,
            }
        }
    }

    /// Takes over the toxics as they are now; an error when the connection is to be closed.
    fn look_again(&mut self) -> Result<(), End> {
        if self.setup.has_changed().is_err() {
            return Err(End::Closed);
        }
        let setup = self.setup.borrow_and_update();
        if setup.epoch != self.epoch {
            return Err(End::Closed);
        }
        self.meetings.update(&setup.toxics, &self.identity, Instant::now());
        Ok(())
    }

    fn has(&self, is_it: impl Fn(&ToxicKind) -> bool) -> bool {
        self.meetings.iter().any(|met| is_it(&met.installed.toxic.kind))
    }

    fn reset_due(&self) -> Option<Instant> {
        let dues = self.meetings.iter().filter_map(|met| match met.installed.toxic.kind {
            ToxicKind::ResetPeer { timeout } => Some(later(met.since, timeout)),
            _ => None,
        });
        dues.min()
    }

    fn vanish_due(&self) -> Option<(Instant, Stream)> {
        let due = |met: &Met| match met.installed.toxic.kind {
            ToxicKind::HalfOpen { timeout } => Some((later(met.since, timeout), met.installed.toxic.stream)),
            _ => None,
        };
        self.meetings.iter().filter_map(due).min_by_key(|&(due, _)| due)
    }

    /// Keeps a client that reaches nobody: swallows what it sends, until the blackhole is gone or the client gave up.
    async fn hold(mut self, mut client: TcpStream) {
        let mut buffer = [0; 512];
        let mut lets_go_at: Option<tokio::time::Instant> = None;
        while self.has(|kind| *kind == ToxicKind::Blackhole) {
            let mut setup = self.setup.clone();
            let reset_due = self.reset_due();
            tokio::select! {
                biased;
                _ = setup.changed() => if self.look_again().is_err() { return },
                () = sleep_until(reset_due.map(Into::into)) => return reset(client),
                () = sleep_until(lets_go_at) => return,
                read = client.read(&mut buffer), if lets_go_at.is_none() => match read {
                    Ok(0) => lets_go_at = Some(tokio::time::Instant::now() + LINGER),
                    Err(_) => return,
                    Ok(_) => {}
                },
            }
        }
    }

    /// The sender of a stream is gone, and the receiver is not told: nothing is sent to it, and nothing it sends is read.
    async fn abandon(mut self, pair: Pair, sender: Stream) {
        let Pair { client, server, taps, .. } = pair;
        drop(taps);
        let (gone, left) = match sender {
            Stream::Upstream => (client, server),
            Stream::Downstream => (server, client),
        };
        reset(gone);
        while self.has(|kind| matches!(kind, ToxicKind::HalfOpen { .. })) {
            let mut setup = self.setup.clone();
            let reset_due = self.reset_due();
            tokio::select! {
                biased;
                _ = setup.changed() => if self.look_again().is_err() { return },
                () = sleep_until(reset_due.map(Into::into)) => return reset(left),
                () = hung_up(&left) => return,
            }
        }
    }
}

/// Both sockets and both links of a connection.
struct Pair {
    client: TcpStream,
    server: TcpStream,
    up: Link,
    down: Link,
    up_done: bool,
    down_done: bool,
    traffic: Arc<Counters>,
    taps: Listening,
    alarm: Alarm,
    /// The stream that said how the connection ends.
    ended_by: Stream,
}

impl Pair {
    fn new(client: TcpStream, server: TcpStream, traffic: Arc<Counters>, taps: Listening) -> Self {
        Pair {
            client,
            server,
            up: Link::new(Stream::Upstream),
            down: Link::new(Stream::Downstream),
            up_done: false,
            down_done: false,
            traffic,
            taps,
            alarm: Alarm::default(),
            ended_by: Stream::Upstream,
        }
    }

    fn rebuild(&mut self, meetings: &Meetings) {
        self.up.rebuild(meetings);
        self.down.rebuild(meetings);
    }

    /// Moves bytes until the toxics change, or the connection ends in one way or the other.
    async fn next_event(
        &mut self,
        setup: &watch::Receiver<Setup>,
        reset_due: Option<Instant>,
        vanish_due: Option<(Instant, Stream)>,
    ) -> Event {
        let mut waiting = setup.clone();
        let mut changed = pin!(waiting.changed());
        let deadline = reset_due.into_iter().chain(vanish_due.map(|(due, _)| due)).min();
        poll_fn(move |cx| {
            if changed.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Setup);
            }
            loop {
                if let Some(deadline) = deadline
                    && deadline <= Instant::now()
                {
                    return Poll::Ready(match vanish_due {
                        Some((due, stream)) if due <= deadline => Event::Vanishes(stream),
                        _ => Event::Ended(End::Reset),
                    });
                }
                if let Poll::Ready(end) = self.poll_links(cx) {
                    return Poll::Ready(Event::Ended(end));
                }
                let dues = [self.up.wake, self.down.wake, deadline];
                let Some(due) = dues.into_iter().flatten().min() else { return Poll::Pending };
                if self.alarm.poll(cx, due).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }

    fn poll_links(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let Pair { client, server, up, down, traffic, taps, .. } = self;
        if !self.up_done {
            let count = traffic.of(Stream::Upstream);
            let mut sockets = Sockets { from: &mut *client, to: &mut *server, count, taps: &mut *taps };
            if let Poll::Ready(end) = up.poll(cx, &mut sockets) {
                match end {
                    End::Finished => drop(Pin::new(&mut *server).poll_shutdown(cx)),
                    End::Broken => {}
                    end => {
                        self.ended_by = Stream::Upstream;
                        return Poll::Ready(end);
                    }
                }
                up.wake = None;
                self.up_done = true;
            }
        }
        if !self.down_done {
            let count = traffic.of(Stream::Downstream);
            let mut sockets = Sockets { from: &mut *server, to: &mut *client, count, taps: &mut *taps };
            if let Poll::Ready(end) = down.poll(cx, &mut sockets) {
                taps.server_ended();
                match end {
                    End::Finished => drop(Pin::new(&mut *client).poll_shutdown(cx)),
                    End::Broken => {}
                    end => {
                        self.ended_by = Stream::Downstream;
                        return Poll::Ready(end);
                    }
                }
                down.wake = None;
                self.down_done = true;
            }
        }
        if self.up_done && self.down_done { Poll::Ready(End::Finished) } else { Poll::Pending }
    }

    /// Closes the sender at once, and gives the receiver the end and the time to act on what it got: a reset could take away
    /// bytes that it has not read yet.
    async fn cut(self) {
        drop(self.taps);
        let (sender, mut receiver) = match self.ended_by {
            Stream::Upstream => (self.client, self.server),
            Stream::Downstream => (self.server, self.client),
        };
        drop(sender);
        let mut receiver_end = pin!(async {
            let mut buffer = [0; 512];
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut receiver).await;
            while matches!(receiver.read(&mut buffer).await, Ok(1..)) {}
        });
        let _ = timeout(CUT_GRACE, receiver_end.as_mut()).await;
    }
}

/// Closes with RST instead of FIN.
fn reset(socket: TcpStream) {
    let _ = socket.set_zero_linger();
    drop(socket);
}

async fn sleep_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Waits until the peer has closed or reset the connection, without reading what it sent.
async fn hung_up(socket: &TcpStream) {
    loop {
        match socket.ready(Interest::READABLE | Interest::ERROR).await {
            Ok(ready) if !ready.is_read_closed() && !ready.is_error() => {
                // Forgets this readiness, so that the next one is news.
                let forgotten: io::Result<()> =
                    socket.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
                drop(forgotten);
            }
            _ => return,
        }
    }
}

/// Counts a connection for as long as it lives.
#[derive(Debug)]
pub(crate) struct Live(Arc<AtomicU64>);

impl Live {
    pub(crate) fn new(counter: Arc<AtomicU64>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Live(counter)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
