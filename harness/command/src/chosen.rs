//! Scenarios by their names, and one play of them among many.

use seaworthy_harness::Scenario;

/// A play in a run that plays a scenario more than once is named after its seed: `transfers@8`.
pub(crate) fn name_of(scenario: &Scenario, seed: u64, first: u64) -> String {
    if seed == first { scenario.name().to_owned() } else { format!("{}@{seed}", scenario.name()) }
}

/// The scenario and the seed that such a name means.
pub(crate) fn parse(name: &str, first: u64) -> (&str, u64) {
    match name.rsplit_once('@') {
        Some((scenario, seed)) => seed.parse().map_or((name, first), |seed| (scenario, seed)),
        None => (name, first),
    }
}

/// The scenario of this name.
///
/// # Errors
///
/// A text that names those that there are.
pub(crate) fn find<'a>(scenarios: &'a [Scenario], name: &str) -> Result<&'a Scenario, String> {
    scenarios.iter().find(|scenario| scenario.name() == name).ok_or_else(|| {
        let known = scenarios.iter().map(Scenario::name).collect::<Vec<_>>().join(", ");
        format!("there is no scenario `{name}`; choose among {known}")
    })
}

/// The name of the file in a report that has the faults of a play.
pub(crate) fn schedule_file(play: &str) -> String {
    format!("{play}.schedule.json")
}
