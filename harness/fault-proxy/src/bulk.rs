//! Moving much data without looking at it: on Linux, the kernel moves pages from socket to socket through a pipe (splice(2)).
//!
//! Two calls per piece make it a bad deal for small messages, so a link turns to it only after a read that filled its buffer, and
//! turns away from it when little comes.

use std::{
    io,
    task::{Context, Poll},
};

use tokio::net::TcpStream;

use crate::traffic::Direction;

/// What a bulk transfer came to.
#[derive(Debug)]
pub(crate) enum Moved {
    /// There is not much to move any more: read and write again.
    Little,
    /// The sender closed its side.
    End,
    /// The sender's side failed.
    ReadFailed,
    /// The receiver's side failed.
    WriteFailed,
}

#[cfg(target_os = "linux")]
pub(crate) use linux::Bulk;

#[cfg(target_os = "linux")]
mod linux {
    use std::{cell::RefCell, os::fd::OwnedFd, task::ready};

    use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
    use tokio::io::Interest;

    use super::*;

    /// What a pipe is asked to hold, in bytes; it works with what it gets.
    const PIPE: usize = 1024 * 1024;
    /// Less than this at once, and reading and writing is the better way.
    const LITTLE: usize = 32 * 1024;
    /// Pipes that each thread keeps for the next bulk transfer.
    const SPARE_PIPES: usize = 4;
    /// Pieces moved before other connections have their turn.
    const TURNS: usize = 8;

    thread_local! {
        static SPARE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
    }

    #[derive(Debug)]
    struct Pipe {
        out: OwnedFd,
        into: OwnedFd,
        filled: usize,
    }

    /// A link's way to move much data. It holds a pipe only while it does.
    #[derive(Debug, Default)]
    pub(crate) struct Bulk {
        pipe: Option<Pipe>,
    }

    impl Bulk {
        /// Turns to bulk transfer, if the system has a pipe for it.
        pub(crate) fn begin(&mut self) {
            if self.pipe.is_none() {
                self.pipe = SPARE.with_borrow_mut(Vec::pop).or_else(|| Pipe::new().ok());
            }
        }

        pub(crate) fn is_on(&self) -> bool {
            self.pipe.is_some()
        }

        /// Sends what is in the pipe, and gives the pipe back.
        pub(crate) fn poll_stop(
            &mut self,
            cx: &mut Context<'_>,
            to: &TcpStream,
            count: &Direction,
        ) -> Poll<io::Result<()>> {
            let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(())) };
            let emptied = ready!(pipe.poll_empty(cx, to, count));
            let pipe = self.pipe.take();
            SPARE.with_borrow_mut(|spare| match pipe {
                Some(pipe) if pipe.filled == 0 && spare.len() < SPARE_PIPES => spare.push(pipe),
                _ => {}
            });
            Poll::Ready(emptied)
        }

        /// Moves data until there is little, or none for now.
        pub(crate) fn poll_move(
            &mut self,
            cx: &mut Context<'_>,
            from: &TcpStream,
            to: &TcpStream,
            count: &Direction,
            position: &mut u64,
        ) -> Poll<Moved> {
            let Some(pipe) = &mut self.pipe else { return Poll::Ready(Moved::Little) };
            for _ in 0..TURNS {
                if ready!(pipe.poll_empty(cx, to, count)).is_err() {
                    return Poll::Ready(Moved::WriteFailed);
                }
                match ready!(pipe.poll_fill(cx, from)) {
                    Ok(0) => return Poll::Ready(Moved::End),
                    Ok(length) => {
                        count.received(length);
                        *position += length as u64;
                        if length < LITTLE {
                            return match ready!(pipe.poll_empty(cx, to, count)) {
                                Ok(()) => Poll::Ready(Moved::Little),
                                Err(_) => Poll::Ready(Moved::WriteFailed),
                            };
                        }
                    }
                    Err(_) => return Poll::Ready(Moved::ReadFailed),
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }

    impl Pipe {
        fn new() -> nix::Result<Self> {
            let (out, into) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
            // Users other than root may have had their share of pipe memory: the default size does, too.
            let _ = fcntl(&into, FcntlArg::F_SETPIPE_SZ(PIPE as i32));
            Ok(Pipe { out, into, filled: 0 })
        }

        /// Only an empty pipe is filled, so that "would block" can only mean the socket.
        fn poll_fill(&mut self, cx: &mut Context<'_>, from: &TcpStream) -> Poll<io::Result<usize>> {
            loop {
                ready!(from.poll_read_ready(cx))?;
                match from.try_io(Interest::READABLE, || move_pages(from, &self.into, PIPE)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Ok(length) => {
                        self.filled = length;
                        return Poll::Ready(Ok(length));
                    }
                    other => return Poll::Ready(other),
                }
            }
        }

        fn poll_empty(
            &mut self,
            cx: &mut Context<'_>,
            to: &TcpStream,
            count: &Direction,
        ) -> Poll<io::Result<()>> {
            while self.filled > 0 {
                match to.try_io(Interest::WRITABLE, || move_pages(&self.out, to, self.filled)) {
                    Ok(length) => {
                        self.filled -= length.min(self.filled);
                        count.sent(length);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ready!(to.poll_write_ready(cx))?;
                    }
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    fn move_pages(
        from: impl std::os::fd::AsFd,
        to: impl std::os::fd::AsFd,
        length: usize,
    ) -> io::Result<usize> {
        let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
        Ok(splice(from, None, to, None, length, flags)?)
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::Bulk;

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use super::*;

    /// There is no better way than reading and writing here.
    #[derive(Debug, Default)]
    pub(crate) struct Bulk;

    impl Bulk {
        pub(crate) fn begin(&mut self) {}

        pub(crate) fn is_on(&self) -> bool {
            false
        }

        pub(crate) fn poll_stop(
            &mut self,
            _cx: &mut Context<'_>,
            _to: &TcpStream,
            _count: &Direction,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        pub(crate) fn poll_move(
            &mut self,
            _cx: &mut Context<'_>,
            _from: &TcpStream,
            _to: &TcpStream,
            _count: &Direction,
            _position: &mut u64,
        ) -> Poll<Moved> {
            Poll::Ready(Moved::Little)
        }
    }
}
