//! What is logged, and changing it while the service runs.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing_subscriber::{
    Registry,
    filter::{LevelFilter, Targets},
    reload,
};

use super::Error;

/// The most directives of a level.
const MAX_DIRECTIVES: usize = 100;

/// Reads `info,shop=debug`.
pub(crate) fn parse(text: &str) -> Result<Targets, String> {
    let hint = || {
        "give a level and levels of targets, like info,shop=debug; levels are off, error, warn, info, debug, trace".to_owned()
    };
    let mut targets = Targets::new();
    if text.split(',').count() > MAX_DIRECTIVES {
        return Err(format!("give at most {MAX_DIRECTIVES} levels"));
    }
    for directive in text.split(',').map(str::trim) {
        // A word alone is a level: a misspelt one must not be taken for a target.
        let (target, level) = directive.split_once('=').unwrap_or(("", directive));
        let by_name = |name: &str| name.chars().all(|c| c.is_ascii_alphabetic()) && !name.is_empty();
        let level: LevelFilter =
            Some(level.trim()).filter(|name| by_name(name)).ok_or_else(hint)?.parse().map_err(|_| hint())?;
        if directive.contains('=') && target.trim().is_empty() {
            return Err(hint());
        }
        targets = if target.is_empty() {
            targets.with_default(level)
        } else {
            targets.with_target(target.trim(), level)
        };
    }
    Ok(targets)
}

/// The level of a pipeline.
#[derive(Debug)]
pub(super) struct Levels {
    filter: reload::Handle<Targets, Registry>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// What comes back after a change that does not last.
    lasting: String,
    current: String,
    /// Counts changes, so that one that comes to its end sees that it has been replaced.
    changes: u64,
}

impl Levels {
    pub(super) fn new(targets: Targets, text: &str) -> (reload::Layer<Targets, Registry>, Arc<Self>) {
        let (layer, filter) = reload::Layer::new(targets);
        let state = State { lasting: text.to_owned(), current: text.to_owned(), changes: 0 };
        (layer, Arc::new(Levels { filter, state: Mutex::new(state), changed: Condvar::new() }))
    }

    pub(super) fn current(&self) -> String {
        self.lock().current.clone()
    }

    /// Sets the level, for good or for a while.
    pub(super) fn set(self: &Arc<Self>, text: &str, lasts: Option<Duration>) -> Result<(), Error> {
        let mut state = self.lock();
        self.apply(&mut state, text)?;
        state.changes += 1;
        self.changed.notify_all();
        let Some(lasts) = lasts else {
            text.clone_into(&mut state.lasting);
            return Ok(());
        };
        let (change, until, levels) = (state.changes, Instant::now() + lasts, self.clone());
        let wait = move || levels.go_back(change, until);
        // Ends at the next change, so there is one such thread at most.
        let thread = std::thread::Builder::new().name("log-level".to_owned()).spawn(wait);
        if let Err(error) = thread {
            let lasting = state.lasting.clone();
            self.apply(&mut state, &lasting)?;
            return Err(Error::Thread(error));
        }
        Ok(())
    }

    fn apply(&self, state: &mut State, text: &str) -> Result<(), Error> {
        let targets =
            parse(text).map_err(|hint| Error::Level { level: super::bounds::cut_name(text), hint })?;
        // Fails only when the subscriber is gone, and then there is nothing to log.
        let _ = self.filter.reload(targets);
        text.clone_into(&mut state.current);
        Ok(())
    }

    fn go_back(&self, change: u64, until: Instant) {
        let mut state = self.lock();
        while state.changes == change {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let lasting = state.lasting.clone();
                let _ = self.apply(&mut state, &lasting);
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
