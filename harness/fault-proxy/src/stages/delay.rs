//! Latency: every chunk leaves a delay after it arrived.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{Retired, Stage, later};
use crate::{
    decisions::Dice,
    queue::{Chunk, Queue},
};

/// What may wait in a delay, in bytes; beyond that the sender is pushed back.
const CAPACITY: usize = 4 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Delay {
    latency: Duration,
    jitter: Duration,
    dice: Dice,
    held: VecDeque<(Instant, Chunk)>,
    cost: usize,
}

impl Delay {
    pub(super) fn new(latency: Duration, jitter: Duration, dice: Dice) -> Self {
        Delay { latency, jitter, dice, held: VecDeque::new(), cost: 0 }
    }
}

impl Stage for Delay {
    fn step(&mut self, input: &mut Queue, output: &mut Queue, now: Instant) -> Option<Instant> {
        while self.cost < CAPACITY
            && let Some(chunk) = input.pop()
        {
            let wait = self.dice.delay(chunk.position, self.latency, self.jitter);
            let due = later(chunk.arrived, wait);
            // Jitter must not reorder the stream.
            let due = self.held.back().map_or(due, |&(last, _)| due.max(last));
            self.cost += chunk.cost();
            self.held.push_back((due, chunk));
        }
        while output.has_room()
            && let Some((due, mut chunk)) = self.held.pop_front_if(|(due, _)| *due <= now)
        {
            self.cost -= chunk.cost();
            // What this delay took is no age that the next one may count.
            chunk.arrived = due;
            output.push(chunk);
        }
        match (self.held.front(), input.ended()) {
            (None, Some(end)) => output.finish(end),
            (Some(&(due, _)), _) if due > now => return Some(due),
            _ => {}
        }
        None
    }

    fn retire(&mut self, output: &mut Queue) -> Retired {
        self.held.drain(..).for_each(|(_, chunk)| output.push(chunk));
        Retired::Gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        queue::End,
        stages::testing::{Bench, dice, ms},
    };

    fn delay(latency: u64, jitter: u64) -> Bench<Delay> {
        Bench::new(Delay::new(ms(latency), ms(jitter), dice(1)))
    }

    #[test]
    fn chunks_leave_a_latency_after_they_arrived_and_delays_do_not_add_up() {
        let mut bench = delay(100, 0);
        bench.give(b"a");
        assert!(bench.after(ms(40)).is_empty());
        bench.give(b"b");
        assert!(bench.after(ms(59)).is_empty());
        assert_eq!(bench.after(ms(1)), [b"a"]);
        assert_eq!(bench.after(ms(40)), [b"b"]);
    }

    #[test]
    fn the_age_of_a_chunk_counts_towards_its_delay() {
        let mut bench = delay(100, 0);
        bench.give(b"a");
        bench.now += ms(150);
        assert_eq!(bench.after(ms(0)), [b"a"]);
    }

    #[test]
    fn jitter_moves_delays_both_ways_and_keeps_the_order() {
        let mut bench = delay(50, 30);
        let mut waits = Vec::new();
        for n in 0..200_u8 {
            bench.give(&[n]);
            let played = bench.play();
            waits.push(played.last().map(|(at, _)| *at).unwrap());
        }
        assert!(waits.iter().all(|wait| (ms(20)..=ms(80)).contains(wait)), "{waits:?}");
        assert!(waits.iter().any(|wait| *wait < ms(35)) && waits.iter().any(|wait| *wait > ms(65)));
        (0..=255_u8).for_each(|n| bench.give(&[n]));
        let order: Vec<u8> = bench.play().into_iter().flat_map(|(_, bytes)| bytes).collect();
        assert_eq!(order, (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn a_jitter_beyond_the_latency_is_no_delay_below_zero_and_a_huge_one_no_overflow() {
        for (latency, jitter) in [(0, 10), (5, 50), (u64::MAX, u64::MAX), (u64::MAX, 0), (0, u64::MAX)] {
            let mut bench = delay(latency, jitter);
            bench.give(b"a");
            bench.after(ms(0));
        }
    }

    #[test]
    fn the_end_waits_for_the_data() {
        let mut bench = delay(100, 0);
        bench.give(b"a");
        bench.input.finish(End::Finished);
        bench.after(ms(99));
        assert_eq!(bench.ended(), None);
        assert_eq!(bench.after(ms(1)), [b"a"]);
        assert_eq!(bench.ended(), Some(End::Finished));
    }

    #[test]
    fn a_full_delay_takes_no_more_and_lets_its_data_go_when_it_retires() {
        let mut bench = delay(100, 0);
        for _ in 0..100 {
            bench.give(&[7; 65_536]);
        }
        bench.after(ms(0));
        assert!(!bench.input.is_empty(), "6.5 MB fit into a delay that holds 4 MiB");
        let (retired, bytes) = bench.retire();
        assert_eq!(retired, Retired::Gone);
        assert!(bytes.len() >= CAPACITY - 65_536 && bytes.len() <= CAPACITY + 65_536);
    }
}
