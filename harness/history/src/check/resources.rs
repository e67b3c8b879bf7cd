//! What services may use of a machine.

use seaworthy_reports::{Check, Resources, Verdict};

/// A resource of a service never went above this, in its unit: bytes, or how many.
pub fn at_most(name: &str, resources: &Resources, service: &str, resource: &str, limit: f64) -> Check {
    let Some(series) = resources.series().find(|it| it.service == service && it.resource == resource) else {
        return Check::new(name, Verdict::Unknown, format!("the {resource} of {service} was not measured"));
    };
    let peak = series.peak();
    let detail = format!("{peak:.0} at most, of {limit:.0}");
    if peak <= limit {
        return Check::new(name, Verdict::Held, detail);
    }
    let above = series.points().iter().find(|(_, value)| *value > limit).map(|(at, _)| *at);
    above.into_iter().fold(Check::new(name, Verdict::Violated, detail), Check::at)
}

/// Points without which a trend says nothing.
const ENOUGH: usize = 20;

/// A resource of a service does not grow: over the second half of the time, by the median of the slopes of all pairs of samples (Theil and Sen), by no more than this share
/// of its median. The first half is left to warm up.
pub fn no_growth(name: &str, resources: &Resources, service: &str, resource: &str, share: f64) -> Check {
    let points = resources
        .series()
        .find(|it| it.service == service && it.resource == resource)
        .map_or(&[][..], |series| &series.points()[series.points().len() / 2..]);
    if points.len() < ENOUGH {
        let detail = format!(
            "{} samples of the {resource} of {service} in its second half, and {ENOUGH} are needed",
            points.len()
        );
        return Check::new(name, Verdict::Unknown, detail);
    }
    let mut slopes: Vec<f64> = points
        .iter()
        .enumerate()
        .flat_map(|(at, one)| points[at + 1..].iter().map(move |other| (one, other)))
        .map(|(one, other)| (other.1 - one.1) / (other.0.as_secs_f64() - one.0.as_secs_f64()).max(1e-9))
        .collect();
    let mut values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    let time = points[points.len() - 1].0.as_secs_f64() - points[0].0.as_secs_f64();
    let (slope, level) = (median(&mut slopes), median(&mut values));
    let growth = if level > 0.0 { slope * time / level } else { 0.0 };
    let detail = format!("{:+.1} % in {time:.0} s, of {:.1} %", growth * 100.0, share * 100.0);
    Check::new(name, if growth <= share { Verdict::Held } else { Verdict::Violated }, detail)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use seaworthy_reports::Unit;

    use super::*;

    fn measured(values: impl IntoIterator<Item = f64>) -> Resources {
        let mut resources = Resources::default();
        for (second, value) in (0..).zip(values) {
            resources.sample(Duration::from_secs(second), "shop", "memory", Unit::Bytes, value);
        }
        resources
    }

    #[test]
    fn resources_have_bounds() {
        let resources = measured((0..60_u32).map(|second| 100.0 + f64::from(second * 7 % 10)));
        assert_eq!(at_most("memory", &resources, "shop", "memory", 109.0).verdict, Verdict::Held);
        let above = at_most("memory", &resources, "shop", "memory", 108.0);
        assert_eq!(above.detail, "109 at most, of 108");
        assert_eq!(above.moments, [Duration::from_secs(7)]);
        assert_eq!(at_most("memory", &resources, "other", "memory", 108.0).verdict, Verdict::Unknown);
        assert_eq!(at_most("files", &resources, "shop", "files", 108.0).verdict, Verdict::Unknown);
    }

    #[test]
    fn what_grows_is_told_from_what_is_noisy_or_warms_up() {
        let noise = |second: u32| f64::from(second * 7 % 10);
        let of = |value: &dyn Fn(u32) -> f64, seconds: u32| {
            let resources = measured((0..seconds).map(value));
            no_growth("flat", &resources, "shop", "memory", 0.05).verdict
        };
        assert_eq!(of(&|second| 100.0 + noise(second), 60), Verdict::Held);
        assert_eq!(of(&|second| 100.0 + noise(second) + f64::from(second), 60), Verdict::Violated);
        // A cache that fills, and is full before half of the time is over.
        assert_eq!(of(&|second| 100.0 + f64::from(second.min(25)) * 4.0, 60), Verdict::Held);
        // A saw, as of a collector of garbage.
        assert_eq!(of(&|second| 100.0 + f64::from(second % 7) * 10.0, 120), Verdict::Held);
        // A leak that shows in steps.
        assert_eq!(of(&|second| 100.0 + f64::from(second / 10) * 5.0, 120), Verdict::Violated);
        assert_eq!(of(&|second| 1_000.0 - f64::from(second), 120), Verdict::Held);
        assert_eq!(of(&|_| 0.0, 120), Verdict::Held);
        assert_eq!(of(&|second| f64::from(second), 30), Verdict::Unknown);
        assert_eq!(no_growth("flat", &measured([]), "shop", "memory", 0.05).verdict, Verdict::Unknown);
    }

    proptest! {
        #[test]
        fn noise_never_is_growth_and_a_leak_always_is(
            noise in prop::collection::vec(0.0_f64..1.0, 100..300),
        ) {
            // Bytes a second that add up to a tenth over the second half.
            let leak = 0.1 * 100.0 / (noise.len() as f64 / 2.0);
            let flat = measured(noise.iter().map(|noise| 100.0 + noise));
            let growing = measured((0..).zip(&noise).map(|(second, noise)| 100.0 + noise + leak * f64::from(second)));
            let verdict = |resources| no_growth("flat", resources, "shop", "memory", 0.05).verdict;
            prop_assert_eq!(verdict(&flat), Verdict::Held);
            prop_assert_eq!(verdict(&growing), Verdict::Violated);
        }
    }
}
