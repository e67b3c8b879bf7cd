//! Bandwidth: so many bytes per second.

use std::time::{Duration, Instant};

use super::{Retired, Stage, later};
use crate::queue::{Chunk, Queue};

/// The longest time that one piece takes, and the most that a late wake-up is made up for.
const SLOT: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Bandwidth {
    /// Kilobytes per second, which is bytes per millisecond.
    rate: u64,
    on_its_way: Option<(Instant, Chunk)>,
    free_at: Option<Instant>,
    /// Whether data waited all the time since the last piece left.
    busy: bool,
}

impl Bandwidth {
    pub(super) fn new(rate: u64) -> Self {
        Bandwidth { rate, on_its_way: None, free_at: None, busy: false }
    }

    fn start(&mut self, mut chunk: Chunk, input: &mut Queue, now: Instant) {
        let most = usize::try_from(self.rate.saturating_mul(SLOT.as_millis() as u64)).unwrap_or(usize::MAX);
        let piece = chunk.split_to(chunk.len().min(most));
        input.unpop(chunk);
        let earliest = if self.busy { now.checked_sub(SLOT).unwrap_or(now) } else { now };
        let start = self.free_at.map_or(earliest, |free| free.max(earliest));
        let takes = Duration::from_nanos((piece.len() as u64).saturating_mul(1_000_000) / self.rate);
        let due = later(start, takes);
        self.free_at = Some(due);
        self.on_its_way = Some((due, piece));
    }
}

impl Stage for Bandwidth {
    fn step(&mut self, input: &mut Queue, output: &mut Queue, now: Instant) -> Option<Instant> {
        loop {
            match self.on_its_way.take() {
                Some((due, piece)) if due > now => {
                    self.on_its_way = Some((due, piece));
                    return Some(due);
                }
                Some((due, piece)) if !output.has_room() => {
                    self.on_its_way = Some((due, piece));
                    return None;
                }
                Some((_, piece)) => {
                    output.push(piece);
                    self.busy = !input.is_empty();
                }
                // Nothing passes a line without bandwidth, its end neither.
                None if self.rate == 0 => return None,
                None => match input.pop() {
                    Some(chunk) => self.start(chunk, input, now),
                    None => {
                        self.busy = false;
                        if let Some(end) = input.ended() {
                            output.finish(end);
                        }
                        return None;
                    }
                },
            }
        }
    }

    fn retire(&mut self, output: &mut Queue) -> Retired {
        if let Some((_, piece)) = self.on_its_way.take() {
            output.push(piece);
        }
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
    fn bytes_take_their_time_in_pieces_of_a_tenth_of_a_second() {
        let mut bench = Bench::new(Bandwidth::new(10));
        bench.give(&[7; 2500]);
        let played: Vec<_> = bench.play().into_iter().map(|(at, bytes)| (at, bytes.len())).collect();
        assert_eq!(played, [(ms(100), 1000), (ms(200), 1000), (ms(250), 500)]);
    }

    #[test]
    fn a_late_wake_up_is_made_up_for_and_an_idle_time_is_not() {
        let mut bench = Bench::new(Bandwidth::new(10));
        bench.give(&[7; 1000]);
        bench.give(&[7; 1000]);
        assert!(bench.after(ms(0)).is_empty());
        // 30 ms late: the second piece is due 200 ms from the start, nevertheless.
        assert_eq!(bench.after(ms(130)).len(), 1);
        assert_eq!(bench.after(ms(70)).len(), 1);
        bench.now += ms(10_000);
        bench.give(&[7; 1000]);
        assert!(bench.after(ms(0)).is_empty());
        assert!(bench.after(ms(99)).is_empty());
        assert_eq!(bench.after(ms(1)).len(), 1);
    }

    #[test]
    fn without_bandwidth_nothing_passes_until_the_toxic_is_gone() {
        let mut bench = Bench::new(Bandwidth::new(0));
        bench.give(b"abc");
        bench.input.finish(End::Finished);
        assert!(bench.after(ms(1_000_000)).is_empty());
        assert_eq!((bench.ended(), bench.wake), (None, None));
        assert_eq!(bench.retire(), (Retired::Gone, vec![]));
        assert_eq!(bench.input.pop().unwrap().len(), 3);
    }

    #[test]
    fn the_fastest_line_is_no_overflow() {
        let mut bench = Bench::new(Bandwidth::new(u64::MAX));
        bench.give(&[7; 65_536]);
        bench.input.finish(End::Finished);
        assert_eq!(bench.after(ms(0)).len(), 1);
        assert_eq!(bench.ended(), Some(End::Finished));
    }
}
