//! A native service: a process, the port that it listens on, and the disk that its data is on.

use async_trait::async_trait;
use nix::sys::signal::Signal::{SIGCONT, SIGSTOP};

use super::{disk::SmallDisk, process::Process};
use crate::{
    Error, Usage,
    provider::{Instance, LogSource, Login},
    signal::Signal,
};

pub(super) struct NativeService {
    pub(super) process: Process,
    pub(super) port: Option<u16>,
    pub(super) more_ports: Vec<(String, u16)>,
    pub(super) login: Login,
    pub(super) disk: Option<SmallDisk>,
}

impl NativeService {
    pub(super) fn new(process: Process, port: Option<u16>) -> Self {
        NativeService { process, port, more_ports: Vec::new(), login: Login::default(), disk: None }
    }

    fn disk(&self) -> Result<&SmallDisk, Error> {
        self.disk.as_ref().ok_or_else(|| Error::no_small_disk(self.process.name()))
    }
}

#[async_trait]
impl Instance for NativeService {
    fn address(&self) -> Option<String> {
        self.port.map(|port| format!("127.0.0.1:{port}"))
    }

    fn more_addresses(&self) -> Vec<(String, String)> {
        self.more_ports.iter().map(|(name, port)| (name.clone(), format!("127.0.0.1:{port}"))).collect()
    }

    fn login(&self) -> Login {
        self.login.clone()
    }

    async fn ended(&self) -> Option<String> {
        self.process.ended()
    }

    async fn kill(&self) -> Result<(), Error> {
        self.process.kill().await
    }

    async fn start_again(&self) -> Result<(), Error> {
        self.process.spawn().map(drop)
    }

    async fn pause(&self) -> Result<(), Error> {
        self.process.signal(SIGSTOP)
    }

    fn resume(&self) -> Result<(), Error> {
        self.process.signal(SIGCONT)
    }

    async fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.process.signal_leader(signal.into())
    }

    async fn fill_disk(&self) -> Result<(), Error> {
        self.disk()?.fill()
    }

    async fn free_disk(&self) -> Result<(), Error> {
        self.disk()?.free()
    }

    async fn log(&self) -> String {
        self.process.log()
    }

    async fn said(&self, text: &str) -> bool {
        self.process.said(text)
    }

    async fn lines(&self, text: &str) -> Vec<String> {
        self.process.lines(text)
    }

    fn log_source(&self) -> LogSource {
        LogSource::File(self.process.log_path())
    }

    async fn usage(&self) -> Usage {
        let look = self.process.usage();
        // Reads a few files per process, and a folder.
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    }
}
