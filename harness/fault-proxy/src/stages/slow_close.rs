//! Slow close: the end of the stream comes later.

use std::time::{Duration, Instant};

use super::{Retired, Stage, later};
use crate::queue::Queue;

#[derive(Debug)]
pub(super) struct SlowClose {
    delay: Duration,
    due: Option<Instant>,
}

impl SlowClose {
    pub(super) fn new(delay: Duration) -> Self {
        SlowClose { delay, due: None }
    }
}

impl Stage for SlowClose {
    fn step(&mut self, input: &mut Queue, output: &mut Queue, now: Instant) -> Option<Instant> {
        while output.has_room()
            && let Some(chunk) = input.pop()
        {
            output.push(chunk);
        }
        let end = input.ended()?;
        let due = *self.due.get_or_insert_with(|| later(now, self.delay));
        if due > now {
            return Some(due);
        }
        output.finish(end);
        None
    }

    fn retire(&mut self, _output: &mut Queue) -> Retired {
        Retired::Gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        queue::End,
        stages::testing::{Bench, ms},
    };

    #[test]
    fn data_passes_at_once_and_the_end_comes_later() {
        let mut bench = Bench::new(SlowClose::new(ms(100)));
        bench.give(b"abc");
        bench.input.finish(End::Finished);
        assert_eq!(bench.after(ms(0)), [b"abc"]);
        bench.after(ms(99));
        assert_eq!(bench.ended(), None);
        bench.after(ms(1));
        assert_eq!(bench.ended(), Some(End::Finished));
    }
}
