//! What a caller says about the records, before they are made.

use std::{fmt, marker::PhantomData, sync::Arc};

use sqlx::PgConnection;

use crate::{
    BelongsTo, Error, Locale, Model, Parents, Record, Seed,
    node::{BoxFuture, Sink},
    numbers::Numbers,
    parents::{Choice, Linking, Source, linking},
    plan::{Children, Part, Planner},
};

/// Changes a record after its definition.
pub(crate) type Change<R> = Arc<dyn Fn(&mut R, &Record) + Send + Sync>;

/// What happens once records are written, in the transaction that wrote them.
pub(crate) type AfterCreate<R> =
    Arc<dyn for<'a> Fn(&'a mut [R], &'a mut PgConnection) -> BoxFuture<'a, sqlx::Result<()>> + Send + Sync>;

/// How many records a factory makes, and so what it returns.
pub trait Quantity: Send + Sync + 'static {
    /// One record, or many.
    type Of<R>;
    /// Whether it is one.
    const IS_ONE: bool;
    /// Of the made ones.
    fn of<R>(made: Vec<R>) -> Self::Of<R>;
}

/// One record: `create` returns it.
#[derive(Debug, Clone, Copy)]
pub enum One {}

/// So many records: `create` returns a `Vec`.
#[derive(Debug, Clone, Copy)]
pub enum Many {}

impl Quantity for One {
    type Of<R> = R;
    const IS_ONE: bool = true;

    fn of<R>(mut made: Vec<R>) -> R {
        made.pop().expect("one record was asked for, and one was made")
    }
}

impl Quantity for Many {
    type Of<R> = Vec<R>;
    const IS_ONE: bool = false;

    fn of<R>(made: Vec<R>) -> Vec<R> {
        made
    }
}

/// A factory with what was said about its records. The derive wraps it in a type of its own, `UserFactory` for `User`, with a setter for each field.
pub struct Builder<R: Model, C = One> {
    count: u64,
    /// So often for each of the parents of `for_each`.
    times: u64,
    seed: Option<Seed>,
    pub(crate) start: Option<u64>,
    pub(crate) locale: Option<Locale>,
    pub(crate) changes: Vec<Change<R>>,
    pub(crate) after_make: Vec<Change<R>>,
    pub(crate) after_create: Vec<AfterCreate<R>>,
    /// Which parents a field refers to; nothing where its value was given.
    pub(crate) links: Vec<(&'static str, Option<Linking<R>>)>,
    /// Fields whose values were given.
    pub(crate) given: Vec<&'static str>,
    pub(crate) children: Vec<Arc<dyn Children<R>>>,
    /// After how many records the crossed sequences so far begin again.
    crossed: u64,
    quantity: PhantomData<C>,
}

/// What can be made: a factory that was derived, or a [`Builder`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no factory",
    note = "`#[derive(seaworthy_factories::Factory)]` on a record `User` makes the factory `UserFactory`"
)]
pub trait Buildable {
    /// What is made.
    type Model: Model;
    /// How many.
    type Quantity: Quantity;

    /// The factory, without its setters.
    fn into_builder(self) -> Builder<Self::Model, Self::Quantity>;
}

impl<R: Model, C: Quantity> Buildable for Builder<R, C> {
    type Model = R;
    type Quantity = C;

    fn into_builder(self) -> Self {
        self
    }
}

impl<R: Model> Default for Builder<R> {
    fn default() -> Self {
        Builder::new()
    }
}

impl<R: Model> Builder<R> {
    /// A factory of one record, as it is defined.
    pub fn new() -> Self {
        Builder::with_count(1)
    }

    /// So many records.
    pub fn count(self, count: u64) -> Builder<R, Many> {
        Builder { count, ..self.many() }
    }
}

impl<R: Model> Builder<R, Many> {
    pub(crate) fn of(count: u64) -> Self {
        Builder::with_count(count)
    }

    /// So many records, rather than as many as was said before.
    pub fn count(self, count: u64) -> Self {
        Builder { count, ..self }
    }
}

impl<R: Model, C> Builder<R, C> {
    fn with_count(count: u64) -> Self {
        Builder {
            count,
            times: 1,
            seed: None,
            start: None,
            locale: None,
            changes: Vec::new(),
            after_make: Vec::new(),
            after_create: Vec::new(),
            links: Vec::new(),
            given: Vec::new(),
            children: Vec::new(),
            crossed: 1,
            quantity: PhantomData,
        }
    }

    pub(crate) fn many(self) -> Builder<R, Many> {
        Builder {
            count: self.count,
            times: self.times,
            seed: self.seed,
            start: self.start,
            locale: self.locale,
            changes: self.changes,
            after_make: self.after_make,
            after_create: self.after_create,
            links: self.links,
            given: self.given,
            children: self.children,
            crossed: self.crossed,
            quantity: PhantomData,
        }
    }

    /// How many records there will be.
    pub(crate) fn total(&self) -> u64 {
        self.count.saturating_mul(self.times)
    }

