//! Statements as lines of JSON in a file.

use std::{
    ffi::OsString,
    fs,
    io::{self, BufWriter, Write as _},
    path::PathBuf,
};

use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime as _, SystemTime},
};

use super::{Statement, reporter::milliseconds};

/// A file of bounded size; the one before it is kept beside it.
pub(crate) struct File {
    path: PathBuf,
    limit: u64,
    length: u64,
    writer: BufWriter<fs::File>,
}

impl File {
    pub(crate) fn open(path: PathBuf, limit: u64) -> io::Result<Self> {
        let file = fs::OpenOptions::new().create(true).append(true).open(&path)?;
        let length = file.metadata()?.len();
        Ok(File { path, limit, length, writer: BufWriter::new(file) })
    }

    pub(crate) fn write(&mut self, statement: &Statement) -> io::Result<()> {
        let mut time = String::new();
        // Only a time past the year 10,000 or so would be refused.
        _ = SystemTime.format_time(&mut Writer::new(&mut time));
        let context = statement.work.as_ref().map(|work| work.context());
        let mut line = serde_json::to_vec(&serde_json::json!({
            "time": time,
            "statement": &*statement.text,
            "fingerprint": statement.fingerprint.to_string(),
            "ms": milliseconds(statement.time),
            "rows_returned": statement.rows_returned,
            "rows_affected": statement.rows_affected,
            "slow": statement.slow,
            "caller": statement.caller.as_deref(),
            "work": statement.work.as_ref().map(|work| work.name()),
            "request_id": context.map(|context| context.request_id()),
            "trace_id": context.map(|context| context.trace_id()),
        }))?;
        line.push(b'\n');
        if self.length > 0 && self.length + line.len() as u64 > self.limit {
            self.begin_anew()?;
        }
        self.length += line.len() as u64;
        self.writer.write_all(&line)
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        self.writer.flush()?;
        let mut before = OsString::from(&self.path);
        before.push(".1");
        fs::rename(&self.path, before)?;
        *self = File::open(self.path.clone(), self.limit)?;
        Ok(())
    }
}
