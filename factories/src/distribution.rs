//! Distributions as data really has them. Only integers and the software floats of `libm` are used, whose results are the same on every
//! platform.

use std::time::Duration;

use rand::Rng;

/// A number below `end`, each as likely as another. Nothing, if there is none.
pub(crate) fn below(random: &mut impl Rng, end: u64) -> Option<u64> {
    // The high half of a product (Lemire, 2019); what is left of a bias is below 2^-40 for any size that counts here.
    let product = u128::from(random.next_u64()) * u128::from(end);
    (end > 0).then_some((product >> 64) as u64)
}

/// At least 0, below 1, of 53 bits.
fn unit(random: &mut impl Rng) -> f64 {
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Rejection-inversion (Hörmann and Derflinger, *Rejection-inversion to generate variates from monotone discrete distributions*, 1996).
pub(crate) fn zipf(random: &mut impl Rng, size: u64, exponent: f64) -> u64 {
    /// So many tries are never needed but by a stream that was tampered with; then the first rank it is.
    const TRIES: usize = 1_000;
    let s = if exponent.is_finite() && exponent > 0.0 { exponent } else { 1.0 };
    let n = size.max(1) as f64;
    let h = |x: f64| libm::exp(-s * libm::log(x));
    // The integral of h, and its inverse; helpers that stay exact where s is near 1.
    let integral = |x: f64| {
        let log = libm::log(x);
        exp_minus_one_over((1.0 - s) * log) * log
    };
    let inverse = |x: f64| {
        let t = (x * (1.0 - s)).max(-1.0);
        libm::exp(log_plus_one_over(t) * x)
    };
    let (low, high) = (integral(1.5) - 1.0, integral(n + 0.5));
    let shortcut = 2.0 - inverse(integral(2.5) - h(2.0));
    for _ in 0..TRIES {
        let u = high + unit(random) * (low - high);
        let x = inverse(u);
        let k = libm::floor(x + 0.5).clamp(1.0, n);
        if k - x <= shortcut || u >= integral(k + 0.5) - h(k) {
            // The largest sizes are no floats.
            return (k as u64 - 1).min(size.max(1) - 1);
        }
    }
    0
}

/// (e^x − 1) / x
fn exp_minus_one_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { libm::expm1(x) / x } else { 1.0 + x * 0.5 * (1.0 + x / 3.0) }
}

/// ln(1 + x) / x
fn log_plus_one_over(x: f64) -> f64 {
    if x.abs() > 1e-8 { libm::log1p(x) / x } else { 1.0 - x * (0.5 - x / 3.0) }
}

/// Moments that come in bursts over some time, as orders do when a newsletter went out: a share of them follows one of the bursts, whose
/// strength is that of Zipf's law and which fade exponentially; the rest is spread evenly.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_factories::{Bursts, Record, Seed};
///
/// const DAY: Duration = Duration::from_secs(86_400);
/// let bursts = Bursts::over(30 * DAY).bursts(5).share(0.9).fading(DAY / 12);
/// let mut an_hour = [0; 30 * 24];
/// for number in 0..10_000 {
///     let moment = Record::new(Seed(7), "order", number).burst("placed_at", &bursts);
///     an_hour[(moment.as_secs() / 3_600) as usize] += 1;
/// }
/// // Spread evenly there would be 14 an hour.
/// assert!(an_hour.iter().max() > Some(&500));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bursts {
    span: Duration,
    bursts: u64,
    share: f64,
    fading: Duration,
}

impl Bursts {
    /// Moments of so long a time: ten bursts with 80% of all, each of which fades with a hundredth of the time.
    pub fn over(span: Duration) -> Self {
        Bursts { span, bursts: 10, share: 0.8, fading: span / 100 }
    }

    /// So many bursts.
    pub fn bursts(mut self, bursts: u64) -> Self {
        self.bursts = bursts;
        self
    }

    /// The share of the moments that belong to a burst, between 0 and 1.
    pub fn share(mut self, share: f64) -> Self {
        self.share = share.clamp(0.0, 1.0);
        self
    }

    /// After how long a burst has fallen to 37% of what it was.
    pub fn fading(mut self, fading: Duration) -> Self {
        self.fading = fading;
        self
    }

    pub(crate) fn moment(&self, shared: &mut impl Rng, own: &mut impl Rng) -> Duration {
        let span = u64::try_from(self.span.as_micros()).unwrap_or(u64::MAX);
        let evenly = |random: &mut _| below(random, span).unwrap_or(0);
        let follows = unit(own) < self.share && self.bursts > 0;
        let micros = if follows {
            let burst = zipf(own, self.bursts, 1.0);
            // All records see the bursts at the same moments.
            let begin = (0..=burst).map(|_| below(shared, span).unwrap_or(0)).last().unwrap_or(0);
            let fading = self.fading.as_micros() as f64;
            let after = -libm::log(1.0 - unit(own)) * fading;
            // What would come after the end begins anew, so that nothing piles up there.
            begin.saturating_add(after as u64) % span.max(1)
        } else {
            evenly(own)
        };
        Duration::from_micros(micros)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn ranks_have_the_shares_that_zipf_says() {
        let (size, exponent, draws) = (50, 1.07, 200_000);
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut counts = vec![0f64; size];
        (0..draws).for_each(|_| counts[zipf(&mut random, size as u64, exponent) as usize] += 1.0);
        let weights: Vec<f64> = (1..=size).map(|rank| (rank as f64).powf(-exponent)).collect();
        let total: f64 = weights.iter().sum();
        // Chi-square with 49 degrees of freedom: 85.4 is exceeded once in a thousand seeds.
        let chi: f64 = counts
            .iter()
            .zip(&weights)
            .map(|(count, weight)| {
                let expected = weight / total * f64::from(draws);
                (count - expected).powi(2) / expected
            })
            .sum();
        assert!(chi < 85.4, "chi-square of {chi}");
    }

    proptest! {
        #[test]
        fn a_rank_is_below_the_size(seed: u64, size in 0u64..u64::MAX, exponent in -1.0f64..6.0) {
            let rank = zipf(&mut ChaCha8Rng::seed_from_u64(seed), size, exponent);
            prop_assert!(rank < size.max(1));
        }

        #[test]
        fn a_moment_is_within_its_time(seed: u64, millis in 1u64..1_000_000, bursts in 0u64..20) {
            let span = Duration::from_millis(millis);
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mut shared = random.clone();
            prop_assert!(Bursts::over(span).bursts(bursts).moment(&mut shared, &mut random) < span);
        }
    }
}
