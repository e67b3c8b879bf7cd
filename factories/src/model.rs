//! What a record is to its factory: how it is defined, its key, its parents and its columns. The derive writes all of this.

use std::hash::Hash;

use sqlx::postgres::PgRow;
use uuid::{Builder as UuidBuilder, Uuid};

use crate::{
    Record,
    columns::{Column, Refusal, RowWriter},
    plan::ParentField,
};

/// A record that factories make. `#[derive(Factory)]` implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no factory",
    label = "no factory makes this",
    note = "put `#[derive(seaworthy_factories::Factory)]` on it"
)]
pub trait Model: Send + Sync + Sized + 'static {
    /// What children refer to; `()` if there is no key.
    type Key: Key;

    /// The factory's name, one of the inputs of every value.
    const NAME: &'static str;
    /// Where the records are written to, if anywhere: a table's name as SQL has it, with a schema where one is needed.
    const TABLE: Option<&'static str>;
    /// The key's field, and whether the database's sequence counts it.
    const KEY: Option<(&'static str, bool)>;

    /// Makes a record with the values of `record` alone: with a key and parents as they are without a database.
    fn define(record: &Record) -> Self;

    /// The record's key.
    fn key(&self) -> Self::Key;

    /// Gives it another key.
    fn set_key(&mut self, key: Self::Key);

    /// The fields that refer to parents.
    fn parents() -> Vec<ParentField<Self>>;

    /// The fields whose values are unique, and of how many.
    fn unique_fields() -> Vec<(&'static str, u64)>;

    /// The columns, in the order of the fields.
    fn columns() -> Vec<Column>;

    /// Writes the fields that are written, in the order of the columns.
    fn encode(&self, row: &mut RowWriter<'_>) -> Result<(), Refusal>;

    /// Takes over what the database made itself.
    fn adopt(&mut self, row: &PgRow) -> sqlx::Result<()>;

    /// Writes the record as JSON; nothing if it has no such form.
    fn write_json(&self, json: &mut Vec<u8>) -> Option<serde_json::Result<()>>;
}

/// A record with a field that refers to a `P`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not refer to `{P}`",
    label = "no field of `{Self}` refers to `{P}`",
    note = "say which one does: `#[factory(parent = {P})]`"
)]
pub trait BelongsTo<P: Model>: Model {
    /// The field.
    const FIELD: &'static str;

    /// Refers to the parent of this key.
    fn set_parent(&mut self, key: &P::Key);
}

/// What a record is known by. A type of your own can be one, as `struct UserId(i64)`.
pub trait Key: Clone + Eq + Hash + Send + Sync + 'static {
    /// Whether the database's sequence counts them.
    const COUNTED: bool;

    /// The key of this number of the sequence; nothing if it is too large.
    fn counted(number: i64) -> Option<Self>;

    /// The key of a record that no sequence counts.
    fn made(record: &Record, field: &str) -> Self;
}

macro_rules! counted {
    ($($integer:ty),*) => {$(
        impl Key for $integer {
            const COUNTED: bool = true;

            fn counted(number: i64) -> Option<Self> {
                number.try_into().ok()
            }

            fn made(record: &Record, _field: &str) -> Self {
                // From 1 on, as a sequence would.
                <$integer>::try_from(record.number()).unwrap_or(<$integer>::MAX).saturating_add(1)
            }
        }
    )*};
}

counted!(i16, i32, i64);

impl Key for Uuid {
    const COUNTED: bool = false;

    fn counted(_number: i64) -> Option<Self> {
        None
    }

    fn made(record: &Record, field: &str) -> Self {
        let mut bytes = [0; 16];
        rand::Rng::fill_bytes(&mut record.random(field), &mut bytes);
        UuidBuilder::from_random_bytes(bytes).into_uuid()
    }
}

impl Key for String {
    const COUNTED: bool = false;

    fn counted(_number: i64) -> Option<Self> {
        None
    }

    fn made(record: &Record, field: &str) -> Self {
        record.made_unique(field)
    }
}

impl Key for () {
    const COUNTED: bool = false;

    fn counted(_number: i64) -> Option<Self> {
        None
    }

    fn made(_record: &Record, _field: &str) -> Self {}
}
