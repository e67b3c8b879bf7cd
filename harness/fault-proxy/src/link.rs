//! One direction of a connection: bytes in, faults applied, bytes out.
//!
//! Without toxics, bytes go from socket to socket at once, through a buffer that the thread's links share. A link holds memory of its own
//! only while the receiver is slower than the sender, or for its toxics.
//!
//! When there is much, more is read at once. That is faster than splice(2) through a pipe, which copies nothing and yet
//! took 5 to 15 % more processor time over the loopback interface, and up to 30 % more of the clock (Linux 6.18): it moves single pages, where
//! a copy from a warm cache is cheap.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::{
    Stream,
    chain::Chain,
    faults::Meetings,
    queue::{Chunk, End},
    recording::Listening,
    traffic::Direction,
};

/// Bytes that are read at once, to begin with.
const READ: usize = 64 * 1024;
/// Bytes that are read at once when there is much and the receiver keeps up.
const MAX_READ: usize = 1024 * 1024;
/// Bytes that are read at once when toxics look at them: as much as Toxiproxy's chunks hold.
const CHUNK: usize = 32 * 1024;
/// Chunks that are written in one go.
const SLICES: usize = 32;
/// Reads before other connections have their turn.
const TURNS: usize = 16;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX_READ]);
}

#[derive(Debug)]
pub(crate) struct Link {
    stream: Stream,
    chain: Option<Box<Chain>>,
    /// What the receiver did not take yet, ahead of all that the chain holds.
    unsent: Bytes,
    /// How much is read at once.
    appetite: usize,
    /// Where the next byte stands in the stream.
    position: u64,
    /// Set when the sender's side is over; it is passed on after `unsent`.
    end: Option<End>,
    /// When to poll again although nothing came.
    pub(crate) wake: Option<Instant>,
}

/// The sockets of a link, for the time of a poll.
pub(crate) struct Sockets<'a> {
    pub(crate) from: &'a mut TcpStream,
    pub(crate) to: &'a mut TcpStream,
    pub(crate) count: &'a Direction,
    pub(crate) taps: &'a mut Listening,
}

impl Link {
    pub(crate) fn new(stream: Stream) -> Self {
        Link { stream, chain: None, unsent: Bytes::new(), appetite: READ, position: 0, end: None, wake: None }
    }

    /// Takes over the toxics as they are now.
    pub(crate) fn rebuild(&mut self, meetings: &Meetings) {
        if self.chain.is_none() && Chain::is_needed(meetings, self.stream) {
            self.chain = Some(Box::default());
            if let (Some(chain), Some(end)) = (&mut self.chain, self.end) {
                chain.finish(end);
            }
        }
        if let Some(chain) = &mut self.chain {
            chain.rebuild(meetings, self.stream, self.position == 0);
        }
    }

    /// Moves what can be moved. Ready when the link has come to its end.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, sockets: &mut Sockets<'_>) -> Poll<End> {
        if self.chain.is_some() {
            return self.poll_chain(cx, sockets);
        }
        let began_at = self.position;
        for _ in 0..TURNS {
            if self.position - began_at >= MAX_READ as u64 {
                break;
            }
            if ready!(self.poll_unsent(cx, sockets)).is_err() {
                return Poll::Ready(End::Broken);
            }
            if let Some(end) = self.end {
                return Poll::Ready(end);
            }
            let end = ready!(self.poll_pass(cx, sockets));
            if end == Some(End::Broken) {
                return Poll::Ready(End::Broken);
            }
            self.end = end;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads once and writes at once what the receiver takes.
    fn poll_pass(&mut self, cx: &mut Context<'_>, sockets: &mut Sockets<'_>) -> Poll<Option<End>> {
        BUFFER.with_borrow_mut(|buffer| {
            let read = match ready!(poll_read(cx, sockets.from, &mut buffer[..self.appetite])) {
                Ok(0) => return Poll::Ready(Some(End::Finished)),
                Err(_) => return Poll::Ready(Some(End::Closed)),
                Ok(length) => &buffer[..length],
            };
            sockets.count.received(read.len());
            sockets.taps.saw(self.stream, read);
            self.position += read.len() as u64;
            let written = match Pin::new(&mut *sockets.to).poll_write(cx, read) {
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(_)) => return Poll::Ready(Some(End::Broken)),
                Poll::Pending => 0,
            };
            sockets.count.sent(written);
            if written < read.len() {
                self.unsent = Bytes::copy_from_slice(&read[written..]);
                self.appetite = READ;
            } else if read.len() == self.appetite {
                self.appetite = MAX_READ.min(2 * self.appetite);
            }
            Poll::Ready(None)
        })
    }

