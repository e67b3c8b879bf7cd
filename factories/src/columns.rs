//! How the fields of records become those of a row, in the binary form of Postgres.

use std::collections::BTreeSet;

use sqlx::{
    Encode, Postgres, Type, TypeInfo,
    encode::IsNull,
    postgres::{PgArgumentBuffer, PgTypeInfo},
};

/// A field that a column holds.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub(crate) field: &'static str,
    pub(crate) name: &'static str,
    pub(crate) rust: fn() -> PgTypeInfo,
    pub(crate) rust_name: fn() -> &'static str,
    pub(crate) made_by_database: bool,
}

impl Column {
    /// A field that is written.
    pub fn written<T: ColumnType>(field: &'static str, name: &'static str) -> Self {
        let rust = <T as Type<Postgres>>::type_info;
        Column { field, name, rust, rust_name: std::any::type_name::<T>, made_by_database: false }
    }

    /// A field that the database makes, and that is read back.
    pub fn made_by_database<T: Type<Postgres>>(field: &'static str, name: &'static str) -> Self {
        Column {
            field,
            name,
            rust: T::type_info,
            rust_name: std::any::type_name::<T>,
            made_by_database: true,
        }
    }

    pub(crate) fn type_name(&self) -> String {
        (self.rust)().name().replace('"', "").to_lowercase()
    }
}

/// What can be written to a column: whatever sqlx can.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be written to a column of Postgres",
    label = "not a type that sqlx can write",
    note = "derive `sqlx::Type` for it, write it as JSON with `#[factory(json)]`, or enable sqlx's feature for it, as `chrono`"
)]
pub trait ColumnType: Type<Postgres> + for<'q> Encode<'q, Postgres> {}

impl<T: Type<Postgres> + for<'q> Encode<'q, Postgres>> ColumnType for T {}

/// What a column of the live table takes.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) field: &'static str,
    pub(crate) name: String,
    pub(crate) not_null: bool,
    pub(crate) takes: Takes,
}

#[derive(Debug, Clone)]
pub(crate) enum Takes {
    /// Whatever has the right type; the database looks at the rest.
    Any,
    /// A text of so many characters at most.
    Text(Option<usize>),
    /// One of these labels.
    Label(BTreeSet<String>),
    /// `json`, not `jsonb`, whose first byte is not its version.
    Json,
    /// An array, the type of whose elements is this one.
    ArrayOf(u32),
}

/// A value that its column does not take.
#[derive(Debug)]
pub struct Refusal {
    pub(crate) field: &'static str,
    pub(crate) why: String,
}

/// Rows in the form of `copy … (format binary)`, without its header: a count of fields for each row, and a length before each field, in network
/// order ([PostgreSQL](https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4)).
#[derive(Debug, Default)]
pub(crate) struct Rows(PgArgumentBuffer);

impl Rows {
    pub(crate) fn row<'a>(&'a mut self, targets: &'a [Target]) -> RowWriter<'a> {
        let fields = i16::try_from(targets.len()).expect("a table has 1600 columns at most");
        self.0.extend_from_slice(&fields.to_be_bytes());
        RowWriter { rows: &mut self.0, targets: targets.iter() }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The fields by column, each with its length before it.
    pub(crate) fn by_column(&self, columns: usize) -> Vec<Vec<&[u8]>> {
        let mut by_column = vec![Vec::new(); columns];
        let mut rest: &[u8] = &self.0;
        while !rest.is_empty() {
            rest = &rest[2..];
            for column in &mut by_column {
                let length = i32::from_be_bytes(rest[..4].try_into().expect("a length before each field"));
                let (field, after) = rest.split_at(4 + usize::try_from(length).unwrap_or(0));
                column.push(field);
                rest = after;
            }
        }
        by_column
    }
}

/// Writes the fields of one row.
#[derive(Debug)]
pub struct RowWriter<'a> {
    rows: &'a mut PgArgumentBuffer,
    targets: std::slice::Iter<'a, Target>,
}

impl RowWriter<'_> {
    /// The next field.
    ///
    /// # Errors
    ///
    /// When the column does not take it.
    pub fn field<T: ColumnType>(&mut self, value: &T) -> Result<(), Refusal> {
        let Some(target) = self.targets.next() else { return Ok(()) };
        let refuse = |why: String| Refusal { field: target.field, why };
        let start = self.rows.len() + 4;
        self.rows.extend_from_slice(&(-1i32).to_be_bytes());
        match value.encode_by_ref(self.rows).map_err(|error| refuse(error.to_string()))? {
            IsNull::Yes if target.not_null => {
                Err(refuse(format!("it is null, and column `{}` must not be", target.name)))
            }
            IsNull::Yes => Ok(()),
            IsNull::No => {
                let length = i32::try_from(self.rows.len() - start)
                    .map_err(|_| refuse("it has more than 2 GiB".to_owned()))?;
                self.rows[start - 4..start].copy_from_slice(&length.to_be_bytes());
                target.takes.check(&mut self.rows[start..]).map_err(refuse)
            }
        }
    }
}

impl Takes {
    fn check(&self, value: &mut [u8]) -> Result<(), String> {
        match self {
            Takes::Any => Ok(()),
            Takes::Text(most) => {
                let text = String::from_utf8_lossy(value);
                if text.contains('\0') {
                    return Err("the text has a NUL character, which Postgres does not keep".to_owned());
                }
                match most {
                    Some(most) if text.chars().count() > *most => {
                        let length = text.chars().count();
                        Err(format!("`{text}` has {length} characters, and the column takes {most}"))
                    }
                    _ => Ok(()),
                }
            }
            Takes::Label(labels) => {
                let text = String::from_utf8_lossy(value);
                if labels.contains(&*text) {
                    return Ok(());
                }
                let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
                Err(format!("`{text}` is none of the enum's labels: {}", labels.join(", ")))
            }
            Takes::Json => {
                if let Some(version @ 1) = value.first_mut() {
                    *version = b' ';
                }
                Ok(())
            }
            Takes::ArrayOf(element) => {
                // The dimensions, whether there are nulls, the type of the elements. What sqlx does not know by number it leaves open.
                if let Some(oid) = value.get_mut(8..12) {
                    oid.copy_from_slice(&element.to_be_bytes());
                }
                Ok(())
            }
        }
    }
}
