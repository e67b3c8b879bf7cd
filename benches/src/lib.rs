//! What the benchmarks share: servers to talk to, and the peers beside which ours are measured.
//!
//! Each benchmark runs ours and its peers in the same run, on the same services, so that their ratio means something on
//! any machine. Run them with `make bench`; `cargo bench -p seaworthy-benches -- --test` only checks that they work.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() -> std::io::Result<()> {
//! let echo = seaworthy_benches::echo_server()?;
//! let plain = seaworthy_benches::plain_proxy(echo).await?;
//! assert_ne!(echo, plain);
//! # Ok(())
//! # }
//! ```

mod interleaved;
mod plain_queue;
pub mod queues;
pub mod registers;
mod schema;

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    thread,
};

use tokio::{
    io::copy_bidirectional_with_sizes,
    net::{TcpListener, TcpStream},
};

pub use interleaved::{Measured, in_turns, interleaved, micros};
pub use plain_queue::PlainQueue;
pub use schema::{TABLES, forty_tables};

/// What the plain proxy reads at once, as much as ours does.
const BUFFER: usize = 64 * 1024;

/// A server on the loopback interface that sends back what it gets. Each connection has a thread of its own, as in another process.
///
/// # Errors
///
/// When no port can be listened on.
pub fn echo_server() -> io::Result<SocketAddr> {
    serve(|mut socket| {
        let mut buffer = vec![0; BUFFER];
        loop {
            match socket.read(&mut buffer)? {
                0 => return Ok(()),
                length => socket.write_all(&buffer[..length])?,
            }
        }
    })
}

/// A server on the loopback interface that throws away what it gets: each transfer is its length, eight bytes with the highest first,
/// and so many bytes; it answers one byte when it has them.
///
/// # Errors
///
/// When no port can be listened on.
pub fn sink_server() -> io::Result<SocketAddr> {
    serve(|mut socket| {
        let mut buffer = vec![0; 4 * BUFFER];
        loop {
            let mut length = [0; 8];
            socket.read_exact(&mut length)?;
            let mut left = u64::from_be_bytes(length);
            while left > 0 {
                let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                match socket.read(&mut buffer[..most])? {
                    0 => return Ok(()),
                    length => left -= length as u64,
                }
            }
            socket.write_all(&[1])?;
        }
    })
}

fn serve(
    talk: impl Fn(std::net::TcpStream) -> io::Result<()> + Copy + Send + 'static,
) -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let _ = socket.set_nodelay(true);
            thread::spawn(move || talk(socket));
        }
    });
    Ok(address)
}

/// The peer of the fault proxy: the plainest proxy that tokio offers.
///
/// # Errors
///
/// When no port can be listened on.
pub async fn plain_proxy(upstream: SocketAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut server = TcpStream::connect(upstream).await?;
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await
            });
        }
    });
    Ok(address)
}