    fn poll_chain(&mut self, cx: &mut Context<'_>, sockets: &mut Sockets<'_>) -> Poll<End> {
        for _ in 0..TURNS {
            let now = Instant::now();
            let Some(chain) = &mut self.chain else { return self.poll(cx, sockets) };
            let (mut moved, wake) = chain.step(now);
            self.wake = wake;
            match self.poll_write_chain(cx, sockets) {
                Poll::Ready(Ok(wrote)) => moved |= wrote,
                Poll::Ready(Err(_)) => return Poll::Ready(End::Broken),
                Poll::Pending => {}
            }
            let Some(chain) = &mut self.chain else { continue };
            if let Some(end) = chain.out.ended()
                && self.unsent.is_empty()
            {
                return Poll::Ready(end);
            }
            if chain.is_spent() && self.end.is_none() {
                self.chain = None;
                self.wake = None;
                continue;
            }
            moved |= self.poll_read_chain(cx, sockets, now);
            if !moved {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what has come through the chain; gives whether anything was written.
    fn poll_write_chain(
        &mut self,
        cx: &mut Context<'_>,
        sockets: &mut Sockets<'_>,
    ) -> Poll<io::Result<bool>> {
        ready!(self.poll_unsent(cx, sockets))?;
        let Some(chain) = &mut self.chain else { return Poll::Ready(Ok(false)) };
        let mut wrote = false;
        while !chain.out.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let chunks = chain.out.next_to_send();
            let count = slices
                .iter_mut()
                .zip(chunks)
                .map(|(slice, chunk)| *slice = IoSlice::new(&chunk.bytes))
                .count();
            let written = match Pin::new(&mut *sockets.to).poll_write_vectored(cx, &slices[..count]) {
                Poll::Ready(written) => written?,
                Poll::Pending => break,
            };
            sockets.count.sent(written);
            chain.out.sent(written);
            wrote = true;
        }
        Poll::Ready(Ok(wrote))
    }

    /// Reads one chunk, if the chain has room for it; gives whether anything came.
    fn poll_read_chain(&mut self, cx: &mut Context<'_>, sockets: &mut Sockets<'_>, now: Instant) -> bool {
        let Some(chain) = &mut self.chain else { return false };
        if self.end.is_some() || !chain.has_room() {
            return false;
        }
        BUFFER.with_borrow_mut(|buffer| {
            match poll_read(cx, sockets.from, &mut buffer[..CHUNK]) {
                Poll::Pending => return false,
                Poll::Ready(Ok(0)) => self.end = Some(End::Finished),
                // What came before the failure is still worth having.
                Poll::Ready(Err(_)) => self.end = Some(End::Closed),
                Poll::Ready(Ok(length)) => {
                    sockets.count.received(length);
                    sockets.taps.saw(self.stream, &buffer[..length]);
                    let bytes = Bytes::copy_from_slice(&buffer[..length]);
                    chain.push(Chunk { position: self.position, ..Chunk::new(bytes, now) });
                    self.position += length as u64;
                }
            }
            if let Some(end) = self.end {
                chain.finish(end);
            }
            true
        })
    }

    /// Sends what was taken over before the chain.
    fn poll_unsent(&mut self, cx: &mut Context<'_>, sockets: &mut Sockets<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let written = ready!(Pin::new(&mut *sockets.to).poll_write(cx, &self.unsent))?;
            sockets.count.sent(written);
            let _ = self.unsent.split_to(written);
            if self.unsent.is_empty() {
                self.unsent = Bytes::new();
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn poll_read(cx: &mut Context<'_>, from: &mut TcpStream, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
    let mut read = ReadBuf::new(buffer);
    ready!(Pin::new(from).poll_read(cx, &mut read))?;
    Poll::Ready(Ok(read.filled().len()))
}
