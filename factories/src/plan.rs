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

use crate::{
    BelongsTo, Builder, Error, Locale, Model, Record, Seed,
    builder::Many,
    node::{Node, Records},
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
    pub(crate) fn afresh<T>(&mut self, plan: impl FnOnce(&mut Self) -> T) -> T {
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
    pub(crate) wanted: AtomicBool,
    pub(crate) keys: OnceLock<Vec<K>>,
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

/// Gives a record the key of its parent.
type Refer<R> = dyn Fn(&mut R, &At<'_>) + Send + Sync;

/// Refers a record to its parent.
pub(crate) struct Link<R> {
    pub(crate) apply: Box<Refer<R>>,
    /// The node that makes the parents.
    pub(crate) from: Option<usize>,
}

/// Plans the parents of so many records, and says how each record refers to its own.
type PlanParents<R> = dyn Fn(&mut Planner, u64) -> Result<Link<R>, Error> + Send + Sync;

/// A field that refers to a parent, and how to make one where none was given.
pub struct ParentField<R> {
    pub(crate) field: &'static str,
    pub(crate) required: bool,
    pub(crate) plan: Arc<PlanParents<R>>,
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
        planner.afresh(|planner| self.plan(planner, &Part { positions, each }, Some(incoming)))?;
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
                links.push(planner.afresh(|planner| given(planner, count))?);
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
