//! The event log of a run, which grows while scenarios are played, so that a run that is killed leaves what it has shown.

use std::{
    fs::File,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use seaworthy_harness::{
    News,
    reports::{Event, LogWriter, Operations, Run, ScenarioRecord},
};

use crate::report::LOG;

/// A log to which several scenarios can be written at once. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Log {
    writer: Arc<Mutex<Writer>>,
}

struct Writer {
    to: LogWriter<File>,
    /// The first error; what comes after it is not written.
    failed: Option<io::Error>,
}

impl Log {
    pub(crate) fn start(report: &Path, run: &Run) -> io::Result<Self> {
        let to = LogWriter::start(File::create(report.join(LOG))?, run)?;
        Ok(Log { writer: Arc::new(Mutex::new(Writer { to, failed: None })) })
    }

    /// Begins a scenario whose news follow, and says its number.
    pub(crate) fn begin(&self, name: &str, summary: &str) -> u32 {
        let mut writer = self.lock();
        let number = writer.to.begin_scenario(name, summary);
        number.unwrap_or_else(|error| {
            writer.failed.get_or_insert(error);
            0
        })
    }

    pub(crate) fn news(&self, scenario: u32, news: &News) {
        match news {
            News::FaultBegan { number, window } => self.event(&Event::FaultBegan {
                scenario,
                fault: *number as u32,
                target: window.target.clone(),
                name: window.fault.clone(),
                at: window.from,
            }),
            News::FaultHealed { number, at } => {
                self.event(&Event::FaultEnded { scenario, fault: *number as u32, at: *at });
            }
            News::Operations(operations) => self.operations(scenario, operations),
            _ => {}
        }
    }

    /// Writes what the news of a scenario have not told, and its end.
    pub(crate) fn end(&self, scenario: u32, record: &ScenarioRecord) {
        self.write(|to| to.end_scenario(scenario, record));
    }

    /// Writes a scenario whose news were not written.
    pub(crate) fn whole(&self, record: &ScenarioRecord) {
        self.write(|to| to.scenario(record));
    }

    /// Writes the last line.
    ///
    /// # Errors
    ///
    /// The first error of all.
    pub(crate) fn finish(self) -> io::Result<()> {
        let mut writer = self.lock();
        match writer.failed.take() {
            Some(error) => Err(error),
            None => writer.to.event(&Event::RunEnded),
        }
    }

    fn operations(&self, scenario: u32, operations: &Operations) {
        for slice in operations.slices() {
            self.event(&Event::Operations { scenario, slice });
        }
        for (kind, tally) in operations.kinds() {
            self.event(&Event::OperationKind { scenario, kind: kind.to_owned(), tally: tally.clone() });
        }
    }

    fn event(&self, event: &Event) {
        self.write(|to| to.event(event));
    }

    fn write(&self, write: impl FnOnce(&mut LogWriter<File>) -> io::Result<()>) {
        let mut writer = self.lock();
        if writer.failed.is_none() {
            writer.failed = write(&mut writer.to).err();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
