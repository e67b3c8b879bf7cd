//! The Redis commands that were sent.

use std::{fmt, sync::Arc};

use seaworthy_fault_proxy::{Command, Entry, Mark, Outcome, Protocol, Proxy, Recording, What};

use super::queries::ms;

/// The Redis commands that went through a fault proxy, or those after a mark. Cheap to clone. It is a view: what is sent later is in it, too.
///
/// Shown, it is the commands, one a line.
#[derive(Debug, Clone)]
pub struct Commands {
    recording: Recording,
    from: Mark,
}

impl Commands {
    /// Records the commands on connections that are made through this proxy from now on.
    pub fn on(proxy: &Proxy) -> Self {
        Commands::of(proxy.record(Protocol::Redis))
    }

    /// What a recording of Redis has.
    ///
    /// # Panics
    ///
    /// When the recording is of another protocol.
    pub fn of(recording: Recording) -> Self {
        assert_eq!(recording.tap().protocol(), Protocol::Redis, "commands are in recordings of Redis");
        Commands { recording, from: Mark::default() }
    }

    /// The end of what was sent by now.
    pub fn mark(&self) -> Mark {
        self.recording.mark()
    }

    /// Only what was sent after the mark.
    pub fn since(&self, mark: Mark) -> Commands {
        Commands { recording: self.recording.clone(), from: self.from.max(mark) }
    }

    /// Every command, in the order in which they were sent.
    pub fn all(&self) -> Vec<Command> {
        self.entries().iter().filter_map(|entry| command(entry)).cloned().collect()
    }

    /// The commands of this name, in any case.
    pub fn named(&self, name: &str) -> Vec<Command> {
        let mut all = self.all();
        all.retain(|command| command.name.as_str().eq_ignore_ascii_case(name));
        all
    }

    /// Entries of this view that the recording has dropped for later ones.
    pub fn dropped(&self) -> u64 {
        self.recording.since(self.from).dropped
    }

    fn entries(&self) -> Vec<Arc<Entry>> {
        self.recording.since(self.from).entries
    }
}

fn command(entry: &Entry) -> Option<&Command> {
    match &entry.what {
        What::Command(command) => Some(command),
        _ => None,
    }
}

/// `   12.3 ms  #0  GET session:7  WRONGTYPE …`: the time since the recording began, the connection, the command, and an error.
impl fmt::Display for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recorded = self.recording.since(self.from);
        if recorded.dropped > 0 {
            writeln!(f, "  {} earlier entries were dropped: the recording is full", recorded.dropped)?;
        }
        for entry in &recorded.entries {
            write!(f, "{:>12}  #{}  ", ms(entry.offset), entry.connection)?;
            match &entry.what {
                What::Command(Command { name, key, outcome, .. }) => {
                    write!(f, "{name}")?;
                    key.iter().try_for_each(|key| write!(f, " {key}"))?;
                    match outcome {
                        Outcome::Failed { code, message } => write!(f, "  failed: {code} {message}")?,
                        Outcome::Pending => write!(f, "  still on its way")?,
                        Outcome::NoAnswer => write!(f, "  no answer: the connection ended")?,
                        _ => {}
                    }
                }
                What::NotUnderstood { why } => write!(f, "not followed: {why}")?,
                _ => {}
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
