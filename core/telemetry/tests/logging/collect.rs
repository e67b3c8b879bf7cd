//! A sink that keeps lines, and waiting for what must come.

use std::{
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use seaworthy_telemetry::logging::{Failure, Field, Line, Sink, Value};

/// Keeps what it gets; while it is closed, it blocks.
#[derive(Clone, Default)]
pub(crate) struct Collect {
    lines: Arc<Mutex<Vec<Line>>>,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

#[derive(Default)]
struct Gate {
    closed: bool,
    /// The writer stands before the gate.
    waiting: bool,
}

impl Sink for Collect {
    fn write(&mut self, lines: &[Line]) -> Result<(), Failure> {
        let (gate, changed) = &*self.gate;
        let mut gate = gate.lock().unwrap();
        while gate.closed {
            gate.waiting = true;
            changed.notify_all();
            gate = changed.wait(gate).unwrap();
        }
        self.lines.lock().unwrap().extend_from_slice(lines);
        Ok(())
    }
}

impl Collect {
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap().clone()
    }

    pub(crate) fn close(&self) {
        self.gate.0.lock().unwrap().closed = true;
    }

    pub(crate) fn open(&self) {
        self.gate.0.lock().unwrap().closed = false;
        self.gate.1.notify_all();
    }

    /// Waits until the writer stands before the closed gate.
    pub(crate) fn blocked(&self) {
        let (gate, changed) = &*self.gate;
        let gate = gate.lock().unwrap();
        let wait = changed.wait_timeout_while(gate, Duration::from_secs(10), |gate| !gate.waiting).unwrap();
        assert!(!wait.1.timed_out(), "the writer did not come to the sink within 10 s");
    }
}

pub(crate) fn text<'a>(fields: &'a [Field], name: &str) -> &'a str {
    match fields.iter().find(|field| field.name == name).map(|field| &field.value) {
        Some(Value::Text(text)) => text,
        other => panic!("{name} is {other:?} in {fields:?}"),
    }
}

/// Polls until this holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A folder that goes with the test.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("seaworthy-logs-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
