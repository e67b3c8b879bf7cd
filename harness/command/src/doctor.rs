//! `seaworthy doctor`: what this machine offers, and what it lacks.

use clap::Args;
use seaworthy_harness::{Error, ProviderChoice, binaries};
use serde::Serialize;

use crate::Exit;

/// Say which provider would be taken, what was found, and what is missing.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Answer as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Diagnosis {
    /// The provider that `auto` takes, and why; nothing when none works.
    provider: Option<String>,
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    found: Option<String>,
    /// What is wrong, and the command that mends it.
    missing: Option<String>,
}

impl Finding {
    fn new(what: &'static str, found: Result<String, Error>) -> Self {
        match found {
            Ok(found) => Finding { what, found: Some(found), missing: None },
            Err(error) => Finding { what, found: None, missing: Some(error.to_string()) },
        }
    }
}

impl Doctor {
    pub(crate) async fn execute(self) -> Exit {
        let binary = |binary: binaries::Binary| format!("{} at {}", binary.version, binary.path.display());
        let diagnosis = Diagnosis {
            provider: seaworthy_harness::would_take(ProviderChoice::Auto).await.ok(),
            findings: vec![
                Finding::new("Docker daemon", seaworthy_harness::docker_version().await),
                Finding::new("postgres", binaries::postgres().map(binary)),
                Finding::new("redis-server", binaries::redis().map(binary)),
                Finding::new("data folder", seaworthy_harness::data_folder()),
            ],
        };
        if self.json {
            // Strings and options only: there is nothing that has no JSON form.
            println!("{}", serde_json::to_string_pretty(&diagnosis).unwrap_or_default());
        } else {
            for Finding { what, found, missing } in &diagnosis.findings {
                match (found, missing) {
                    (Some(found), _) => println!("ok       {what:<14} {found}"),
                    (_, missing) => {
                        println!("missing  {what:<14} {}", missing.as_deref().unwrap_or_default())
                    }
                }
            }
            match &diagnosis.provider {
                Some(provider) => println!("auto takes {provider}"),
                None => println!("no provider works here: mend one of the above"),
            }
        }
        if diagnosis.provider.is_some() { Exit::Held } else { Exit::Environment }
    }
}
