//! What will be made, in which order: parents before their children, and every key known before its row is written.

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    ops::Range,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use sqlx::{PgConnection, postgres::PgRow};

use crate::{
    BelongsTo, Builder, Error, Key, Locale, Model, Record, Row, Seed,
    builder::{AfterCreate, Change, Many},
    columns::{Column, Refusal, Rows, Target},
    files::Output,
    numbers::Numbers,
};

/// The nodes of a plan, each of which makes records of one kind.
pub(crate) struct Planner {
    pub(crate) seed: Seed,
    pub(crate) locale: Locale,
    pub(crate) numbers: Numbers,
    pub(crate) nodes: Vec<Box<dyn Node>>,
    /// The factories whose required parents are being planned.
    path: Vec<&'static str>,
    /// The keys of parents that the parts of a stream share, by the address of what asks for them.
    pub(crate) shared: HashMap<usize, Arc<dyn Any + Send + Sync>>,
}

impl Planner {
    pub(crate) fn new(seed: Seed, locale: Locale, numbers: Numbers) -> Self {
        Planner { seed, locale, numbers, nodes: Vec::new(), path: Vec::new(), shared: HashMap::new() }
    }

    /// Plans the parents that a factory needs by itself.
    fn required<R: Model>(&mut self, parent: &ParentField<R>, count: u64) -> Result<Link<R>, Error> {
        self.path.push(R::NAME);
        let link = (parent.plan)(self, count);
        self.path.pop();
        link
    }

    /// Plans with no way back: what was asked for has an end.
    pub(crate) fn from_here<T>(&mut self, plan: impl FnOnce(&mut Self) -> T) -> T {
        let path = std::mem::take(&mut self.path);
        let planned = plan(self);
        self.path = path;
        planned
    }

    fn come_to<R: Model>(&self) -> Result<(), Error> {
        let Some(at) = self.path.iter().position(|name| *name == R::NAME) else { return Ok(()) };
        let mut path = self.path[at..].to_vec();
        path.push(R::NAME);
        Err(Error::Cycle { factory: R::NAME, path: path.join(" → ") })
    }
}

impl fmt::Debug for Planner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Planner").field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// The keys of a node, known once its records are made.
#[derive(Debug)]
pub(crate) struct Keys<K> {
    /// The node's place in the plan.
    pub(crate) node: usize,
    wanted: AtomicBool,
    keys: OnceLock<Vec<K>>,
}

impl<K: Clone> Keys<K> {
    pub(crate) fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> &[K] {
        self.keys.get().map_or(&[], Vec::as_slice)
    }
}

/// Where a record stands.
#[derive(Debug)]
pub(crate) struct At<'a> {
    pub(crate) record: &'a Record,
    /// Among the node's records of this part.
    pub(crate) offset: u64,
    /// Among all records that the call makes of this node.
    pub(crate) position: u64,
    /// How many there are for each parent that it was made for; 0 if for none.
    pub(crate) each: u64,
}

/// Refers a record to its parent.
pub(crate) struct Link<R> {
    pub(crate) apply: Box<dyn Fn(&mut R, &At<'_>) + Send + Sync>,
    /// The node that makes the parents.
    pub(crate) from: Option<usize>,
}

/// A field that refers to a parent, and how to make one where none was given.
pub struct ParentField<R> {
    pub(crate) field: &'static str,
    pub(crate) required: bool,
    pub(crate) plan: Arc<dyn Fn(&mut Planner, u64) -> Result<Link<R>, Error> + Send + Sync>,
}

impl<R: Model> ParentField<R> {
    /// A field that refers to a `P`, and gets a new one if it is required.
    pub fn new<P: Model>(field: &'static str, required: bool, set: fn(&mut R, &P::Key)) -> Self {
        let plan = Arc::new(move |planner: &mut Planner, count| {
            let keys = Builder::<P, Many>::of(count).plan(planner, &Part::whole(count), None)?;
            keys.want();
            let node = keys.node;
            let apply = Box::new(move |row: &mut R, at: &At<'_>| {
                if let Some(key) = keys.get().get(at.offset as usize) {
                    set(row, key);
                }
            });
            Ok(Link { apply, from: Some(node) })
        });
        ParentField { field, required, plan }
    }
}

/// Which of a node's records.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) positions: Range<u64>,
    pub(crate) each: u64,
}

impl Part {
    pub(crate) fn whole(count: u64) -> Self {
        Part { positions: 0..count, each: 0 }
    }

