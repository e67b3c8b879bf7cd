//! Stall: now and then everything waits, as after a lost packet.

use std::time::{Duration, Instant};

use rand::RngExt as _;

use super::{Retired, Stage, later};
use crate::{
    decisions::{Decided, Dice},
    queue::{Chunk, Queue},
};

#[derive(Debug)]
pub(super) struct Stall {
    share: f64,
    pause: Duration,
    dice: Dice,
    held: Option<(Instant, Chunk)>,
}

impl Stall {
    pub(super) fn new(share: f64, pause: Duration, dice: Dice) -> Self {
        Stall { share, pause, dice, held: None }
    }

    fn is_lost(&self, chunk: &Chunk) -> bool {
        let lost = self.dice.at(chunk.position).random::<f64>() < self.share;
        if lost {
            let micros = u64::try_from(self.pause.as_micros()).unwrap_or(u64::MAX);
            self.dice.note(chunk.position, || Decided::DelayMicros(micros));
        }
        lost
    }
}

impl Stage for Stall {
    fn step(&mut self, input: &mut Queue, output: &mut Queue, now: Instant) -> Option<Instant> {
        while output.has_room() {
            match self.held.take() {
                Some((due, chunk)) if due > now => {
                    self.held = Some((due, chunk));
                    return Some(due);
                }
                Some((_, chunk)) => output.push(chunk),
                None => match input.pop() {
                    Some(chunk) if self.is_lost(&chunk) => self.held = Some((later(now, self.pause), chunk)),
                    Some(chunk) => output.push(chunk),
                    None => break,
                },
            }
        }
        if self.held.is_none()
            && let Some(end) = input.ended()
        {
            output.finish(end);
        }
        None
    }

    fn retire(&mut self, output: &mut Queue) -> Retired {
        if let Some((_, chunk)) = self.held.take() {
            output.push(chunk);
        }
        Retired::Gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::testing::{Bench, dice, ms};

    #[test]
    fn a_share_of_the_chunks_holds_what_is_behind_it_for_the_pause() {
        let mut bench = Bench::new(Stall::new(0.25, ms(200), dice(5)));
        (0..200_u8).for_each(|n| bench.give(&[n]));
        let played = bench.play();
        let order: Vec<u8> = played.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        assert_eq!(order, (0..200).collect::<Vec<u8>>());
        let pauses = played.last().unwrap().0.as_millis() / 200;
        assert!((30..=70).contains(&pauses), "{pauses} of 200 chunks were held");
    }

    #[test]
    fn which_chunks_are_held_does_not_depend_on_what_came_before_in_one_piece() {
        let stall = Stall::new(0.5, ms(200), dice(5));
        let mut lost = |position| {
            let bytes = bytes::Bytes::from_static(b"x");
            stall.is_lost(&Chunk { position, ..Chunk::new(bytes, Instant::now()) })
        };
        let forwards: Vec<bool> = (0..50).map(&mut lost).collect();
        let mut backwards: Vec<bool> = (0..50).rev().map(&mut lost).collect();
        backwards.reverse();
        assert_eq!(forwards, backwards);
        assert!(forwards.contains(&true) && forwards.contains(&false));
    }
}
