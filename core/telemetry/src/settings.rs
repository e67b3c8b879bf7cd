//! How a service logs: typed settings, from code or from the environment.

mod reading;

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use crate::{logging::Sampling, logging::parse_level, redaction::is_secret_name};
use reading::{Reader, problem, program, read_headers, read_size, read_strategy};

/// Where log lines go, and what they look like there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// For people, on standard error; in colour if that is a terminal and `NO_COLOR` is not set.
    Pretty,
    /// One JSON object a line, on standard output: for containers.
    Json,
    /// JSON lines in files that rotate, are compressed, and go when there are too many.
    Files,
    /// The systemd journal, in its native protocol.
    Journald,
    /// RFC 5424 messages to a syslog daemon.
    Syslog,
    /// Batches to an OpenTelemetry collector over HTTP; needs the feature `otlp`.
    Otlp,
}

impl Strategy {
    /// Every strategy by its name in `SEAWORTHY_LOG`.
    pub const ALL: [(&'static str, Strategy); 6] = [
        ("pretty", Strategy::Pretty),
        ("json", Strategy::Json),
        ("files", Strategy::Files),
        ("journald", Strategy::Journald),
        ("syslog", Strategy::Syslog),
        ("otlp", Strategy::Otlp),
    ];

    /// Its name in `SEAWORTHY_LOG`.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, strategy)| *strategy == self).map_or("unknown", |(name, _)| name)
    }
}

/// What the logging pipeline does. The defaults suit development: pretty lines from `info` on.
///
/// ```
/// use seaworthy_telemetry::settings::{Settings, Strategy};
///
/// let settings = Settings::new("shop").strategy(Strategy::Json).level("info,shop=debug").allow(["tenant"]);
/// ```
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) service: String,
    pub(crate) strategy: Strategy,
    pub(crate) level: String,
    pub(crate) allow: Vec<String>,
    pub(crate) sampling: Sampling,
    pub(crate) queue: usize,
    pub(crate) flush: Duration,
    pub(crate) files: Files,
    pub(crate) syslog: SyslogAddress,
    pub(crate) journald: PathBuf,
    pub(crate) otlp: Otlp,
}

/// Settings of the strategy `files`.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) dir: PathBuf,
    pub(crate) max_size: u64,
    pub(crate) rotate: Duration,
    pub(crate) keep: usize,
    pub(crate) keep_size: u64,
    pub(crate) compress: bool,
}

/// Where the syslog daemon listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogAddress {
    /// A Unix datagram socket, as `/dev/log`.
    Unix(PathBuf),
    /// A host and port that take UDP.
    Udp(String),
}

impl FromStr for SyslogAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix("unix:").or_else(|| text.starts_with('/').then_some(text));
        let port =
            |address: &&str| address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        match (path, text.strip_prefix("udp://").filter(port)) {
            (Some(path), _) if !path.is_empty() => Ok(SyslogAddress::Unix(path.into())),
            (_, Some(address)) => Ok(SyslogAddress::Udp(address.to_owned())),
            _ => Err("give a path like /dev/log, or udp://host:514".to_owned()),
        }
    }
}

/// Settings of the strategy `otlp`. Headers hold credentials, so they are not shown.
#[derive(Clone)]
pub(crate) struct Otlp {
    pub(crate) endpoint: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        let endpoint = crate::redaction::scrub(&self.endpoint);
        f.debug_struct("Otlp").field("endpoint", &endpoint).field("headers", &names).finish()
    }
}

/// Settings that are wrong: all of them, one a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.join("\n"))]
pub struct SettingsError {
    problems: Vec<String>,
}

