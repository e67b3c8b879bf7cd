//! Records of one kind that are to be made, whatever kind that is.

use std::{
    any::Any,
    ops::Range,
    sync::{Arc, atomic::Ordering},
};

use sqlx::{PgConnection, postgres::PgRow};

use crate::{
    Error, Key, Locale, Model, Record, Row, Seed,
    builder::{AfterCreate, Change},
    columns::{Column, Refusal, Rows, Target},
    files::Output,
    plan::{At, Keys, Link},
};

/// Where the made records go.
pub(crate) enum Sink<'a> {
    Rows(&'a mut Rows, &'a [Target]),
    Output(&'a mut dyn Output),
    Nowhere,
}

/// Records of one kind that are to be made.
pub(crate) trait Node: Send + Sync {
    fn factory(&self) -> &'static str;
    fn table(&self) -> Option<&'static str>;
    fn columns(&self) -> Vec<Column>;
    fn count(&self) -> u64;
    /// The number of the first one.
    fn first(&self) -> u64;
    /// The nodes that it refers to.
    fn parents(&self) -> &[usize];
    /// The field of the key, if a sequence counts it.
    fn counted_key(&self) -> Option<&'static str>;
    /// The field of the key, whoever makes it.
    fn key_field(&self) -> Option<&'static str>;
    fn take_counted(&mut self, keys: Vec<i64>);
    /// Keeps the records that are made from here on.
    fn keep(&mut self);
    fn is_kept(&self) -> bool;
    fn has_hooks(&self) -> bool;
    /// Makes those of this range, which must be asked for in order.
    fn make(&mut self, range: Range<u64>, sink: &mut Sink<'_>) -> Result<(), Error>;
    /// All are made: children can refer to them.
    fn close(&mut self);
    /// Takes over what the database made of the kept ones, in their order.
    fn adopt(&mut self, at: usize, row: &PgRow) -> sqlx::Result<()>;
    /// Writes the key columns of the kept ones.
    fn encode_kept(&self, rows: &mut Rows, targets: &[Target]) -> Result<(), Error>;
    fn after_create<'a>(&'a mut self, db: &'a mut PgConnection) -> BoxFuture<'a, sqlx::Result<()>>;
    fn into_kept(self: Box<Self>) -> Box<dyn Any>;
}

/// A future that is the same whatever it awaits.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The node of the records of an `R`.
pub(crate) struct Records<R: Model> {
    pub(crate) seed: Seed,
    pub(crate) locale: Locale,
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) start: u64,
    pub(crate) each: u64,
    pub(crate) changes: Vec<Change<R>>,
    pub(crate) after_create: Vec<AfterCreate<R>>,
    pub(crate) links: Vec<Link<R>>,
    pub(crate) parents: Vec<usize>,
    pub(crate) counted: Option<Vec<i64>>,
    pub(crate) keys: Arc<Keys<R::Key>>,
    pub(crate) made: Vec<R::Key>,
    pub(crate) kept: Option<Vec<R>>,
}

impl<R: Model> Records<R> {
    fn record(&self, offset: u64) -> Result<R, Error> {
        let record = Record::new(self.seed, R::NAME, self.first + offset).in_locale(self.locale);
        let record = record.at_position(self.start + offset);
        let mut row = R::define(&record);
        if let Some(&number) = self.counted.as_ref().and_then(|counted| counted.get(offset as usize)) {
            let key = R::Key::counted(number).ok_or_else(|| {
                self.refused(
                    offset,
                    &Refusal {
                        field: R::KEY.map_or("", |(field, _)| field),
                        why: format!(
                            "the sequence has come to {number}, which is more than the field's type takes"
                        ),
                    },
                )
            })?;
            row.set_key(key);
        }
        let at = At { record: &record, offset, position: self.start + offset, each: self.each };
        self.links.iter().for_each(|link| (link.apply)(&mut row, &at));
        self.changes.iter().for_each(|change| change(&mut row, &record));
        Ok(row)
    }

