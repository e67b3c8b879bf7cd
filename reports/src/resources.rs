//! What services used over time.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{seconds, text};

/// Points of a series at most; with more, the higher one of every two is kept.
const MOST_POINTS: usize = 240;
/// Series of a scenario at most; what belongs to further ones is not kept.
const MOST_SERIES: usize = 64;

/// What a value is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// So many of them.
    #[default]
    Count,
    /// Bytes.
    Bytes,
    /// A share of a whole, from 0 to 1.
    Share,
    /// Seconds.
    Seconds,
}

/// One resource of one service over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The service.
    pub service: String,
    /// What was measured: `memory`, `connections`.
    pub resource: String,
    /// Its unit.
    pub unit: Unit,
    points: Vec<(Duration, f64)>,
    /// Of so many samples, the highest one is kept.
    stride: u64,
    seen: u64,
}

impl Series {
    /// The samples that were kept, in the order in which they were taken. The highest one is among them.
    pub fn points(&self) -> &[(Duration, f64)] {
        &self.points
    }

    /// The highest value.
    pub fn peak(&self) -> f64 {
        self.points.iter().map(|(_, value)| *value).fold(0.0, f64::max)
    }

    fn push(&mut self, at: Duration, value: f64) {
        if self.seen.is_multiple_of(self.stride) {
            if self.points.len() == MOST_POINTS {
                let higher = |pair: &[(Duration, f64)]| if pair[1].1 > pair[0].1 { pair[1] } else { pair[0] };
                self.points = self.points.chunks_exact(2).map(higher).collect();
                self.stride *= 2;
            }
            self.points.push((at, value));
        } else if let Some(last) = self.points.last_mut().filter(|last| last.1 < value) {
            *last = (at, value);
        }
        self.seen += 1;
    }
}

/// What the services of a scenario used over time.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resources {
    series: BTreeMap<(Unit, String, String), Series>,
}

impl Resources {
    /// Adds a sample, taken at this time from the scenario's start. What is not a number of at least zero is left out.
    pub fn sample(&mut self, at: Duration, service: &str, resource: &str, unit: Unit, value: f64) {
        if !value.is_finite() || value < 0.0 {
            return;
        }
        let (service, resource) = (text::one_line(service, text::NAME), text::one_line(resource, text::NAME));
        let key = (unit, resource.clone(), service.clone());
        if self.series.len() >= MOST_SERIES && !self.series.contains_key(&key) {
            return;
        }
        let empty = || Series { service, resource, unit, points: Vec::new(), stride: 1, seen: 0 };
        self.series.entry(key).or_insert_with(empty).push(seconds::rounded(at), rounded(value));
    }

    /// Every series, those of one resource together.
    pub fn series(&self) -> impl Iterator<Item = &Series> {
        self.series.values()
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }
}

/// To six places after the point, or to whole numbers of at most 9e15 where those would be lost: what JSON gives back as it was.
fn rounded(value: f64) -> f64 {
    if value < 1e9 { (value * 1e6).round() / 1e6 } else { value.min(9e15).round() }
}
