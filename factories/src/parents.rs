//! Which parents records get: existing ones, or new ones.

use std::{fmt, sync::Arc};

use crate::{
    Builder, Error, Model,
    builder::{Many, Quantity},
    plan::{At, Link, Part, Planner},
};

/// Where parents come from: records that are there (`&user`, `&users`), [`by_popularity`], or a factory, of which each record gets a new one
/// (`UserFactory::new()`), or of which so many are made for all (`UserFactory::new().count(10)`).
#[diagnostic::on_unimplemented(
    message = "`{Self}` are no parents of the type `{P}`",
    note = "give a record (`&user`), some (`&users`), or a factory (`UserFactory::new()`)"
)]
pub trait Parents<P: Model> {
    /// What they are.
    fn source(self) -> Source<P>;
}

/// Where parents come from.
pub struct Source<P: Model>(pub(crate) Origin<P>);

pub(crate) enum Origin<P: Model> {
    Existing(Arc<[P::Key]>, Choice),
    /// A new one for each record.
    Each(Builder<P, Many>),
    /// So many for all.
    Shared(Builder<P, Many>),
}

/// Which of several parents a record gets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Choice {
    /// As many records for each, dealt by the seed; of those that a parent has, each gets another one.
    Dealt,
    /// By Zipf's law, the first of them the most.
    Popularity(f64),
    /// So many for the first, then so many for the second.
    InOrder(u64),
}

impl<P: Model> fmt::Debug for Source<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Origin::Existing(..) => "existing parents",
            Origin::Each(_) => "a new parent for each",
            Origin::Shared(_) => "new parents for all",
        })
    }
}

impl<P: Model> Source<P> {
    fn existing<'a>(parents: impl IntoIterator<Item = &'a P>, choice: Choice) -> Self {
        Source(Origin::Existing(parents.into_iter().map(P::key).collect(), choice))
    }

    /// One for all, where there would be one for each.
    pub(crate) fn shared(self) -> Self {
        match self.0 {
            Origin::Each(builder) => Source(Origin::Shared(builder)),
            _ => self,
        }
    }

    /// How many there are, if all records share them.
    pub(crate) fn count(&self) -> u64 {
        match &self.0 {
            Origin::Existing(keys, _) => keys.len() as u64,
            Origin::Each(_) => 1,
            Origin::Shared(builder) => builder.total(),
        }
    }
}

impl<P: Model> Parents<P> for &P {
    fn source(self) -> Source<P> {
        Source::existing([self], Choice::Dealt)
    }
}

impl<P: Model> Parents<P> for &[P] {
    fn source(self) -> Source<P> {
        Source::existing(self, Choice::Dealt)
    }
}

impl<P: Model> Parents<P> for &Vec<P> {
    fn source(self) -> Source<P> {
        Source::existing(self, Choice::Dealt)
    }
}

impl<P: Model, const N: usize> Parents<P> for &[P; N] {
    fn source(self) -> Source<P> {
        Source::existing(self, Choice::Dealt)
    }
}

impl<P: Model, C: Quantity> Parents<P> for Builder<P, C> {
    fn source(self) -> Source<P> {
        Source(if C::IS_ONE { Origin::Each(self.many()) } else { Origin::Shared(self.many()) })
    }
}

/// Existing parents, of which the first has the most children, the second fewer: by Zipf's law with this exponent. With 1.07 the products of a shop
/// sell about like this.
pub fn by_popularity<P: Model>(parents: &[P], exponent: f64) -> ByPopularity<'_, P> {
    ByPopularity { parents, exponent }
}

/// See [`by_popularity`].
#[derive(Debug)]
pub struct ByPopularity<'a, P> {
    parents: &'a [P],
    exponent: f64,
}

impl<P: Model> Parents<P> for ByPopularity<'_, P> {
    fn source(self) -> Source<P> {
        Source::existing(self.parents, Choice::Popularity(self.exponent))
    }
}

/// Refers to parents, made or chosen when it is planned.
pub(crate) type Linking<R> = Arc<dyn Fn(&mut Planner, u64) -> Result<Link<R>, Error> + Send + Sync>;

/// Says how `field` refers to these parents.
pub(crate) fn linking<R: Model, P: Model>(
    field: &'static str,
    source: Source<P>,
    choice: Option<Choice>,
    set: fn(&mut R, &P::Key),
) -> Linking<R> {
    match source.0 {
        Origin::Existing(keys, own) => Arc::new(move |_, count| {
            if keys.is_empty() && count > 0 {
                return Err(Error::NoParents { factory: R::NAME, field });
            }
            let (keys, choice) = (Arc::clone(&keys), choice.unwrap_or(own));
            let apply = Box::new(move |row: &mut R, at: &At<'_>| {
                if let Some(key) = keys.get(choice.place(field, at, keys.len() as u64)) {
                    set(row, key);
                }
            });
            Ok(Link { apply, from: None })
        }),
        Origin::Each(builder) => Arc::new(move |planner, count| {
            let keys = builder.plan(planner, &Part::whole(count), None)?;
            keys.want();
            let from = Some(keys.node);
            let apply = Box::new(move |row: &mut R, at: &At<'_>| {
                if let Some(key) = keys.get().get(at.offset as usize) {
                    set(row, key);
                }
            });
            Ok(Link { apply, from })
        }),
        Origin::Shared(builder) => {
            let builder = Arc::new(builder);
            Arc::new(move |planner, count| {
                let total = builder.total();
                if total == 0 && count > 0 {
                    return Err(Error::NoParents { factory: R::NAME, field });
                }
                // The parts of a stream have the same ones.
                let address = Arc::as_ptr(&builder) as usize;
                let before = planner.shared.get(&address).cloned();
                let (keys, from) = match before.and_then(|keys| keys.downcast().ok()) {
                    Some(keys) => (keys, None),
                    None => {
                        let keys = builder.plan(planner, &Part::whole(total), None)?;
                        planner.shared.insert(address, keys.clone());
                        let node = keys.node;
                        (keys, Some(node))
                    }
                };
                keys.want();
                let choice = choice.unwrap_or(Choice::Dealt);
                let apply = Box::new(move |row: &mut R, at: &At<'_>| {
                    if let Some(key) = keys.get().get(choice.place(field, at, total)) {
                        set(row, key);
                    }
                });
                Ok(Link { apply, from })
            })
        }
    }
}

impl Choice {
    /// The place of the parent among so many.
    fn place(self, field: &str, at: &At<'_>, size: u64) -> usize {
        let place = match self {
            Choice::InOrder(each) => at.position / each.max(1) % size.max(1),
            Choice::Popularity(exponent) => at.record.zipf(field, size, exponent),
            Choice::Dealt => {
                let each = if at.each > 0 { at.each } else { size.max(1) };
                at.record.dealt(field, at.position / each, at.position % each, size)
            }
        };
        usize::try_from(place).unwrap_or(usize::MAX)
    }
}
