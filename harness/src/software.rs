//! Servers that the harness does not know by itself.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use crate::Readiness;

/// How long one question to a server may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a connection has to stay open to count as accepted.
const STAYS_OPEN: Duration = Duration::from_millis(100);

/// How to run a server that the harness does not know by itself: natively, and in a container. It then has what every service has: a fault
/// proxy, kills and pauses, its log, and an end with its stack.
///
/// In an argument or the value of an environment variable, `{port}` stands for the port that the server is to listen on, `{port.NAME}` for one of
/// [`more_ports`](Self::more_ports), and `{data}` for a folder of its own.
///
/// ```no_run
/// use seaworthy_harness::{Image, Program, Software, Stack};
///
/// #[derive(Debug)]
/// struct Memcached;
///
/// impl Software for Memcached {
///     fn program(&self) -> Program {
///         Program::new("memcached").args(["-l", "127.0.0.1", "-p", "{port}"]).package("memcached")
///     }
///     fn image(&self) -> Image {
///         Image::new("memcached:alpine").listens_on(11211)
///     }
///     fn scheme(&self) -> &str {
///         "memcache"
///     }
/// }
///
/// # async fn example() -> Result<(), seaworthy_harness::Error> {
/// let stack = Stack::builder().service("cache", Memcached).start().await?;
/// let url = stack.service("cache")?.url(); // memcache://127.0.0.1:…
/// # let _ = url;
/// # Ok(())
/// # }
/// ```
#[async_trait]
pub trait Software: fmt::Debug + Send + Sync + 'static {
    /// The binary, for the native provider.
    fn program(&self) -> Program;

    /// The image, for the docker provider.
    fn image(&self) -> Image;

    /// What stands before `://` in its URLs.
    fn scheme(&self) -> &str;

    /// The ports that it listens on beside the one of its URL. Each is behind a fault proxy of its own: see
    /// [`Service::address_of`](crate::Service::address_of).
    fn more_ports(&self) -> Vec<Port> {
        Vec::new()
    }

    /// How it shows that it is ready, looked for until it is. By itself, it is asked with [`answers`](Self::answers).
    fn readiness(&self) -> Readiness {
        Readiness::answers()
    }

    /// Whether the server is ready, asked until it is: `Ok`, or why not yet. By itself, it is ready when it accepts a connection and does not
    /// close it within a tenth of a second: in front of a container, Docker accepts connections before the server does, and then closes them.
    ///
    /// # Errors
    ///
    /// A text that says what is missing; it is quoted if the server never becomes ready.
    async fn answers(&self, address: &str) -> Result<(), String> {
        let mut connection = match timeout(PATIENCE, TcpStream::connect(address)).await {
            Ok(connected) => connected.map_err(|error| error.to_string())?,
            Err(_) => return Err(format!("no connection within {PATIENCE:?}")),
        };
        match timeout(STAYS_OPEN, connection.read(&mut [0])).await {
            Ok(Ok(0)) => Err("it closed the connection".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            // It greets, or waits for us to speak.
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }
}

/// A port beside the one of the URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub(crate) name: String,
    pub(crate) inside: u16,
}

impl Port {
    /// A port by a name of its own, and its number inside of a container. Natively, any free one is taken.
    pub fn new(name: impl Into<String>, inside: u16) -> Self {
        Port { name: name.into(), inside }
    }
}

/// A binary and its arguments.
#[derive(Debug, Clone)]
pub struct Program {
    pub(crate) name: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) package: String,
}

impl Program {
    /// A binary on the PATH or in the folders for servers (`/usr/sbin`, `/usr/local/sbin`), or its absolute path.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Program { package: name.clone(), name, args: Vec::new(), env: Vec::new() }
    }

    /// Adds arguments.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The package that has it, for the message to who does not (default: the binary's name).
    pub fn package(mut self, package: impl Into<String>) -> Self {
        self.package = package.into();
        self
    }
}

/// An image, and how to run it.
#[derive(Debug, Clone)]
pub struct Image {
    pub(crate) name: String,
    pub(crate) offline: Option<String>,
    pub(crate) port: u16,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

impl Image {
    /// An image by its name and tag.
    pub fn new(name: impl Into<String>) -> Self {
        Image { name: name.into(), offline: None, port: 0, args: Vec::new(), env: Vec::new() }
    }

    /// Another image to take where the first one is not here and this one is.
    pub fn or(mut self, name: impl Into<String>) -> Self {
        self.offline = Some(name.into());
        self
    }

    /// The port inside of the container.
    pub fn listens_on(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Adds arguments to the image's command.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// What stands for the ports and the folder of a server, in its arguments and its environment.
pub(crate) struct Placeholders {
    values: Vec<(String, String)>,
}

impl Placeholders {
    pub(crate) fn new(port: u16, more: &[(String, u16)], data: &str) -> Self {
        let more = more.iter().map(|(name, port)| (format!("{{port.{name}}}"), port.to_string()));
        let values = [("{port}".to_owned(), port.to_string()), ("{data}".to_owned(), data.to_owned())];
        Placeholders { values: values.into_iter().chain(more).collect() }
    }

    pub(crate) fn fill(&self, text: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    pub(crate) fn fill_env(&self, env: &[(String, String)]) -> Vec<(String, String)> {
        env.iter().map(|(name, value)| (name.clone(), self.fill(value))).collect()
    }
}
