//! Signals that a test sends.

/// A signal that services take as a request. To end or stop a service, inject a [`Fault`](crate::Fault).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// SIGHUP: read the settings again, or restart gracefully.
    HangUp,
    /// SIGINT, as Ctrl-C.
    Interrupt,
    /// SIGTERM: stop in order.
    Terminate,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
}

impl Signal {
    #[cfg(feature = "docker")]
    pub(crate) fn name(self) -> &'static str {
        nix::sys::signal::Signal::from(self).as_str()
    }
}

impl From<Signal> for nix::sys::signal::Signal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::HangUp => Self::SIGHUP,
            Signal::Interrupt => Self::SIGINT,
            Signal::Terminate => Self::SIGTERM,
            Signal::User1 => Self::SIGUSR1,
            Signal::User2 => Self::SIGUSR2,
        }
    }
}