    /// The root of all values, whatever the run's is.
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = Some(seed);
        self
    }

    pub(crate) fn said_seed(&self) -> Option<Seed> {
        self.seed
    }

    /// The number of the first record, rather than the next one of the run. The same numbers have the same values.
    pub fn starting_at(mut self, number: u64) -> Self {
        self.start = Some(number);
        self
    }

    /// The language of names, places and phone numbers, of the children and new parents too.
    pub fn locale(mut self, locale: Locale) -> Self {
        self.locale = Some(locale);
        self
    }

    /// Changes each record: the closure sees all of its fields, with what was said before this.
    pub fn with(mut self, change: impl Fn(&mut R, &Record) + Send + Sync + 'static) -> Self {
        self.changes.push(Arc::new(change));
        self
    }

    /// Changes one field, whose own definition and parents count no more.
    pub fn set(
        mut self,
        field: &'static str,
        change: impl Fn(&mut R, &Record) + Send + Sync + 'static,
    ) -> Self {
        self.links.push((field, None));
        self.given.push(field);
        self.with(change)
    }

    /// Gives the values of one field in turn, again and again.
    pub fn cycled<T: Clone + Send + Sync + 'static>(
        self,
        field: &'static str,
        values: impl IntoIterator<Item = T>,
        set: fn(&mut R, T),
    ) -> Self {
        self.stepped(field, values.into_iter().collect(), 1, set)
    }

    /// Gives the values of one field in turn, each as often as it takes the crossed sequences before it to go round: together they go through all
    /// combinations.
    pub fn crossed<T: Clone + Send + Sync + 'static>(
        mut self,
        field: &'static str,
        values: impl IntoIterator<Item = T>,
        set: fn(&mut R, T),
    ) -> Self {
        let (values, step): (Vec<T>, u64) = (values.into_iter().collect(), self.crossed);
        self.crossed = step.saturating_mul(values.len().max(1) as u64);
        self.stepped(field, values, step, set)
    }

    fn stepped<T: Clone + Send + Sync + 'static>(
        self,
        field: &'static str,
        values: Vec<T>,
        step: u64,
        set: fn(&mut R, T),
    ) -> Self {
        if values.is_empty() {
            return self;
        }
        let length = values.len() as u64;
        self.set(field, move |row, record| {
            set(row, values[(record.position() / step % length) as usize].clone());
        })
    }

    /// What is done to each record after everything else, before it is written.
    pub fn after_make(mut self, change: impl Fn(&mut R) + Send + Sync + 'static) -> Self {
        self.after_make.push(Arc::new(move |row, _| change(row)));
        self
    }

    /// What is done once all are written, in the same transaction: with all of this factory's records at once. An error takes everything back.
    pub fn after_create<F>(mut self, hook: F) -> Self
    where
        F: for<'a> Fn(&'a mut [R], &'a mut PgConnection) -> BoxFuture<'a, sqlx::Result<()>>
            + Send
            + Sync
            + 'static,
    {
        self.after_create.push(Arc::new(hook));
        self
    }

    /// Refers to these parents, through the first field that refers to such.
    pub fn belonging_to<P: Model>(self, parents: impl Parents<P>) -> Self
    where
        R: BelongsTo<P>,
    {
        self.linked(R::FIELD, parents.source(), R::set_parent)
    }

    /// Refers to these parents through this field.
    pub fn linked<P: Model>(
        mut self,
        field: &'static str,
        parents: Source<P>,
        set: fn(&mut R, &P::Key),
    ) -> Self {
        self.links.push((field, Some(linking(field, parents, None, set))));
        self
    }

    /// Makes as many children as was said for each record.
    pub fn has<F: Buildable>(mut self, children: F) -> Self
    where
        F::Model: BelongsTo<R>,
    {
        self.children.push(Arc::new(children.into_builder().many()));
        self
    }

    /// As many records as was said for each of these parents.
    pub fn for_each<P: Model>(mut self, parents: impl Parents<P>) -> Builder<R, Many>
    where
        R: BelongsTo<P>,
    {
        let source = parents.source().shared();
        self.times = source.count();
        let choice = Some(Choice::InOrder(self.count));
        self.links.push((R::FIELD, Some(linking(R::FIELD, source, choice, R::set_parent))));
        self.many()
    }
}

impl<R: Model, C: Quantity> Builder<R, C> {
    /// Makes the records, in memory alone: keys count from 1, and parents are as if they were made too.
    ///
    /// # Errors
    ///
    /// [`Error::Cycle`], [`Error::TooFewUniqueValues`], [`Error::NoParents`].
    pub fn make(self) -> Result<C::Of<R>, Error> {
        let mut planner = self.planner(Numbers::OfCall(Default::default()));
        let keys = self.plan(&mut planner, &Part::whole(self.total()), None)?;
        let mut nodes = planner.nodes;
        nodes[keys.node].keep();
        for node in &mut nodes {
            node.make(0..node.count(), &mut Sink::Nowhere)?;
            node.close();
        }
        let made = nodes.swap_remove(keys.node).into_kept();
        Ok(C::of(*made.downcast().expect("the node makes these records")))
    }

    /// The values of one record: those of the definition, and what was said. Without parents.
    pub fn make_record(&self, record: &Record) -> R {
        let mut row = R::define(record);
        self.changes.iter().chain(&self.after_make).for_each(|change| change(&mut row, record));
        row
    }

    pub(crate) fn planner(&self, numbers: Numbers) -> Planner {
        Planner::new(self.seed.unwrap_or_else(Seed::of_run), Locale::default(), numbers)
    }
}

impl<R: Model, C> Clone for Builder<R, C> {
    fn clone(&self) -> Self {
        Builder {
            count: self.count,
            times: self.times,
            seed: self.seed,
            start: self.start,
            locale: self.locale,
            changes: self.changes.clone(),
            after_make: self.after_make.clone(),
            after_create: self.after_create.clone(),
            links: self.links.clone(),
            given: self.given.clone(),
            children: self.children.clone(),
            crossed: self.crossed,
            quantity: PhantomData,
        }
    }
}

impl<R: Model, C> fmt::Debug for Builder<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("factory", &R::NAME)
            .field("count", &self.total())
            .finish_non_exhaustive()
    }
}
