//! A native service without a disk of its own: Redis and applications.

use async_trait::async_trait;
use nix::sys::signal::Signal;

use super::process::Process;
use crate::{
    Error,
    provider::{Instance, Login},
};

pub(super) struct PlainProcess {
    pub(super) process: Process,
    pub(super) port: Option<u16>,
}

#[async_trait]
impl Instance for PlainProcess {
    fn address(&self) -> Option<String> {
        self.port.map(|port| format!("127.0.0.1:{port}"))
    }

    fn login(&self) -> Login {
        Login::default()
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
        self.process.signal(Signal::SIGSTOP)
    }

    fn resume(&self) -> Result<(), Error> {
        self.process.signal(Signal::SIGCONT)
    }

    async fn fill_disk(&self) -> Result<(), Error> {
        Err(Error::no_small_disk(self.process.name()))
    }

    async fn free_disk(&self) -> Result<(), Error> {
        Err(Error::no_small_disk(self.process.name()))
    }

    async fn log(&self) -> String {
        self.process.log()
    }

    async fn said(&self, text: &str) -> bool {
        self.process.said(text)
    }
}
