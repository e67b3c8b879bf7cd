//! One listening address in front of one upstream.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use tokio::{net::TcpSocket, sync::watch, task::JoinHandle};

use crate::{
    DecisionLog, Error, ProxyConfig, Recording, Stream, Tap, Toxic, Traffic,
    accept::{self, Route},
    address::bind,
    engine::Engine,
    faults::{Installed, Setup},
    limits::{self, MAX_TOXICS},
};

/// A running proxy. Cheap to clone; all clones are the same proxy. It stops when the last clone is dropped, and a [`Proxies`] that it is in holds one.
///
/// Its bytes are moved by threads of their own, which all proxies of a process share.
///
/// [`Proxies`]: crate::Proxies
#[derive(Debug, Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    setup: watch::Sender<Setup>,
    route: Arc<Route>,
}

#[derive(Debug)]
struct State {
    listen: SocketAddr,
    /// The address as it was asked for, until the proxy was enabled for the first time.
    asked: Option<String>,
    door: Door,
}

/// The listening side of the proxy.
#[derive(Debug)]
enum Door {
    Open(JoinHandle<()>),
    /// Bound and not listening: the port stays ours, and the kernel refuses connections.
    Shut(#[allow(dead_code, reason = "held for its port")] Option<TcpSocket>),
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Door::Open(accepting) = &state.door {
            accepting.abort();
        }
    }
}

impl Proxy {
    /// Starts a proxy whose configuration was checked and whose listening address was found.
    pub(crate) fn start(
        config: ProxyConfig,
        address: SocketAddr,
        seed: u64,
        log: DecisionLog,
    ) -> Result<Proxy, Error> {
        let fail =
            |source| Error::Listen { proxy: config.name.clone(), address: address.to_string(), source };
        let (socket, listen) = match bind(address).and_then(|socket| Ok((socket.local_addr()?, socket))) {
            Ok((listen, socket)) => (Some(socket), listen),
            // Its port may be free by the time that it is enabled.
            Err(_) if !config.enabled => (None, address),
            Err(source) => return Err(fail(source)),
        };
        let asked = (!config.enabled).then_some(config.listen);
        let route = Arc::new(Route::new(&config.name, &config.upstream, seed, log));
        let toxics: Vec<_> = config.toxics.into_iter().map(Installed::new).collect();
        let proxy = Proxy {
            shared: Arc::new(Shared {
                state: Mutex::new(State { listen, asked, door: Door::Shut(socket) }),
                setup: watch::Sender::new(Setup { epoch: 0, toxics: toxics.into() }),
                route,
            }),
        };
        if config.enabled {
            proxy.enable()?;
        }
        Ok(proxy)
    }

    /// The proxy's name.
    pub fn name(&self) -> &str {
        &self.shared.route.name
    }

    /// The address that clients connect to. It stays the same while the proxy is disabled.
    pub fn listen(&self) -> SocketAddr {
        self.state().listen
    }

    /// The address that clients connect to, as text. While the proxy was never enabled, it is the one that was asked for.
    #[cfg(feature = "api")]
    pub(crate) fn listen_text(&self) -> String {
        let state = self.state();
        state.asked.clone().unwrap_or_else(|| state.listen.to_string())
    }

    /// Where the proxy leads to, as `host:port`.
    pub fn upstream(&self) -> String {
        self.shared.route.upstream().to_string()
    }

    /// Leads new connections to another `host:port`; live ones stay where they are.
    pub fn set_upstream(&self, upstream: impl Into<String>) {
        self.shared.route.lead_to(&upstream.into());
    }

    /// Whether the proxy accepts connections.
    pub fn is_enabled(&self) -> bool {
        matches!(self.state().door, Door::Open(_))
    }

    /// Connections that are open now.
    pub fn connections(&self) -> u64 {
        self.shared.route.live()
    }

    /// The bytes that passed on this stream, over all connections since the proxy started.
    pub fn traffic(&self, stream: Stream) -> Traffic {
        self.shared.route.traffic(stream)
    }

    /// Records what passes on the connections that are made from now on, until every clone of the recording is dropped. Takes a
    /// [`Protocol`](crate::Protocol), or a [`Tap`] with other bounds than the usual ones. Several recordings of a proxy do not know of each
    /// other.
    ///
    /// It only looks: no byte is changed, held back or added. What the client sends and what the server sends is seen as they sent it, before
    /// toxics: a message that a toxic drops is in the recording, and a message that a toxic makes up for the client is not.
    pub fn record(&self, tap: impl Into<Tap>) -> Recording {
        self.shared.route.record(tap.into())
    }

    /// How often a fault on messages happened, over all connections, since its toxic was added or changed. Zero for
    /// toxics of other kinds.
    ///
    /// # Errors
    ///
    /// [`Error::ToxicNotFound`].
    pub fn hits(&self, toxic: &str) -> Result<u64, Error> {
        let toxics = self.shared.setup.borrow().toxics.clone();
        let found = toxics.iter().find(|installed| *installed.name == *toxic);
        Ok(found.ok_or_else(|| self.no_toxic(toxic))?.hits.load(Ordering::Relaxed))
    }

    /// Accepts connections (again).
    ///
    /// # Errors
    ///
    /// [`Error::Listen`] when another process took the port in the meantime.
    pub fn enable(&self) -> Result<(), Error> {
        let mut state = self.state();
        let Door::Shut(reserved) = &mut state.door else { return Ok(()) };
        let socket = reserved.take();
        let listen = state.listen;
        let fail =
            |source| Error::Listen { proxy: self.name().to_owned(), address: listen.to_string(), source };
        let engine = Engine::get().map_err(fail)?;
        let socket = socket.map_or_else(|| bind(listen), Ok).map_err(fail)?;
        let thread = engine.next();
        let listener = {
            let _entered = thread.enter();
            accept::listen(socket).map_err(fail)?
        };
        let setup = self.shared.setup.subscribe();
        state.door = Door::Open(thread.spawn(accept::accept_all(self.shared.route.clone(), listener, setup)));
        state.asked = None;
        Ok(())
    }