impl SettingsError {
    /// Each names the setting, its value, and what is allowed.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl Settings {
    /// The defaults, for a service of this name: letters, digits, `.`, `_` and `-`.
    pub fn new(service: impl Into<String>) -> Self {
        Settings {
            service: service.into(),
            strategy: Strategy::Pretty,
            level: "info".to_owned(),
            allow: Vec::new(),
            sampling: Sampling::default(),
            queue: 8192,
            flush: Duration::from_secs(5),
            files: Files {
                dir: "logs".into(),
                max_size: 100 << 20,
                rotate: Duration::from_secs(24 * 3600),
                keep: 30,
                keep_size: 1 << 30,
                compress: true,
            },
            syslog: SyslogAddress::Unix("/dev/log".into()),
            journald: "/run/systemd/journal/socket".into(),
            otlp: Otlp { endpoint: "http://127.0.0.1:4318".to_owned(), headers: Vec::new() },
        }
    }

    /// Where lines go; pretty lines unless said otherwise.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// What is logged: a level, and levels of targets: `info,shop=debug`; `info` unless said otherwise.
    pub fn level(mut self, level: impl Into<String>) -> Self {
        self.level = level.into();
        self
    }

    /// Fields whose texts are shown besides those in [`ALLOWED`](crate::redaction::ALLOWED).
    pub fn allow<N: Into<String>>(mut self, fields: impl IntoIterator<Item = N>) -> Self {
        self.allow.extend(fields.into_iter().map(Into::into));
        self
    }

    /// Which share of the lines is kept; all unless said otherwise.
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// How many lines wait for the writer before more are dropped; 8192 unless said otherwise. They also are never more than 32 MiB.
    pub fn queue(mut self, lines: usize) -> Self {
        self.queue = lines;
        self
    }

    /// How long the end waits until everything is written; 5 s unless said otherwise.
    pub fn flush_within(mut self, deadline: Duration) -> Self {
        self.flush = deadline;
        self
    }

