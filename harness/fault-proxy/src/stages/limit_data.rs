//! Limit data: exactly so many bytes, then the end.

use std::time::Instant;

use super::{Retired, Stage};
use crate::queue::{End, Queue};

#[derive(Debug)]
pub(super) struct LimitData {
    left: u64,
}

impl LimitData {
    pub(super) fn new(bytes: u64) -> Self {
        LimitData { left: bytes }
    }
}

impl Stage for LimitData {
    fn step(&mut self, input: &mut Queue, output: &mut Queue, _now: Instant) -> Option<Instant> {
        while output.has_room()
            && let Some(mut chunk) = input.pop()
        {
            let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(chunk.len());
            output.push(chunk.split_to(length));
            self.left -= length as u64;
            if self.left == 0 {
                input.discard();
                output.finish(End::Closed);
            }
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
    use super::*;
    use crate::stages::testing::{Bench, ms};

    fn passes(limit: u64, chunks: &[&[u8]]) -> (Vec<u8>, Option<End>) {
        let mut bench = Bench::new(LimitData::new(limit));
        chunks.iter().for_each(|chunk| bench.give(chunk));
        let out = bench.after(ms(0)).concat();
        (out, bench.ended())
    }

    #[test]
    fn exactly_so_many_bytes_pass_however_they_are_cut() {
        assert_eq!(passes(5, &[b"abc", b"defg"]), (b"abcde".to_vec(), Some(End::Closed)));
        assert_eq!(passes(3, &[b"abc", b"d"]), (b"abc".to_vec(), Some(End::Closed)));
        assert_eq!(passes(9, &[b"abc", b"defg"]), (b"abcdefg".to_vec(), None));
        assert_eq!(passes(u64::MAX, &[b"abc"]), (b"abc".to_vec(), None));
    }

    #[test]
    fn a_limit_of_nothing_closes_with_the_first_byte() {
        assert_eq!(passes(0, &[]), (vec![], None));
        assert_eq!(passes(0, &[b"a"]), (vec![], Some(End::Closed)));
    }
}
