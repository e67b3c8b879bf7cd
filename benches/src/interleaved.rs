//! Measuring several ways to do the same thing in turns, so that what else the machine does meets all of them alike.

use std::time::Duration;

/// What the rounds of one way came to.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The way's name.
    pub name: &'static str,
    /// One result a round, in whatever unit `measure` gave, smallest first.
    pub results: Vec<f64>,
}

impl Measured {
    /// The middle of the rounds' results.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The result that this share of the rounds stays under.
    pub fn quantile(&self, share: f64) -> f64 {
        let last = self.results.len().saturating_sub(1);
        self.results.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    }
}

/// Measures every way once a round, and starts each round with another way. A round before them warms everything up.
///
/// ```
/// let mut calls = Vec::new();
/// let measured = seaworthy_benches::interleaved(["a", "b"], 2, |name| {
///     calls.push(name);
///     f64::from(calls.len() as u32)
/// });
/// assert_eq!(calls, ["a", "b", "a", "b", "b", "a"]);
/// assert_eq!(measured[1].results, [4.0, 5.0]);
/// ```
pub fn interleaved<const WAYS: usize>(
    names: [&'static str; WAYS],
    rounds: usize,
    measure: impl FnMut(&'static str) -> f64,
) -> [Measured; WAYS] {
    let mut measured = in_turns(&names, rounds, measure).into_iter();
    names.map(|_| measured.next().expect("each way was measured"))
}

/// As [`interleaved`], for as many ways as there are.
pub fn in_turns(
    names: &[&'static str],
    rounds: usize,
    mut measure: impl FnMut(&'static str) -> f64,
) -> Vec<Measured> {
    for name in names {
        let _warm = measure(name);
    }
    let mut measured: Vec<Measured> =
        names.iter().map(|name| Measured { name, results: Vec::new() }).collect();
    for round in 0..rounds {
        for turn in 0..names.len() {
            let way = &mut measured[(round + turn) % names.len()];
            way.results.push(measure(way.name));
        }
    }
    measured.iter_mut().for_each(|way| way.results.sort_by(f64::total_cmp));
    measured
}

/// Microseconds, as a float.
pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