    /// The folder of the log files; `logs` unless said otherwise.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.files.dir = dir.into();
        self
    }

    /// The size in bytes at which a new log file begins; 100 MiB unless said otherwise.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.files.max_size = bytes;
        self
    }

    /// How long a log file is written to, counted from midnight UTC of 1970-01-01; a day unless said otherwise.
    pub fn rotate_every(mut self, period: Duration) -> Self {
        self.files.rotate = period;
        self
    }

    /// How many finished log files are kept, and how many bytes of them; 30 and 1 GiB unless said otherwise.
    pub fn keep(mut self, files: usize, bytes: u64) -> Self {
        (self.files.keep, self.files.keep_size) = (files, bytes);
        self
    }

    /// Whether finished log files are compressed with gzip; they are unless said otherwise.
    pub fn compress(mut self, compress: bool) -> Self {
        self.files.compress = compress;
        self
    }

    /// Where the syslog daemon listens; `/dev/log` unless said otherwise.
    pub fn syslog(mut self, address: SyslogAddress) -> Self {
        self.syslog = address;
        self
    }

    /// The socket of the journal; `/run/systemd/journal/socket` unless said otherwise.
    pub fn journald(mut self, socket: impl Into<PathBuf>) -> Self {
        self.journald = socket.into();
        self
    }

    /// The collector's address; `/v1/logs` is added if it is not there. `http://127.0.0.1:4318` unless said otherwise.
    pub fn otlp_endpoint(mut self, url: impl Into<String>) -> Self {
        self.otlp.endpoint = url.into();
        self
    }

    /// A header for the collector, for example its credentials.
    pub fn otlp_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.otlp.headers.push((name.into(), value.into()));
        self
    }

    /// The settings that the environment variables say, and the defaults for the rest.
    ///
    /// # Errors
    ///
    /// Names every variable that is wrong.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::from_lookup(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// The settings that a function from names to values says.
    ///
    /// # Errors
    ///
    /// As [`Settings::from_env`].
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingsError> {
        let mut reader = Reader { lookup, problems: Vec::new() };
        let mut settings = Settings::new(program());
        reader.read("SEAWORTHY_SERVICE", &mut settings.service, |text| Ok(text.to_owned()));
        reader.read("SEAWORTHY_LOG", &mut settings.strategy, read_strategy);
        reader.read("SEAWORTHY_LOG_LEVEL", &mut settings.level, |text| Ok(text.to_owned()));
        reader.read("SEAWORTHY_LOG_ALLOW", &mut settings.allow, |text| {
            Ok(text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect())
        });
        reader.read("SEAWORTHY_LOG_SAMPLE", &mut settings.sampling, Sampling::from_str);
        reader.read("SEAWORTHY_LOG_QUEUE", &mut settings.queue, |text| {
            text.parse().map_err(|_| "give a number of lines, from 1 to 1000000".to_owned())
        });
        reader.read("SEAWORTHY_LOG_DIR", &mut settings.files.dir, |text| Ok(text.into()));
        reader.read("SEAWORTHY_LOG_MAX_SIZE", &mut settings.files.max_size, read_size);
        reader.read("SEAWORTHY_LOG_ROTATE", &mut settings.files.rotate, |text| {
            humantime::parse_duration(text).map_err(|_| "give a duration like 1h or 1day".to_owned())
        });
        reader.read("SEAWORTHY_LOG_KEEP", &mut settings.files.keep, |text| {
            text.parse().map_err(|_| "give a number of files".to_owned())
        });
        reader.read("SEAWORTHY_LOG_KEEP_SIZE", &mut settings.files.keep_size, read_size);
        reader.read("SEAWORTHY_LOG_COMPRESS", &mut settings.files.compress, |text| match text {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err("choose one of true, false".to_owned()),
        });
        reader.read("SEAWORTHY_LOG_SYSLOG", &mut settings.syslog, SyslogAddress::from_str);
        reader.read("SEAWORTHY_LOG_JOURNALD", &mut settings.journald, |text| Ok(text.into()));
        reader.read("SEAWORTHY_LOG_OTLP_ENDPOINT", &mut settings.otlp.endpoint, |text| Ok(text.to_owned()));
        reader.read_secret("SEAWORTHY_LOG_OTLP_HEADERS", &mut settings.otlp.headers, read_headers);
        let mut problems = reader.problems;
        problems.extend(settings.problems());
        if problems.is_empty() { Ok(settings) } else { Err(SettingsError { problems }) }
    }

    /// Looks at what no type keeps right.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        let problems = self.problems();
        if problems.is_empty() { Ok(()) } else { Err(SettingsError { problems }) }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut require = |right: bool, name: &str, value: &str, hint: &str| {
            if !right {
                problems.push(problem(name, value, hint));
            }
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let service = &self.service;
        let named =
            (1..=48).contains(&service.len()) && service.bytes().all(plain) && !service.starts_with('.');
        require(named, "SEAWORTHY_SERVICE", service, "use 1 to 48 letters, digits, `.`, `_` and `-`");
        let level = parse_level(&self.level).err().unwrap_or_default();
        require(level.is_empty(), "SEAWORTHY_LOG_LEVEL", &self.level, &level);
        for name in self.allow.iter().filter(|name| is_secret_name(name)) {
            require(
                false,
                "SEAWORTHY_LOG_ALLOW",
                name,
                "a field of that name is taken for a secret: give it another name",
            );
        }
        let queue = (1..=1_000_000).contains(&self.queue);
        require(
            queue,
            "SEAWORTHY_LOG_QUEUE",
            &self.queue.to_string(),
            "give a number of lines, from 1 to 1000000",
        );
        let size = self.files.max_size;
        require(size >= 1 << 10, "SEAWORTHY_LOG_MAX_SIZE", &size.to_string(), "give at least 1KiB");
        let rotate = self.files.rotate;
        let period = humantime::format_duration(rotate).to_string();
        require(rotate >= Duration::from_secs(1), "SEAWORTHY_LOG_ROTATE", &period, "give at least 1s");
        let endpoint = &self.otlp.endpoint;
        let http = endpoint.starts_with("http://") || endpoint.starts_with("https://");
        require(http, "SEAWORTHY_LOG_OTLP_ENDPOINT", endpoint, "give a URL like http://127.0.0.1:4318");
        let built = cfg!(feature = "otlp") || self.strategy != Strategy::Otlp;
        require(
            built,
            "SEAWORTHY_LOG",
            "otlp",
            "this program was built without the feature `otlp` of seaworthy-telemetry",
        );
        problems
    }
}
