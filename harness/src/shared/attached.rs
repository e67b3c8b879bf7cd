//! A service of a shared stack, as one of its users sees it.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use async_trait::async_trait;

use super::Record;
use crate::{
    Error,
    provider::{Instance, LogSource, Login},
    signal::Signal,
};

/// What is read of a log at most, in bytes.
const LOG_TAIL: u64 = 64 * 1024;

/// A service that other tests use at the same time: nobody may kill or pause it.
pub(crate) struct Attached {
    name: String,
    record: Record,
}

impl Attached {
    pub(super) fn new(name: &str, record: Record) -> Self {
        Attached { name: name.to_owned(), record }
    }

    fn refuse(&self, fault: &'static str) -> Error {
        Error::Unsupported {
            fault,
            service: self.name.clone(),
            why: "other tests use it at the same time: give the test a server of its own, with `durability = \"on\"` or \
                  `env.stack()`"
                .to_owned(),
        }
    }
}

/// The end of a log, or nothing where it can't be read.
pub(crate) async fn read_log(source: &LogSource, from: u64) -> String {
    match source {
        LogSource::File(path) => {
            let read = || -> std::io::Result<Vec<u8>> {
                let mut file = File::open(path)?;
                let length = file.metadata()?.len();
                file.seek(SeekFrom::Start(from.max(length.saturating_sub(LOG_TAIL))))?;
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                Ok(bytes)
            };
            String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
        }
        #[cfg(feature = "docker")]
        LogSource::Container(id) => crate::provider::docker::log_of(id).await.unwrap_or_default(),
        _ => String::new(),
    }
}

#[async_trait]
impl Instance for Attached {
    fn address(&self) -> Option<String> {
        Some(self.record.address.clone())
    }

    fn login(&self) -> Login {
        self.record.login.clone()
    }

    async fn ended(&self) -> Option<String> {
        (!self.record.listens().await).then(|| "it accepts no connections".to_owned())
    }

    async fn kill(&self) -> Result<(), Error> {
        Err(self.refuse("kill -9"))
    }

    async fn start_again(&self) -> Result<(), Error> {
        Err(self.refuse("a restart"))
    }

    async fn pause(&self) -> Result<(), Error> {
        Err(self.refuse("a pause"))
    }

    fn resume(&self) -> Result<(), Error> {
        Err(self.refuse("a pause"))
    }

    async fn signal(&self, _signal: Signal) -> Result<(), Error> {
        Err(self.refuse("a signal"))
    }

    async fn fill_disk(&self) -> Result<(), Error> {
        Err(self.refuse("a full disk"))
    }

    async fn free_disk(&self) -> Result<(), Error> {
        Err(self.refuse("a full disk"))
    }

    async fn log(&self) -> String {
        read_log(&self.record.log, 0).await
    }

    async fn said(&self, text: &str) -> bool {
        self.log().await.contains(text)
    }

    async fn lines(&self, text: &str) -> Vec<String> {
        self.log().await.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    fn log_source(&self) -> LogSource {
        self.record.log.clone()
    }
}
