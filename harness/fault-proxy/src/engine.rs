//! The threads that move the bytes of every proxy in this process.
//!
//! Each runs a single-threaded runtime, so that the thread that hears of a byte also moves it, and a test that computes for long on its
//! own runtime does not hold up its network.

use std::{
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tokio::runtime::{Builder, Handle};

/// More threads than this have never been worth their switches: the work is the kernel's.
const MAX_THREADS: usize = 4;

static STARTED: Mutex<Option<&'static Engine>> = Mutex::new(None);

#[derive(Debug)]
pub(crate) struct Engine {
    threads: Vec<Handle>,
    next: AtomicUsize,
}

impl Engine {
    /// The engine of this process, which is started once and lives as long as the process.
    pub(crate) fn get() -> io::Result<&'static Engine> {
        let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = *started {
            return Ok(engine);
        }
        let count = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let threads = (0..count).map(start_thread).collect::<io::Result<_>>()?;
        let engine: &'static Engine = Box::leak(Box::new(Engine { threads, next: AtomicUsize::new(0) }));
        *started = Some(engine);
        Ok(engine)
    }

    /// The thread whose turn it is.
    pub(crate) fn next(&self) -> &Handle {
        &self.threads[self.next.fetch_add(1, Ordering::Relaxed) % self.threads.len()]
    }
}

fn start_thread(number: usize) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name(format!("fault-proxy-{number}"))
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(handle)
}
