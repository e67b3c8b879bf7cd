//! Corrupt: bits flip.

use std::time::Instant;

use bytes::BytesMut;
use rand_chacha::ChaCha8Rng;

use super::{Retired, Stage};
use crate::{
    decisions::{Decided, Dice},
    queue::{Chunk, Queue},
};

#[derive(Debug)]
pub(super) struct Corrupt {
    rate: f64,
    dice: Dice,
    rng: ChaCha8Rng,
    /// Bytes to spare before the next hit.
    spare: u64,
    /// Bytes that came by.
    seen: u64,
}

impl Corrupt {
    pub(super) fn new(rate: f64, dice: Dice) -> Self {
        let mut rng = dice.at(0);
        let spare = Dice::gap(&mut rng, rate);
        Corrupt { rate, dice, rng, spare, seen: 0 }
    }

    fn corrupt(&mut self, chunk: Chunk) -> Chunk {
        let length = chunk.len() as u64;
        if self.spare >= length {
            self.spare -= length;
            self.seen += length;
            return chunk;
        }
        let mut bytes = BytesMut::from(chunk.bytes);
        let mut at = self.spare;
        while at < length {
            let bit = Dice::bit(&mut self.rng);
            bytes[at as usize] ^= 1 << bit;
            self.dice.note(self.seen + at, || Decided::Flip(bit));
            at = at.saturating_add(1).saturating_add(Dice::gap(&mut self.rng, self.rate));
        }
        self.spare = at - length;
        self.seen += length;
        Chunk { bytes: bytes.freeze(), ..chunk }
    }
}

impl Stage for Corrupt {
    fn step(&mut self, input: &mut Queue, output: &mut Queue, _now: Instant) -> Option<Instant> {
        while output.has_room()
            && let Some(chunk) = input.pop()
        {
            output.push(self.corrupt(chunk));
        }
        if let Some(end) = input.ended() {
            output.finish(end);
        }
        None
    }

    fn retire(&mut self, _output: &mut Queue) -> Retired {
        Retired::Gone
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stages::testing::{Bench, dice, ms};

    fn corrupted(rate: f64, seed: u64, chunks: &[Vec<u8>]) -> Vec<u8> {
        let mut bench = Bench::new(Corrupt::new(rate, dice(seed)));
        let mut out = Vec::new();
        for chunk in chunks {
            bench.give(chunk);
            out.extend(bench.after(ms(0)).concat());
        }
        out
    }

    #[test]
    fn a_share_of_the_bytes_differs_by_one_bit_each() {
        for (rate, least, most) in [(0.0, 0, 0), (0.01, 50, 150), (1.0, 10_000, 10_000)] {
            let out = corrupted(rate, 1, &[vec![0; 10_000]]);
            let flipped = out.iter().filter(|byte| **byte != 0).count();
            assert!((least..=most).contains(&flipped), "{flipped} bytes at a rate of {rate}");
            assert!(out.iter().all(|byte| byte.count_ones() <= 1));
        }
    }

    proptest! {
        #[test]
        fn what_is_corrupted_does_not_depend_on_how_the_stream_is_cut(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20),
            rate in 0.0..1.0_f64,
            seed: u64,
        ) {
            prop_assert_eq!(corrupted(rate, seed, &chunks), corrupted(rate, seed, &[chunks.concat()]));
        }
    }
}
