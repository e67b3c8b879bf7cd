//! Slicer: chunks come in slices.

use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::{Retired, Stage, later};
use crate::{
    decisions::Dice,
    queue::{Chunk, Queue},
};

#[derive(Debug)]
pub(super) struct Slicer {
    average: usize,
    variation: usize,
    delay: Duration,
    dice: Dice,
    cutting: Option<Cutting>,
    waits_until: Option<Instant>,
}

/// A chunk that is being cut. The parts that are still to be cut are found one by one, so that slices of
/// one byte do not fill the memory.
#[derive(Debug)]
struct Cutting {
    rest: Chunk,
    /// Lengths of the parts of `rest`, the first one last.
    parts: Vec<usize>,
    rng: ChaCha8Rng,
}

impl Slicer {
    pub(super) fn new(average_size: u64, size_variation: u64, delay: Duration, dice: Dice) -> Self {
        let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let (average, variation) = (size(average_size), size(size_variation));
        Slicer { average, variation, delay, dice, cutting: None, waits_until: None }
    }

    /// Halves until the next part is short enough: Toxiproxy's algorithm, for any numbers.
    fn next_slice(&mut self) -> Option<Chunk> {
        let cutting = self.cutting.as_mut()?;
        let mut length = cutting.parts.pop()?;
        while length > 1 && length.saturating_sub(self.average) > self.variation {
            let half = length / 2;
            let swing = self.variation.min(half - usize::from(length % 2 == 0));
            let first = half - swing + cutting.rng.random_range(0..=2 * swing);
            let first = first.clamp(1, length - 1);
            cutting.parts.push(length - first);
            length = first;
        }
        let slice = cutting.rest.split_to(length);
        if cutting.parts.is_empty() {
            self.cutting = None;
        }
        Some(slice)
    }
}

impl Stage for Slicer {
    fn step(&mut self, input: &mut Queue, output: &mut Queue, now: Instant) -> Option<Instant> {
        while output.has_room() {
            if let Some(until) = self.waits_until {
                if until > now {
                    return Some(until);
                }
                self.waits_until = None;
            }
            if self.cutting.is_none() {
                let Some(rest) = input.pop() else { break };
                let rng = self.dice.at(rest.position);
                self.cutting = Some(Cutting { parts: vec![rest.len()], rest, rng });
            }
            if let Some(mut slice) = self.next_slice() {
                slice.is_apart = true;
                output.push(slice);
                self.waits_until = (!self.delay.is_zero()).then(|| later(now, self.delay));
            }
        }
        if self.cutting.is_none()
            && let Some(end) = input.ended()
        {
            output.finish(end);
        }
        None
    }

    fn retire(&mut self, output: &mut Queue) -> Retired {
        if let Some(cutting) = self.cutting.take() {
            output.push(cutting.rest);
        }
        Retired::Gone
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        queue::End,
        stages::testing::{Bench, dice, ms},
    };

    #[test]
    fn slices_are_short_enough_and_come_one_after_the_other() {
        let mut bench = Bench::new(Slicer::new(10, 2, ms(5), dice(3)));
        bench.give(&[7; 100]);
        let played = bench.play();
        assert!(played.len() >= 9, "{} slices", played.len());
        for (n, (at, slice)) in played.iter().enumerate() {
            assert!(slice.len() <= 12);
            assert_eq!(*at, ms(5) * u32::try_from(n).unwrap());
        }
    }

    #[test]
    fn without_a_size_slices_are_single_bytes() {
        let mut bench = Bench::new(Slicer::new(0, 0, ms(0), dice(3)));
        bench.give(b"abc");
        assert_eq!(bench.after(ms(0)), [b"a", b"b", b"c"]);
    }

    proptest! {
        #[test]
        fn the_slices_are_the_chunk_whatever_the_sizes(
            average in prop_oneof![0..200_u64, Just(u64::MAX)],
            variation in prop_oneof![0..400_u64, Just(u64::MAX)],
            chunk in prop::collection::vec(any::<u8>(), 1..3000),
            seed: u64,
        ) {
            let mut bench = Bench::new(Slicer::new(average, variation, ms(0), dice(seed)));
            bench.give(&chunk);
            bench.input.finish(End::Finished);
            let slices: Vec<Vec<u8>> = bench.play().into_iter().map(|(_, slice)| slice).collect();
            let longest = average.saturating_add(variation).max(1);
            prop_assert!(slices.iter().all(|slice| slice.len() as u64 <= longest && !slice.is_empty()));
            prop_assert_eq!(slices.concat(), chunk);
            prop_assert_eq!(bench.ended(), Some(End::Finished));
        }
    }
}
