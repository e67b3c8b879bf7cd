//! Statements that ran many times: queries in a loop.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::queries::{Ran, ms};

/// A statement that ran many times.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repeated {
    /// The statement on one line, with `?` for its literals and `…` for its lists.
    pub statement: String,
    /// How often it ran.
    pub times: usize,
    /// On how many connections.
    pub connections: usize,
    /// How long all of them took together.
    pub total: Duration,
    /// From the beginning of the first to the beginning of the last.
    pub span: Duration,
}

pub(super) fn find(own: &[Ran], at_least: usize) -> Vec<Repeated> {
    let mut groups: BTreeMap<String, Vec<&Ran>> = BTreeMap::new();
    for ran in own {
        groups.entry(ran.normalised()).or_default().push(ran);
    }
    groups.retain(|_, group| group.len() >= at_least.max(2));
    let mut found: Vec<Repeated> =
        groups.into_iter().map(|(statement, group)| summed(statement, &group)).collect();
    found.sort_by_key(|repeated| std::cmp::Reverse(repeated.times));
    found
}

fn summed(statement: String, group: &[&Ran]) -> Repeated {
    let mut connections: Vec<u64> = group.iter().map(|ran| ran.entry().connection).collect();
    connections.sort_unstable();
    connections.dedup();
    let ends = group.first().zip(group.last());
    Repeated {
        statement,
        times: group.len(),
        connections: connections.len(),
        total: group.iter().map(|ran| ran.took()).sum(),
        span: ends.map_or(Duration::ZERO, |(first, last)| last.entry().at - first.entry().at),
    }
}

/// `25 times within 31.0 ms on 1 connection, 12.5 ms in all: select * from lines where order_id = $1`.
impl fmt::Display for Repeated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Repeated { statement, times, connections, total, span } = self;
        let plural = if *connections == 1 { "" } else { "s" };
        let (span, total) = (ms(*span), ms(*total));
        write!(
            f,
            "{times} times within {span} on {connections} connection{plural}, {total} in all: {statement}"
        )
    }
}
