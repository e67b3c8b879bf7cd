//! The pipeline of the process. There is one for this test program, so there is one test.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use seaworthy_telemetry::{
    logging::{self, Error, Logging},
    settings::{Settings, Strategy},
};

use tracing::Event;
use tracing_subscriber::{Layer, Registry, layer};

use crate::collect::{Folder, eventually};

/// Counts the events of this test.
struct Counting(Arc<AtomicUsize>);

impl Layer<Registry> for Counting {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, Registry>) {
        self.0.fetch_add(usize::from(event.metadata().target() == "installed"), Ordering::Relaxed);
    }
}

#[test]
fn an_installed_pipeline_takes_the_whole_process_and_can_be_changed_from_anywhere() {
    assert!(matches!(logging::set_level("info"), Err(Error::NotStarted)));
    assert_eq!(logging::counters(), logging::Counters::default());
    let folder = Folder::new();
    let settings =
        Settings::new("whole").strategy(Strategy::Files).dir(&folder.0).level("off,installed=info");
    let seen = Arc::new(AtomicUsize::new(0));
    let running = Logging::start_with(&settings, vec![Box::new(Counting(seen.clone()))]).unwrap();
    assert!(matches!(Logging::start(&settings), Err(Error::AlreadyStarted)));
    std::thread::spawn(|| tracing::info!(target: "installed", "from another thread")).join().unwrap();
    tracing::trace!(target: "installed", "for the other layer alone");
    assert_eq!(seen.load(Ordering::Relaxed), 2, "the level of the logs is not that of other layers");
    tracing_log::log::info!(target: "alien", "not at this level");
    logging::set_level("off,installed=debug,panic=error,alien=info").unwrap();
    tracing_log::log::info!(target: "alien", "from the crate log");
    tracing::debug!(target: "installed", "in detail");
    logging::set_level_for("off", Duration::from_millis(20)).unwrap();
    tracing::error!(target: "installed", "not at this level");
    eventually("the level goes back", || running.handle().level() != "off");
    let _ = std::thread::spawn(|| panic!("no answer from redis://:hunter2@cache")).join();
    drop(running);
    tracing::error!(target: "installed", "too late");
    assert_eq!(logging::counters().dropped, 1);
    let text = std::fs::read_to_string(folder.0.join("whole.log")).unwrap();
    assert_eq!(text.lines().count(), 4, "{text}");
    for part in [
        "from another thread",
        "in detail",
        "\"target\":\"alien\",\"message\":\"from the crate log\"",
        "a thread panicked: no answer from redis://[redacted]@cache",
        "panic.location",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}
