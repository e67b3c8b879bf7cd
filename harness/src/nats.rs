//! NATS, as a service of a stack.

use std::time::Duration;

use async_trait::async_trait;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::software::{Image, Port, Program, Software};

/// How long the server may take to greet.
const PATIENCE: Duration = Duration::from_secs(2);

/// A NATS server, with JetStream in a folder of its own, and its monitoring (HTTP) on the port `monitoring`.
///
/// ```no_run
/// use seaworthy_harness::{Nats, Stack};
///
/// # async fn example() -> Result<(), seaworthy_harness::Error> {
/// let stack = Stack::builder().service("nats", Nats).start().await?;
/// let url = stack.service("nats")?.url(); // nats://127.0.0.1:…
/// # let _ = url;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Nats;

#[async_trait]
impl Software for Nats {
    fn program(&self) -> Program {
        Program::new("nats-server")
            .args(["-a", "127.0.0.1", "-p", "{port}", "-m", "{port.monitoring}", "-js", "-sd", "{data}"])
            .package("nats-server")
    }

    fn image(&self) -> Image {
        Image::new("nats:2-alpine").or("seaworthy/nats:offline").listens_on(4222).args([
            "-p",
            "{port}",
            "-m",
            "{port.monitoring}",
            "-js",
            "-sd",
            "/tmp/jetstream",
        ])
    }

    fn scheme(&self) -> &str {
        "nats"
    }

    fn more_ports(&self) -> Vec<Port> {
        vec![Port::new("monitoring", 8222)]
    }

    /// It greets every client with a line that begins with `INFO`.
    async fn answers(&self, address: &str) -> Result<(), String> {
        let greet = async {
            let mut lines = BufReader::new(TcpStream::connect(address).await?).lines();
            lines.next_line().await
        };
        match timeout(PATIENCE, greet).await {
            Ok(Ok(Some(line))) if line.starts_with("INFO") => Ok(()),
            Ok(Ok(line)) => Err(format!("it said {line:?}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no word within {PATIENCE:?}")),
        }
    }
}
