//! Timeout and blackhole: nothing passes.

use std::time::{Duration, Instant};

use super::{Retired, Stage, later};
use crate::queue::{End, Queue};

/// How long a sender that closed its side is kept waiting for an answer, so that clients that gave up do not
/// take up file handles for ever.
pub(crate) const LINGER: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Swallow {
    closes_at: Option<Instant>,
    lets_go_at: Option<Instant>,
}

impl Swallow {
    pub(super) fn new(closes_at: Option<Instant>) -> Self {
        Swallow { closes_at, lets_go_at: None }
    }
}

impl Stage for Swallow {
    fn step(&mut self, input: &mut Queue, output: &mut Queue, now: Instant) -> Option<Instant> {
        input.discard();
        match input.ended() {
            Some(End::Finished) => {
                self.lets_go_at.get_or_insert_with(|| later(now, LINGER));
            }
            Some(end) => output.finish(end),
            None => {}
        }
        let due = self.closes_at.into_iter().chain(self.lets_go_at).min()?;
        if due > now {
            return Some(due);
        }
        output.finish(End::Closed);
        None
    }

    fn retire(&mut self, _output: &mut Queue) -> Retired {
        Retired::Closes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::testing::{Bench, ms};

    #[test]
    fn data_is_gone_and_the_connection_closes_in_time() {
        let mut bench = Bench::new(Swallow::new(None));
        bench.stage.closes_at = Some(bench.now + ms(100));
        bench.give(b"abc");
        assert!(bench.after(ms(99)).is_empty());
        assert_eq!(bench.ended(), None);
        bench.after(ms(1));
        assert_eq!(bench.ended(), Some(End::Closed));
    }

    #[test]
    fn without_a_time_it_never_closes_and_its_removal_does() {
        let mut bench = Bench::new(Swallow::new(None));
        bench.give(b"abc");
        assert!(bench.after(ms(1_000_000_000)).is_empty());
        assert_eq!((bench.ended(), bench.wake), (None, None));
        assert_eq!(bench.retire(), (Retired::Closes, vec![]));
    }

    #[test]
    fn a_sender_that_closed_its_side_is_let_go_in_the_end() {
        let mut bench = Bench::new(Swallow::new(None));
        bench.input.finish(End::Finished);
        bench.after(ms(0));
        assert_eq!(bench.ended(), None);
        bench.after(LINGER);
        assert_eq!(bench.ended(), Some(End::Closed));
    }
}
