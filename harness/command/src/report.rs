//! `seaworthy report`: renders a run's log again, puts two side by side, or shows many.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, IsTerminal, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use seaworthy_harness::reports::{Comparison, LogError, Run, Trend};

use crate::{Exit, environment, usage, wants_colour};

/// The log's name in the folder of a report.
pub(crate) const LOG: &str = "events.jsonl";

/// Work with the reports of runs.
#[derive(Debug, Args)]
pub struct Report {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Render the report of a run from its log.
    Render {
        /// The log, or the folder of the report that has it.
        run: PathBuf,
        #[command(flatten)]
        to: Output,
        /// The form.
        #[arg(long, default_value = "terminal")]
        format: Form,
    },
    /// Put two runs side by side.
    Compare {
        /// The log or folder of the first run, A.
        a: PathBuf,
        /// The log or folder of the second run, B.
        b: PathBuf,
        #[command(flatten)]
        to: Output,
        /// The form; not junit.
        #[arg(long, default_value = "terminal")]
        format: Form,
    },
    /// Show what became of scenarios over many runs: the logs in a folder, and in the folders in it.
    Trend {
        /// The folder.
        dir: PathBuf,
        #[command(flatten)]
        to: Output,
        /// The form; not junit.
        #[arg(long, default_value = "terminal")]
        format: Form,
    },
}

#[derive(Debug, Args)]
struct Output {
    /// The file to write to, instead of standard output.
    #[arg(long, short)]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Html,
    Markdown,
    Junit,
    Json,
    Terminal,
}

impl Report {
    pub(crate) fn execute(self) -> Exit {
        let (text, to) = match self.action {
            Action::Render { run, to, format } => {
                let text = read(&run).map(|run| match format {
                    Form::Html => run.to_html(),
                    Form::Markdown => run.to_markdown(),
                    Form::Junit => run.to_junit(),
                    Form::Json => run.to_json(),
                    Form::Terminal => run.to_terminal(to.in_colour()),
                });
                (text, to)
            }
            Action::Compare { a, b, to, format } => (compare(&a, &b, format, to.in_colour()), to),
            Action::Trend { dir, to, format } => (trend(&dir, format, to.in_colour()), to),
        };
        match text {
            Ok(text) => to.write(&text),
            Err(Refused::Usage(why)) => usage(&why),
            Err(Refused::Environment(why)) => environment(&why),
        }
    }
}

/// Why there is nothing to show.
enum Refused {
    Usage(String),
    Environment(String),
}

fn compare(a: &Path, b: &Path, format: Form, colour: bool) -> Result<String, Refused> {
    no_junit(format)?;
    let (before, after) = (read(a)?, read(b)?);
    let (a, b) = (a.display().to_string(), b.display().to_string());
    let comparison = Comparison::new((&a, &before), (&b, &after));
    Ok(match format {
        Form::Html => comparison.to_html(),
        Form::Markdown => comparison.to_markdown(),
        Form::Json => comparison.to_json(),
        Form::Terminal | Form::Junit => comparison.to_terminal(colour),
    })
}

fn trend(dir: &Path, format: Form, colour: bool) -> Result<String, Refused> {
    no_junit(format)?;
    let mut trend = Trend::default();
    let logs =
        logs(dir).map_err(|error| Refused::Usage(format!("{} can't be read: {error}", dir.display())))?;
    for log in logs {
        match read(&log) {
            Ok(run) => {
                let name = log.strip_prefix(dir).unwrap_or(&log).with_extension("");
                let name = if name.ends_with("events") { name.parent().unwrap_or(&name) } else { &name };
                trend.add(&name.display().to_string(), &run);
            }
            // One file that is something else must not hide the others, and is not passed over in silence.
            Err(Refused::Usage(why) | Refused::Environment(why)) => eprintln!("seaworthy: left out: {why}"),
        }
    }
    if trend.is_empty() {
        let why = format!("no log of a run (*.jsonl) is in {} or a folder in it", dir.display());
        return Err(Refused::Usage(why));
    }
    Ok(match format {
        Form::Html => trend.to_html(),
        Form::Markdown => trend.to_markdown(),
        Form::Json => trend.to_json(),
        Form::Terminal | Form::Junit => trend.to_terminal(colour),
    })
}

fn no_junit(format: Form) -> Result<(), Refused> {
    if format == Form::Junit {
        return Err(Refused::Usage("junit is a form for one run: use `seaworthy report render`".to_owned()));
    }
    Ok(())
}

/// Reads a log, or that of a report's folder.
fn read(path: &Path) -> Result<Run, Refused> {
    let log = if path.is_dir() { path.join(LOG) } else { path.to_owned() };
    let file = File::open(&log).map_err(|error| {
        let hint = if error.kind() == ErrorKind::NotFound {
            "; name a log, or the folder that `seaworthy run --report` wrote to"
        } else {
            ""
        };
        Refused::Usage(format!("{} can't be read: {error}{hint}", log.display()))
    })?;
    Run::read_log(file).map_err(|error| {
        let why = format!("{}: {error}", log.display());
        if matches!(error, LogError::Io(_)) { Refused::Environment(why) } else { Refused::Usage(why) }
    })
}

/// The logs in a folder and in its folders, by name.
fn logs(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let log = path.join(LOG);
        if log.is_file() {
            logs.push(log);
        } else if path.is_file() && path.extension().is_some_and(|extension| extension == "jsonl") {
            logs.push(path);
        }
    }
    logs.sort();
    Ok(logs)
}

impl Output {
    fn in_colour(&self) -> bool {
        self.output.is_none() && io::stdout().is_terminal() && wants_colour()
    }

    fn write(&self, text: &str) -> Exit {
        let written = match &self.output {
            Some(path) => fs::write(path, text).map_err(|error| format!("{}: {error}", path.display())),
            None => match io::stdout().write_all(text.as_bytes()) {
                // A reader that has seen enough, such as `head`.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
                other => other.map_err(|error| format!("standard output: {error}")),
            },
        };
        match written {
            Ok(()) => Exit::Held,
            Err(why) => environment(&format!("the report can't be written to {why}")),
        }
    }
}
