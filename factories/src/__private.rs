//! What the derive's code needs; no promise is made about it.

pub use fake::locales;
#[cfg(feature = "redis")]
pub use redis;
pub use serde_json;
pub use sqlx;

use crate::{Key, Model, Record, UniqueSpace};
pub use crate::{
    columns::{Column, Refusal, RowWriter},
    node::BoxFuture,
    plan::ParentField,
};

/// The key that the parent of the same number has without a database.
pub fn parent_key<P: Model>(record: &Record) -> P::Key {
    let field = P::KEY.map_or("", |(field, _)| field);
    P::Key::made(&Record::new(record.seed(), P::NAME, record.number()), field)
}

/// One of these by weight; the first, if all weights are 0.
pub fn weighted<T: Clone>(record: &Record, field: &str, choices: &[(T, u32)]) -> T {
    record.weighted(field, choices).unwrap_or(&choices[0].0).clone()
}

/// A value that no other record has; plans see to it that there are enough.
pub fn unique<S: UniqueSpace>(record: &Record, field: &str, space: &S) -> S::Item {
    let within = record.numbered(record.number() % space.size().max(1));
    within.unique(field, space).unwrap_or_else(|| space.at(0))
}

/// The same for a space of this very type of values.
pub fn unique_of<T, S: UniqueSpace<Item = T>>(record: &Record, field: &str, space: &S) -> T {
    unique(record, field, space)
}

/// How many values of this type there are.
pub fn space_of<T, S: UniqueSpace<Item = T>>(space: &S) -> u64 {
    space.size()
}

/// As `create`, with `COPY` from so many rows on, for the benchmark that measures where that pays.
pub async fn create_by_copy_from<R: Model, C: crate::Quantity>(
    builder: &crate::Builder<R, C>,
    db: &mut sqlx::PgConnection,
    rows: u64,
) -> Result<Vec<R>, crate::Error> {
    builder.create_by_copy_from(db, rows).await
}

/// What a closure of the definition makes.
pub fn made_with<T>(record: &Record, make: impl FnOnce(&Record) -> T) -> T {
    make(record)
}

/// A change of a record, so that its closure's types are known.
pub fn change<R>(
    change: impl Fn(&mut R, &Record) + Send + Sync + 'static,
) -> impl Fn(&mut R, &Record) + Send + Sync + 'static {
    change
}

/// Methods that only some builds have.
#[cfg(feature = "redis")]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_redis {
    ($($item:tt)*) => { $($item)* };
}

/// Methods that only some builds have.
#[cfg(not(feature = "redis"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_redis {
    ($($item:tt)*) => {};
}

/// Methods that only some builds have.
#[cfg(feature = "proptest")]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_proptest {
    ($($item:tt)*) => { $($item)* };
}

/// Methods that only some builds have.
#[cfg(not(feature = "proptest"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __with_proptest {
    ($($item:tt)*) => {};
}

/// A record, to be written as JSON if it can be.
#[derive(Debug)]
pub struct Json<'a, T>(pub &'a T);

/// Taken where the record has `serde::Serialize`.
pub trait ViaSerde {
    /// Writes the record.
    fn write(&self, json: &mut Vec<u8>) -> Option<serde_json::Result<()>>;
}

impl<T: serde::Serialize> ViaSerde for Json<'_, T> {
    fn write(&self, json: &mut Vec<u8>) -> Option<serde_json::Result<()>> {
        Some(serde_json::to_writer(json, self.0))
    }
}

/// Taken where it has not: found one reference later.
pub trait NoSerde {
    /// Writes nothing.
    fn write(&self, json: &mut Vec<u8>) -> Option<serde_json::Result<()>>;
}

impl<T> NoSerde for &Json<'_, T> {
    fn write(&self, _json: &mut Vec<u8>) -> Option<serde_json::Result<()>> {
        None
    }
}