    fn refused(&self, offset: u64, refusal: &Refusal) -> Error {
        Error::Refused {
            factory: R::NAME,
            field: refusal.field.to_owned(),
            row: Row::Number(self.first + offset),
            why: refusal.why.clone(),
            source: None,
        }
    }
}

impl<R: Model> Node for Records<R> {
    fn factory(&self) -> &'static str {
        R::NAME
    }

    fn table(&self) -> Option<&'static str> {
        R::TABLE
    }

    fn columns(&self) -> Vec<Column> {
        R::columns()
    }

    fn count(&self) -> u64 {
        self.count
    }

    fn first(&self) -> u64 {
        self.first
    }

    fn parents(&self) -> &[usize] {
        &self.parents
    }

    fn counted_key(&self) -> Option<&'static str> {
        R::KEY.and_then(|(field, counted)| counted.then_some(field))
    }

    fn key_field(&self) -> Option<&'static str> {
        R::KEY.map(|(field, _)| field)
    }

    fn take_counted(&mut self, keys: Vec<i64>) {
        self.counted = Some(keys);
    }

    fn keep(&mut self) {
        self.kept.get_or_insert_with(|| Vec::with_capacity(usize::try_from(self.count).unwrap_or(0)));
    }

    fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    fn has_hooks(&self) -> bool {
        !self.after_create.is_empty()
    }

    fn make(&mut self, range: Range<u64>, sink: &mut Sink<'_>) -> Result<(), Error> {
        let wanted = self.keys.wanted.load(Ordering::Relaxed);
        for offset in range {
            let row = self.record(offset)?;
            match sink {
                Sink::Rows(rows, targets) => {
                    row.encode(&mut rows.row(targets)).map_err(|refusal| self.refused(offset, &refusal))?
                }
                Sink::Output(output) => {
                    let mut json = Vec::new();
                    match row.write_json(&mut json) {
                        Some(Ok(())) => output.row(R::NAME, &json)?,
                        Some(Err(error)) => {
                            return Err(Error::NoJson { factory: R::NAME, why: error.to_string() });
                        }
                        None => {
                            let why = "the record has no JSON form: derive `serde::Serialize` for it";
                            return Err(Error::NoJson { factory: R::NAME, why: why.to_owned() });
                        }
                    }
                }
                Sink::Nowhere => {}
            }
            if wanted {
                self.made.push(row.key());
            }
            if let Some(kept) = &mut self.kept {
                kept.push(row);
            }
        }
        Ok(())
    }

    fn close(&mut self) {
        let made = std::mem::take(&mut self.made);
        self.counted = None;
        // What counts is the first time.
        let _ = self.keys.keys.set(made);
    }

    fn adopt(&mut self, at: usize, row: &PgRow) -> sqlx::Result<()> {
        match self.kept.as_mut().and_then(|kept| kept.get_mut(at)) {
            Some(kept) => kept.adopt(row),
            None => Ok(()),
        }
    }

    fn encode_kept(&self, rows: &mut Rows, targets: &[Target]) -> Result<(), Error> {
        for (offset, kept) in self.kept.iter().flatten().enumerate() {
            kept.encode(&mut rows.row(targets)).map_err(|refusal| self.refused(offset as u64, &refusal))?;
        }
        Ok(())
    }

    fn after_create<'a>(&'a mut self, db: &'a mut PgConnection) -> BoxFuture<'a, sqlx::Result<()>> {
        let (hooks, kept) = (&self.after_create, &mut self.kept);
        Box::pin(async move {
            if let Some(kept) = kept {
                for hook in hooks {
                    hook(kept, db).await?;
                }
            }
            Ok(())
        })
    }

    fn into_kept(self: Box<Self>) -> Box<dyn Any> {
        Box::new(self.kept.unwrap_or_default())
    }
}
