//! `schedule`: the faults of a scenario as a file, and in the forms of other tools.

use std::{fs, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use seaworthy_harness::{Cluster, Scenario, Schedule};

use crate::{Exit, chosen::find, usage};

/// Show, export and import the faults of scenarios.
#[derive(Debug, Args)]
pub struct Faults {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the faults that a seed gives a scenario, for `run --schedule`.
    Show {
        /// The scenario.
        scenario: String,
        /// The seed.
        #[arg(long)]
        seed: u64,
    },
    /// Print a file of faults in the form of another tool.
    Export {
        /// The file, as `show` prints it and `run` leaves it in its report.
        file: PathBuf,
        /// The other tool.
        #[arg(long)]
        to: Tool,
        /// The title of the experiment, or the name of the workflow.
        #[arg(long, default_value = "storm")]
        name: String,
        /// Chaos Toolkit: where the Toxiproxy server is.
        #[arg(long, default_value = "http://127.0.0.1:8474")]
        toxiproxy_url: String,
        /// Chaos Mesh: the namespace of the targets.
        #[arg(long, default_value = "default")]
        namespace: String,
        /// Chaos Mesh: the label of the pods that has the target's name.
        #[arg(long, default_value = "app")]
        label: String,
        /// Chaos Mesh: where a target's volume is mounted, `postgres=/var/lib/postgresql/data`; for a full disk.
        #[arg(long = "volume", value_parser = volume)]
        volumes: Vec<(String, String)>,
    },
    /// Print the faults of an experiment of the Chaos Toolkit as a file of ours.
    Import {
        /// The experiment, as JSON.
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Tool {
    /// An experiment, with the extension for Toxiproxy.
    ChaosToolkit,
    /// A workflow, for `kubectl apply -f`.
    ChaosMesh,
}

fn volume(text: &str) -> Result<(String, String), String> {
    let (target, path) = text.split_once('=').ok_or("a volume is written as target=path")?;
    Ok((target.to_owned(), path.to_owned()))
}

impl Faults {
    pub(crate) fn execute(self, scenarios: &[Scenario]) -> Exit {
        let text = match self.action {
            Action::Show { scenario, seed } => {
                find(scenarios, &scenario).map(|scenario| scenario.schedule(seed).to_json())
            }
            Action::Export { file, to, name, toxiproxy_url, namespace, label, volumes } => {
                let schedule = Schedule::load(&file).map_err(|error| error.to_string());
                schedule.and_then(|schedule| match to {
                    Tool::ChaosToolkit => {
                        schedule.to_chaos_toolkit(&name, &toxiproxy_url).map_err(|error| error.to_string())
                    }
                    Tool::ChaosMesh => {
                        let cluster = Cluster::new(namespace).label(label);
                        let cluster =
                            volumes.iter().fold(cluster, |all, (target, path)| all.volume(target, path));
                        let manifest =
                            schedule.to_chaos_mesh(&name, &cluster).map_err(|error| error.to_string())?;
                        note(&manifest.notes);
                        Ok(manifest.json)
                    }
                })
            }
            Action::Import { file } => {
                let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()));
                text.and_then(|text| {
                    let imported = Schedule::from_chaos_toolkit(&text)
                        .map_err(|error| format!("{}: {error}", file.display()))?;
                    note(&imported.notes);
                    Ok(imported.schedule.to_json())
                })
            }
        };
        match text {
            Ok(text) => {
                print!("{text}");
                Exit::Held
            }
            Err(error) => usage(&error),
        }
    }
}

fn note(notes: &[String]) {
    notes.iter().for_each(|note| eprintln!("note: {note}"));
}
