//! The event log: JSON, a line per event.

use std::io::{self, BufRead, BufReader, Read, Write};

use thiserror::Error;

use crate::{
    event::{Event, events_of},
    growing::Growing,
    record::{Run, ScenarioRecord},
};

/// The version of the log's format. A log of a later one is refused; events that this version doesn't know are passed over.
pub const FORMAT: u32 = 1;

/// Bytes of a line at most.
const LONGEST_LINE: u64 = 1 << 20;

/// Why a text is no log that this version can read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LogError {
    /// It could not be read.
    #[error("the log could not be read: {0}")]
    Io(#[from] io::Error),
    /// It is something else.
    #[error("this is no event log of a run: its first line must be the event `run-started`{why}")]
    NotALog {
        /// What the first line is instead, after a comma; may be empty.
        why: String,
    },
    /// It was written by a later version.
    #[error(
        "the log has format {format}, and this version reads formats up to {FORMAT}: render it with the version that wrote it, or a later one"
    )]
    TooNew {
        /// The log's format.
        format: u32,
    },
    /// A line is not what it must be.
    #[error("line {line} of the log is wrong: {why}")]
    Malformed {
        /// The number of the line, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
}

impl Run {
    /// The run as an event log.
    ///
    /// # Panics
    ///
    /// Never: every event has a JSON form, and memory takes every line.
    pub fn to_log(&self) -> String {
        let mut text = Vec::new();
        let mut writer = LogWriter::start(&mut text, self).expect("memory takes every line");
        self.scenarios
            .iter()
            .for_each(|scenario| writer.scenario(scenario).expect("memory takes every line"));
        if !self.cut_short {
            writer.finish().expect("memory takes every line");
        }
        String::from_utf8(text).expect("JSON is UTF-8")
    }

    /// Reads a log; see [`read_log`](Self::read_log).
    ///
    /// # Errors
    ///
    /// When the text is no log, or is wrong before its last line.
    pub fn from_log(text: &str) -> Result<Self, LogError> {
        Self::read_log(text.as_bytes())
    }

    /// Reads a log, line by line. A log that ends early, also within a line, is a run that was cut short.
    ///
    /// # Errors
    ///
    /// When it can't be read, is no log, or is wrong before its last line.
    pub fn read_log(log: impl Read) -> Result<Self, LogError> {
        let mut log = BufReader::new(log);
        let mut growing = Growing::default();
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            let length = (&mut log).take(LONGEST_LINE).read_until(b'\n', &mut bytes)?;
            if length == 0 && number > 1 {
                break;
            }
            let complete = bytes.ends_with(b"\n");
            if !complete && length as u64 == LONGEST_LINE {
                let why = format!("it has more than {LONGEST_LINE} bytes");
                return Err(LogError::Malformed { line: number, why });
            }
            let event = serde_json::from_slice::<Event>(&bytes);
            if number == 1 {
                must_start(&event)?;
            }
            match event {
                Ok(event) => {
                    growing.add(event).map_err(|why| LogError::Malformed { line: number, why })?;
                }
                Err(_) if bytes.iter().all(u8::is_ascii_whitespace) => {}
                // The writer was stopped within this line.
                Err(_) if !complete => break,
                Err(error) => return Err(LogError::Malformed { line: number, why: error.to_string() }),
            }
        }
        Ok(growing.finish())
    }

    /// The run as its log has it: bounded and rounded. Whatever is rendered is rendered from this, so that a record in memory and its log look
    /// the same.
    pub(crate) fn as_logged(&self) -> Run {
        Run::from_log(&self.to_log()).expect("what was written can be read")
    }
}

fn must_start(first: &Result<Event, serde_json::Error>) -> Result<(), LogError> {
    match first {
        Ok(Event::RunStarted { format, .. }) if *format > FORMAT => Err(LogError::TooNew { format: *format }),
        Ok(Event::RunStarted { .. }) => Ok(()),
        Ok(_) => Err(LogError::NotALog { why: ", and it is another event".to_owned() }),
        Err(error) => Err(LogError::NotALog { why: format!(", and it is not: {error}") }),
    }
}

/// Writes a log while the run goes on, so that it is readable whenever the runner is killed.
#[derive(Debug)]
pub struct LogWriter<W: Write> {
    to: W,
    scenarios: u32,
}

impl<W: Write> LogWriter<W> {
    /// Writes the first line: the run's version, start, seed and environment.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn start(to: W, run: &Run) -> io::Result<Self> {
        let mut writer = LogWriter { to, scenarios: 0 };
        writer.event(&Event::RunStarted {
            format: FORMAT,
            version: run.version.clone(),
            started_at: run.started_at,
            seed: run.seed,
            environment: run.environment.clone(),
        })?;
        writer.to.flush()?;
        Ok(writer)
    }

    /// Begins a scenario whose events follow one by one, and says its number.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn begin_scenario(&mut self, name: &str, summary: &str) -> io::Result<u32> {
        let scenario = self.next_number();
        self.event(&Event::ScenarioStarted { scenario, name: name.to_owned(), summary: summary.to_owned() })?;
        Ok(scenario)
    }

    /// Writes a whole scenario, from its start to its end.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn scenario(&mut self, record: &ScenarioRecord) -> io::Result<()> {
        let number = self.next_number();
        events_of(number, record).iter().try_for_each(|event| self.event(event))?;
        self.to.flush()
    }

    /// Writes the end of a scenario whose operations and faults were written event by event: all else that its record has.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn end_scenario(&mut self, number: u32, record: &ScenarioRecord) -> io::Result<()> {
        let told = |event: &Event| {
            matches!(
                event,
                Event::ScenarioStarted { .. }
                    | Event::Operations { .. }
                    | Event::OperationKind { .. }
                    | Event::FaultBegan { .. }
                    | Event::FaultEnded { .. }
            )
        };
        let events = events_of(number, record);
        events.iter().filter(|event| !told(event)).try_for_each(|event| self.event(event))?;
        self.to.flush()
    }

    /// Writes one event.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn event(&mut self, event: &Event) -> io::Result<()> {
        // In one piece: a line that is cut off is to be the last one.
        let mut line = serde_json::to_vec(&event.clone().bounded())?;
        line.push(b'\n');
        self.to.write_all(&line)
    }

    /// Writes the last line.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.event(&Event::RunEnded)?;
        self.to.flush()
    }

    fn next_number(&mut self) -> u32 {
        self.scenarios += 1;
        self.scenarios - 1
    }
}
