//! What a person sees while scenarios are played: one line that changes on a terminal, a line now and then elsewhere.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::termios::tcgetwinsize;
use seaworthy_harness::Progress;

/// The line of progress, on standard error. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ProgressLine {
    terminal: bool,
    /// What is played now, and how it goes.
    playing: Arc<Mutex<BTreeMap<String, Progress>>>,
}

impl ProgressLine {
    pub(crate) fn new() -> Self {
        ProgressLine { terminal: io::stderr().is_terminal(), playing: Arc::default() }
    }

    /// How a play goes.
    pub(crate) fn show(&self, play: &str, progress: Progress) {
        let line = describe(play, &progress);
        let mut playing = self.lock();
        playing.insert(play.to_owned(), progress);
        if !self.terminal {
            eprintln!("{line}");
            return;
        }
        let line = if playing.len() == 1 { line } else { together(&playing) };
        let width = tcgetwinsize(io::stderr()).map_or(0, |size| usize::from(size.ws_col));
        // A line that wraps can't be taken back.
        let line: String = if width > 0 { line.chars().take(width - 1).collect() } else { line };
        eprint!("\r\x1b[2K{line}");
        let _ = io::stderr().flush();
    }

    /// A play has ended, and this is what is to stay of it.
    pub(crate) fn ended(&self, play: &str, text: &str) {
        self.lock().remove(play);
        self.keep(text);
    }

    /// Something that is to stay.
    pub(crate) fn keep(&self, text: &str) {
        self.clear();
        eprintln!("{text}");
    }

    pub(crate) fn clear(&self) {
        if self.terminal {
            eprint!("\r\x1b[2K");
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Progress>> {
        self.playing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn describe(play: &str, progress: &Progress) -> String {
    let Progress { phase, elapsed, left, counts, rate, faults, .. } = progress;
    let left = left.filter(|left| !left.is_zero());
    let left = left.map_or_else(String::new, |left| format!(", {:.0} s left", left.as_secs_f64().ceil()));
    let faults = if faults.is_empty() { "none".to_owned() } else { faults.join(", ") };
    let elapsed = format!("{:.0} s{left}", elapsed.as_secs_f64());
    format!(
        "{play:<26} {phase}, {elapsed}: {rate:.0}/s, {} ok {} refused {} unknown {} without answer, faults: {faults}",
        counts.ok, counts.failed, counts.unknown, counts.timed_out,
    )
}

/// Several plays in one line.
fn together(playing: &BTreeMap<String, Progress>) -> String {
    let each = playing.iter().map(|(play, progress)| {
        let faults = match progress.faults.len() {
            0 => String::new(),
            faults => format!(" {faults} faults"),
        };
        format!("{play} {:.0} s {:.0}/s{faults}", progress.elapsed.as_secs_f64(), progress.rate)
    });
    each.collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_says_the_phase_the_rate_the_errors_the_faults_and_the_time_left() {
        let mut progress = Progress::default();
        progress.phase = "under load".to_owned();
        progress.elapsed = Duration::from_millis(3_100);
        progress.left = Some(Duration::from_millis(6_200));
        progress.rate = 39.6;
        (progress.counts.ok, progress.counts.failed) = (120, 3);
        progress.faults = vec!["redis kill -9".to_owned()];
        let line = describe("redis-failure", &progress);
        let expected = "redis-failure              under load, 3 s, 7 s left: 40/s, \
                        120 ok 3 refused 0 unknown 0 without answer, faults: redis kill -9";
        assert_eq!(line, expected);
        let both = BTreeMap::from([("a".to_owned(), progress), ("b".to_owned(), Progress::default())]);
        assert_eq!(together(&both), "a 3 s 40/s 1 faults | b 0 s 0/s");
    }
}