    fn count(&self) -> u64 {
        self.positions.end - self.positions.start
    }
}

/// The children of a `P`, whatever they are.
pub(crate) trait Children<P: Model>: Send + Sync {
    fn plan(&self, planner: &mut Planner, parents: &Part, keys: &Arc<Keys<P::Key>>) -> Result<(), Error>;
    /// Rows for each parent, descendants included.
    fn weight(&self) -> u64;
}

impl<P: Model, R: BelongsTo<P>> Children<P> for Builder<R, Many> {
    fn plan(&self, planner: &mut Planner, parents: &Part, keys: &Arc<Keys<P::Key>>) -> Result<(), Error> {
        let each = self.total();
        keys.want();
        let (node, keys) = (keys.node, Arc::clone(keys));
        let apply = Box::new(move |row: &mut R, at: &At<'_>| {
            if let Some(key) = keys.get().get((at.offset / at.each.max(1)) as usize) {
                row.set_parent(key);
            }
        });
        let positions = parents.positions.start * each..parents.positions.end * each;
        let incoming = (R::FIELD, Link { apply, from: Some(node) });
        planner.from_here(|planner| self.plan(planner, &Part { positions, each }, Some(incoming)))?;
        Ok(())
    }

    fn weight(&self) -> u64 {
        self.total().saturating_mul(self.rows_each())
    }
}

impl<R: Model, C> Builder<R, C> {
    /// Plans the records of this part, their parents before and their children after them.
    pub(crate) fn plan(
        &self,
        planner: &mut Planner,
        part: &Part,
        incoming: Option<(&'static str, Link<R>)>,
    ) -> Result<Arc<Keys<R::Key>>, Error> {
        planner.come_to::<R>()?;
        let count = part.count();
        let outer = planner.locale;
        planner.locale = self.locale.unwrap_or(outer);
        let mut links = Vec::new();
        let mut incoming = incoming;
        let mut linked: Vec<&'static str> = Vec::new();
        for (field, given) in self.links.iter().rev() {
            if linked.contains(field) {
                continue;
            }
            linked.push(field);
            if let Some(given) = given {
                links.push(planner.from_here(|planner| given(planner, count))?);
            }
        }
        if let Some((field, link)) = incoming.take().filter(|(field, _)| !linked.contains(field)) {
            linked.push(field);
            links.push(link);
        }
        for parent in R::parents() {
            if parent.required && !linked.contains(&parent.field) && count > 0 {
                links.push(planner.required(&parent, count)?);
            }
        }
        let first = match self.start {
            Some(start) => start + part.positions.start,
            None => planner.numbers.take(R::NAME, count),
        };
        self.check_unique(first, count)?;
        let node = planner.nodes.len();
        let keys = Arc::new(Keys { node, wanted: AtomicBool::new(false), keys: OnceLock::new() });
        planner.nodes.push(Box::new(Records {
            seed: planner.seed,
            locale: planner.locale,
            first,
            count,
            start: part.positions.start,
            each: part.each,
            changes: self.changes.iter().chain(&self.after_make).cloned().collect(),
            after_create: self.after_create.clone(),
            parents: links.iter().filter_map(|link| link.from).collect(),
            links,
            counted: None,
            keys: Arc::clone(&keys),
            made: Vec::new(),
            kept: None,
        }));
        for children in &self.children {
            children.plan(planner, part, &keys)?;
        }
        planner.locale = outer;
        Ok(keys)
    }

    fn check_unique(&self, first: u64, count: u64) -> Result<(), Error> {
        let last = first.saturating_add(count).saturating_sub(1);
        for (field, space) in R::unique_fields() {
            if count > 0 && last >= space && !self.given.contains(&field) {
                return Err(Error::TooFewUniqueValues { factory: R::NAME, field, space, number: last });
            }
        }
        Ok(())
    }

    /// Rows for each record, descendants included.
    pub(crate) fn rows_each(&self) -> u64 {
        self.children.iter().fold(1, |sum, children| sum.saturating_add(children.weight()))
    }
}

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

struct Records<R: Model> {
    seed: Seed,
    locale: Locale,
    first: u64,
    count: u64,
    start: u64,
    each: u64,
    changes: Vec<Change<R>>,
    after_create: Vec<AfterCreate<R>>,
    links: Vec<Link<R>>,
    parents: Vec<usize>,
    counted: Option<Vec<i64>>,
    keys: Arc<Keys<R::Key>>,
    made: Vec<R::Key>,
    kept: Option<Vec<R>>,
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