    /// Refuses new connections and closes the live ones, as if the service were down.
    pub async fn disable(&self) {
        let door = std::mem::replace(&mut self.state().door, Door::Shut(None));
        if let Door::Open(accepting) = door {
            accepting.abort();
            // The listener lives as long as its task; only after that can its port be bound again.
            let _ = accepting.await;
            let mut state = self.state();
            if matches!(state.door, Door::Shut(None)) {
                state.door = Door::Shut(bind(state.listen).ok());
            }
        } else {
            self.state().door = door;
        }
        self.close_connections();
    }

    /// Goes to another address, disabled. When that can't be had, the proxy is where it was and as it was, except that a
    /// proxy that will be disabled may wait for its address.
    pub(crate) async fn move_to(
        &self,
        address: SocketAddr,
        asked: &str,
        may_wait: bool,
    ) -> Result<(), Error> {
        let was_enabled = self.is_enabled();
        self.disable().await;
        let bound = bind(address).and_then(|socket| Ok((socket.local_addr()?, socket)));
        let (listen, socket) = match bound {
            Ok((listen, socket)) => (listen, Some(socket)),
            Err(_) if may_wait => (address, None),
            Err(source) => {
                if was_enabled {
                    self.enable()?;
                }
                return Err(Error::Listen {
                    proxy: self.name().to_owned(),
                    address: address.to_string(),
                    source,
                });
            }
        };
        *self.state() = State { listen, asked: Some(asked.to_owned()), door: Door::Shut(socket) };
        Ok(())
    }

    /// Closes every live connection once; new ones are accepted.
    pub fn close_connections(&self) {
        self.shared.setup.send_modify(|setup| setup.epoch += 1);
    }

    /// The toxics, upstream first, in the order in which they were added.
    pub fn toxics(&self) -> Vec<Toxic> {
        let installed = self.shared.setup.borrow().toxics.clone();
        let mut toxics: Vec<Toxic> = installed.iter().map(|installed| installed.toxic.clone()).collect();
        toxics.sort_by_key(|toxic| toxic.stream == Stream::Downstream);
        toxics
    }

    /// The toxic of this name.
    ///
    /// # Errors
    ///
    /// [`Error::ToxicNotFound`].
    pub fn toxic(&self, name: &str) -> Result<Toxic, Error> {
        self.toxics().into_iter().find(|toxic| toxic.name() == name).ok_or_else(|| self.no_toxic(name))
    }

    /// Adds a toxic; live connections feel it at once.
    ///
    /// # Errors
    ///
    /// [`Error::ToxicExists`], [`Error::Toxicity`], [`Error::Attribute`], [`Error::Text`] and [`Error::TooMany`].
    pub fn add_toxic(&self, toxic: impl Into<Toxic>) -> Result<(), Error> {
        let toxic = toxic.into();
        toxic.validate()?;
        let name = toxic.name();
        limits::check_name("the name of a toxic", &name)?;
        self.edit_toxics(|toxics| {
            if toxics.iter().any(|other| *other.name == *name) {
                return Err(Error::ToxicExists { proxy: self.name().to_owned(), toxic: name });
            }
            limits::check_count("toxics on a proxy", toxics.len(), MAX_TOXICS)?;
            toxics.push(Installed::new(toxic));
            Ok(())
        })
    }

    /// Replaces the toxic of the same name.
    ///
    /// # Errors
    ///
    /// [`Error::ToxicNotFound`], [`Error::Toxicity`] and [`Error::Attribute`].
    pub fn update_toxic(&self, toxic: impl Into<Toxic>) -> Result<(), Error> {
        let toxic = toxic.into();
        toxic.validate()?;
        let name = toxic.name();
        self.edit_toxics(|toxics| {
            let old = toxics.iter_mut().find(|old| *old.name == *name).ok_or_else(|| self.no_toxic(&name))?;
            *old = Installed::new(toxic);
            Ok(())
        })
    }

    /// Removes a toxic; live connections are free of it at once.
    ///
    /// # Errors
    ///
    /// [`Error::ToxicNotFound`].
    pub fn remove_toxic(&self, name: &str) -> Result<(), Error> {
        self.edit_toxics(|toxics| {
            let at =
                toxics.iter().position(|toxic| *toxic.name == *name).ok_or_else(|| self.no_toxic(name))?;
            toxics.remove(at);
            Ok(())
        })
    }

    /// Removes every toxic.
    pub fn clear_toxics(&self) {
        self.shared.setup.send_modify(|setup| setup.toxics = Arc::new([]));
    }

    /// Stops for good and gives the port back.
    pub(crate) async fn close(&self) {
        self.disable().await;
        self.state().door = Door::Shut(None);
    }

    fn edit_toxics(
        &self,
        edit: impl FnOnce(&mut Vec<Arc<Installed>>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut outcome = Ok(());
        self.shared.setup.send_if_modified(|setup| {
            let mut toxics = setup.toxics.to_vec();
            outcome = edit(&mut toxics);
            if outcome.is_ok() {
                setup.toxics = toxics.into();
            }
            outcome.is_ok()
        });
        outcome
    }

    fn no_toxic(&self, toxic: &str) -> Error {
        Error::ToxicNotFound { proxy: self.name().to_owned(), toxic: toxic.to_owned() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
