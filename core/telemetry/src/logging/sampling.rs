//! Keeping a share of the lines.

use std::str::FromStr;

use rand::RngExt as _;
use tracing::Level;

/// Which share of the lines is kept, per level and target. Warnings and errors are always kept.
///
/// Rates are `info=0.1` for a level, `shop::cart=0.5` for a target and what is below it, `shop::cart:debug=0.01` for both. The rate
/// with the longest target counts, and among those the one with a level.
///
/// A line of a request is kept or left out by the request's trace id, so a request has all its lines of a level or none, in every
/// service that samples at the same rate.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampling {
    /// The most specific first.
    rates: Vec<Rate>,
}

#[derive(Debug, Clone, PartialEq)]
struct Rate {
    target: String,
    level: Option<Level>,
    share: f64,
}

impl FromStr for Sampling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut rates = text.split(',').map(|part| part.trim().parse()).collect::<Result<Vec<Rate>, _>>()?;
        rates.sort_by_key(|rate| std::cmp::Reverse((rate.target.len(), rate.level.is_some())));
        Ok(Sampling { rates })
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hint = || "give rates from 0 to 1 like info=0.1,shop::cart=0.5,shop::cart:debug=0.01".to_owned();
        let (what, share) = text.split_once('=').ok_or_else(hint)?;
        let share = share.trim().parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or_else(hint)?;
        let what = what.trim();
        let (target, level) = match (what.parse::<Level>(), what.rsplit_once(':')) {
            (Ok(level), _) => ("", Some(level)),
            (_, Some((target, level))) if !target.ends_with(':') => {
                (target, Some(level.parse::<Level>().map_err(|_| hint())?))
            }
            _ => (what, None),
        };
        if level.is_some_and(|level| level <= Level::WARN) {
            return Err(
                "warnings and errors are always kept; give rates for info, debug and trace".to_owned()
            );
        }
        if target.is_empty() && level.is_none() {
            return Err(hint());
        }
        Ok(Rate { target: target.to_owned(), level, share })
    }
}

impl Sampling {
    /// Whether a line is kept.
    pub(super) fn keeps(&self, level: Level, target: &str, trace_id: Option<&str>) -> bool {
        if level <= Level::WARN {
            return true;
        }
        let Some(rate) = self.rates.iter().find(|rate| rate.is_for(level, target)) else { return true };
        match trace_id.and_then(|id| u64::from_str_radix(id.get(16..)?, 16).ok()) {
            // 53 bits are what an f64 holds.
            Some(id) => ((mix(id) >> 11) as f64 / (1_u64 << 53) as f64) < rate.share,
            None => rand::rng().random_range(0.0..1.0) < rate.share,
        }
    }
}

impl Rate {
    fn is_for(&self, level: Level, target: &str) -> bool {
        let below = || target[self.target.len()..].starts_with("::") || target.len() == self.target.len();
        self.level.is_none_or(|own| own == level)
            && (self.target.is_empty() || (target.starts_with(&self.target) && below()))
    }
}

/// Spreads ids that others chose evenly: the finaliser of SplitMix64 (Steele, Lea, Flood, 2014).
fn mix(mut id: u64) -> u64 {
    id = (id ^ (id >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    id = (id ^ (id >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    id ^ (id >> 31)
}
