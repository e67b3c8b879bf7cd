//! Waking up at a time, to well under a millisecond.
//!
//! tokio's timer and `epoll_wait` count whole milliseconds, which is as much as many an injected delay may be off. On Linux a
//! connection that waits has a `timerfd` of its own; elsewhere, and when no file handle is left, tokio's timer does.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use tokio::time::Sleep;

#[derive(Debug, Default)]
pub(crate) struct Alarm {
    set_for: Option<Instant>,
    clock: Option<Box<Clock>>,
}

#[derive(Debug)]
enum Clock {
    #[cfg(target_os = "linux")]
    Precise(precise::Timer),
    Coarse(Pin<Box<Sleep>>),
}

impl Alarm {
    /// Ready once `due` has come.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<()> {
        let now = Instant::now();
        if due <= now {
            return Poll::Ready(());
        }
        let clock = self.clock.get_or_insert_with(|| Box::new(Clock::new()));
        let moved = self.set_for != Some(due);
        self.set_for = Some(due);
        match clock.poll(cx, moved.then_some((now, due))) {
            // The clock may have rung for an earlier setting.
            Poll::Ready(()) if Instant::now() < due => {
                self.set_for = None;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            other => other,
        }
    }
}

impl Clock {
    fn new() -> Self {
        #[cfg(target_os = "linux")]
        if let Ok(timer) = precise::Timer::new() {
            return Clock::Precise(timer);
        }
        Clock::Coarse(Box::pin(tokio::time::sleep_until(tokio::time::Instant::now())))
    }

    fn poll(&mut self, cx: &mut Context<'_>, moved: Option<(Instant, Instant)>) -> Poll<()> {
        match self {
            #[cfg(target_os = "linux")]
            Clock::Precise(timer) => {
                if let Some((now, due)) = moved {
                    timer.set(due - now);
                }
                timer.poll(cx)
            }
            Clock::Coarse(sleep) => {
                if let Some((_, due)) = moved {
                    sleep.as_mut().reset(due.into());
                }
                sleep.as_mut().poll(cx)
            }
        }
    }
}

#[cfg(target_os = "linux")]
mod precise {
    use std::{
        io,
        os::fd::{AsFd, AsRawFd, RawFd},
        task::{Context, Poll, ready},
        time::Duration,
    };

    use nix::sys::{
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    };
    use tokio::io::{Interest, unix::AsyncFd};

    #[derive(Debug)]
    struct Handle(TimerFd);

    impl AsRawFd for Handle {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_fd().as_raw_fd()
        }
    }

    #[derive(Debug)]
    pub(super) struct Timer(AsyncFd<Handle>);

    impl Timer {
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
            let timer = Handle(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?);
            #[expect(
                deprecated,
                reason = "its successor is unsafe and asks for what holds here: the handle owns its one descriptor, \
                          which stays open and the same for as long as it is registered"
            )]
            let registered = AsyncFd::with_interest(timer, Interest::READABLE)?;
            Ok(Timer(registered))
        }

        pub(super) fn set(&self, wait: Duration) {
            // Zero would turn the timer off, and a day is as good as for ever.
            let wait = wait.clamp(Duration::from_nanos(1), Duration::from_secs(86_400));
            let once = Expiration::OneShot(TimeSpec::from_duration(wait));
            let _ = self.0.get_ref().0.set(once, TimerSetTimeFlags::empty());
        }

        pub(super) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
            loop {
                let Ok(mut guard) = ready!(self.0.poll_read_ready(cx)) else { return Poll::Ready(()) };
                // Reading it is what makes the kernel tell us of the next time.
                let read = guard.try_io(|timer| {
                    nix::unistd::read(&timer.get_ref().0, &mut [0; 8]).map_err(io::Error::from)
                });
                if read.is_ok() {
                    return Poll::Ready(());
                }
            }
        }
    }
}
