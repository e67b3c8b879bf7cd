//! Where a run took place.

use maud::{Markup, html};

use crate::{record::Run, words};

pub(super) fn environment(run: &Run) -> Markup {
    let environment = &run.environment;
    let mut facts: Vec<(&str, String)> = vec![
        ("Seed", run.seed.to_string()),
        ("Started", words::date(run.started_at)),
        ("Provider", environment.provider.clone()),
        ("System", environment.system.clone()),
        ("Cores", environment.cores.to_string()),
        ("Durability of Postgres", environment.durability.clone()),
        ("Seaworthy", run.version.clone()),
    ];
    facts.extend(environment.versions.iter().map(|version| (version.name.as_str(), version.value.clone())));
    html! {
        section.card aria-labelledby="environment" {
            h2 #environment { "Environment" }
            dl.figures.wide {
                @for (name, value) in facts.into_iter().filter(|(_, value)| !value.is_empty()) {
                    div { dt { (name) } dd { (value) } }
                }
            }
        }
    }
}
