//! How a server that the harness does not know by itself shows that it is ready.

/// How a [`Software`](crate::Software) shows that it is ready.
///
/// ```
/// use seaworthy_harness::Readiness;
///
/// let healthy = Readiness::path("/healthz").on_port("monitoring");
/// let says_so = Readiness::says("Server is ready");
/// # let _ = (healthy, says_so);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    pub(crate) sign: Sign,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sign {
    Answers,
    Path { port: Option<String>, path: String },
    Says(String),
}

impl Readiness {
    /// [`Software::answers`](crate::Software::answers) says so; if that is left as it is, once a connection is accepted.
    pub fn answers() -> Self {
        Readiness { sign: Sign::Answers }
    }

    /// `GET` on this path answers with a status from 200 to 299.
    pub fn path(path: impl Into<String>) -> Self {
        Readiness { sign: Sign::Path { port: None, path: path.into() } }
    }

    /// It writes a line with this text to its standard output or error, each time that it starts.
    pub fn says(text: impl Into<String>) -> Self {
        Readiness { sign: Sign::Says(text.into()) }
    }

    /// The path is on this one of [`Software::more_ports`](crate::Software::more_ports). Other signs have no port, and stay as they are.
    pub fn on_port(mut self, name: impl Into<String>) -> Self {
        if let Sign::Path { port, .. } = &mut self.sign {
            *port = Some(name.into());
        }
        self
    }
}
