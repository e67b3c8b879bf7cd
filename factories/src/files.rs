//! Records as files: a file for each factory, in a folder, of JSON lines or CSV.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::{
    Builder, Error, Locale, Model, Seed,
    node::Sink,
    numbers::Numbers,
    plan::{Part, Planner},
};

/// Rows that are planned at once, descendants included.
const PART: u64 = 50_000;

/// What takes records one by one.
pub(crate) trait Output: Send {
    /// A record of this factory, as JSON.
    fn row(&mut self, factory: &'static str, json: &[u8]) -> Result<(), Error>;
}

impl<R: Model, C> Builder<R, C> {
    /// Writes the records, with their parents and children, as lines of JSON: `user.jsonl` for the factory `user`, and so on, in this folder. Keys count
    /// from 1. Memory stays the same however many there are. The files appear once all of them are whole; those of their names are replaced.
    ///
    /// # Errors
    ///
    /// What [`make`](Builder::make) says, [`Error::NoJson`] where a record has no `serde::Serialize`, and [`Error::File`].
    pub fn write_json_lines(self, folder: impl AsRef<Path>) -> Result<u64, Error> {
        self.write_files(folder.as_ref(), Form::JsonLines)
    }

    /// As [`write_json_lines`](Self::write_json_lines), as CSV ([RFC 4180](https://www.rfc-editor.org/info/rfc4180)) with a header. Nothing is an empty field; what
    /// has fields of its own is JSON in a field.
    ///
    /// # Errors
    ///
    /// As [`write_json_lines`](Self::write_json_lines).
    pub fn write_csv(self, folder: impl AsRef<Path>) -> Result<u64, Error> {
        self.write_files(folder.as_ref(), Form::Csv)
    }

    fn write_files(self, folder: &Path, form: Form) -> Result<u64, Error> {
        fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
        let mut files = Files { folder: folder.to_owned(), form, open: BTreeMap::new() };
        let rows = self.put_out(&mut files)?;
        files.finish()?;
        Ok(rows)
    }

    /// Makes all records, part by part, and says how many.
    pub(crate) fn put_out(&self, output: &mut dyn Output) -> Result<u64, Error> {
        let mut planner = Planner::new(
            self.said_seed().unwrap_or_else(Seed::of_run),
            Locale::default(),
            Numbers::OfCall(Default::default()),
        );
        let (total, part) = (self.total(), (PART / self.rows_each()).max(1));
        let (mut position, mut rows) = (0, 0);
        while position < total {
            let end = position.saturating_add(part).min(total);
            self.plan(&mut planner, &Part { positions: position..end, each: 0 }, None)?;
            for mut node in std::mem::take(&mut planner.nodes) {
                node.make(0..node.count(), &mut Sink::Output(output))?;
                node.close();
                rows += node.count();
            }
            position = end;
        }
        Ok(rows)
    }
}

#[derive(Debug, Clone, Copy)]
enum Form {
    JsonLines,
    Csv,
}

struct Files {
    folder: PathBuf,
    form: Form,
    open: BTreeMap<&'static str, BufWriter<File>>,
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::File { path: path.display().to_string(), source }
}

impl Files {
    fn path(&self, factory: &str, partial: bool) -> PathBuf {
        let ending = match self.form {
            Form::JsonLines => "jsonl",
            Form::Csv => "csv",
        };
        self.folder.join(format!("{factory}.{ending}{}", if partial { ".partial" } else { "" }))
    }

    fn finish(&mut self) -> Result<(), Error> {
        let open = std::mem::take(&mut self.open);
        let names: Vec<&'static str> = open.keys().copied().collect();
        for (factory, mut file) in open {
            let path = self.path(factory, true);
            file.flush().map_err(|source| failed(&path, source))?;
        }
        for factory in names {
            let path = self.path(factory, false);
            fs::rename(self.path(factory, true), &path).map_err(|source| failed(&path, source))?;
        }
        Ok(())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What was not finished.
        let unfinished: Vec<PathBuf> = self.open.keys().map(|factory| self.path(factory, true)).collect();
        self.open.clear();
        unfinished.iter().for_each(|path| drop(fs::remove_file(path)));
    }
}

impl Output for Files {
    fn row(&mut self, factory: &'static str, json: &[u8]) -> Result<(), Error> {
        let (path, form) = (self.path(factory, true), self.form);
        let is_new = !self.open.contains_key(factory);
        if is_new {
            let file = File::create(&path).map_err(|source| failed(&path, source))?;
            self.open.insert(factory, BufWriter::new(file));
        }
        let Some(file) = self.open.get_mut(factory) else { return Ok(()) };
        let written = match form {
            Form::JsonLines => file.write_all(json).and_then(|()| file.write_all(b"\n")),
            Form::Csv => {
                let fields = fields(factory, json)?;
                let header = fields.iter().map(|(name, _)| quoted(name));
                let values = fields.iter().map(|(_, value)| quoted(&text(value)));
                let mut lines = String::new();
                if is_new {
                    lines += &header.collect::<Vec<_>>().join(",");
                    lines += "\r\n";
                }
                lines += &values.collect::<Vec<_>>().join(",");
                lines += "\r\n";
                file.write_all(lines.as_bytes())
            }
        };
        written.map_err(|source| failed(&path, source))
    }
}

/// The fields of a record in their order, which a map would lose.
pub(crate) fn fields(factory: &'static str, json: &[u8]) -> Result<Vec<(String, Value)>, Error> {
    struct InOrder;

    impl<'de> Visitor<'de> for InOrder {
        type Value = Vec<(String, Value)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a record with named fields")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Vec::new();
            while let Some(field) = map.next_entry()? {
                fields.push(field);
            }
            Ok(fields)
        }
    }

    let mut deserializer = serde_json::Deserializer::from_slice(json);
    (&mut deserializer)
        .deserialize_map(InOrder)
        .map_err(|error| Error::NoJson { factory, why: error.to_string() })
}

/// A value as plain text: a text without its quotes, nothing as an empty one.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
