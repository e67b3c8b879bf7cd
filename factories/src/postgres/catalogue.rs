//! What the live tables look like, and whether the factories agree.

use std::collections::HashMap;

use sqlx::{PgConnection, Row as _, postgres::PgRow};

use crate::{
    Error, Seed,
    columns::{Column, Takes, Target},
    node::Node,
    numbers::DatabaseId,
};

/// The database that is written to.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) id: DatabaseId,
    /// The seed of the run, if whoever opened the connection said it (`seaworthy.seed`), as the harness does.
    pub(crate) seed: Option<Seed>,
}

impl Database {
    pub(crate) async fn ask(db: &mut PgConnection) -> sqlx::Result<Self> {
        let row = sqlx::query(
            "select oid::bigint, datname::text, extract(epoch from pg_postmaster_start_time())::text, current_setting('seaworthy.seed', true)
             from pg_database where datname = current_database()",
        )
        .fetch_one(db)
        .await?;
        let id = DatabaseId { oid: row.try_get(0)?, name: row.try_get(1)?, started: row.try_get(2)? };
        let seed: Option<String> = row.try_get(3)?;
        Ok(Database { id, seed: seed.and_then(|seed| seed.parse().ok()).map(Seed) })
    }
}

/// A column of a live table.
#[derive(Debug)]
struct Live {
    name: String,
    not_null: bool,
    has_default: bool,
    is_generated: bool,
    /// The modifier of a text is its length and 4.
    modifier: i32,
    /// The name of the type that a domain is of, of an array that of its elements and `[]`.
    type_name: String,
    kind: String,
    /// As SQL has it.
    spelled: String,
    oid: u32,
    array_oid: u32,
    element_oid: Option<u32>,
    labels: Vec<String>,
    sequence: Option<String>,
    constraints: Vec<String>,
}

impl Live {
    fn read(row: &PgRow) -> sqlx::Result<Self> {
        let oid = |oid: i64| u32::try_from(oid).unwrap_or_default();
        let element: Option<String> = row.try_get("element")?;
        let of: String = row.try_get("type")?;
        let kind: Option<String> = row.try_get("element_kind")?;
        Ok(Live {
            name: row.try_get("name")?,
            not_null: row.try_get("not_null")?,
            has_default: row.try_get("has_default")?,
            is_generated: row.try_get("is_generated")?,
            modifier: row.try_get("modifier")?,
            type_name: element.map_or(of, |element| format!("{element}[]")),
            kind: kind.map_or(row.try_get("kind")?, |kind| format!("{kind}[]")),
            spelled: row.try_get("spelled")?,
            oid: oid(row.try_get("oid")?),
            array_oid: oid(row.try_get("array_oid")?),
            element_oid: row.try_get::<Option<i64>, _>("element_oid")?.map(oid),
            labels: row.try_get("labels")?,
            sequence: row.try_get("sequence")?,
            constraints: row.try_get("constraints")?,
        })
    }

    /// Whether a field of this type, as sqlx names it, can be written.
    fn takes(&self, rust: &str) -> bool {
        const TEXTS: [&str; 5] = ["text", "varchar", "bpchar", "name", "citext"];
        let rust = rust.rsplit('.').next().unwrap_or(rust);
        let (rust_element, is_array) = rust.strip_suffix("[]").map_or((rust, false), |rust| (rust, true));
        let (column, column_is_array) =
            self.type_name.strip_suffix("[]").map_or((&*self.type_name, false), |name| (name, true));
        is_array == column_is_array
            && match rust_element {
                same if same == column.to_lowercase() => true,
                "text" | "varchar" => TEXTS.contains(&column) || self.kind.starts_with('e'),
                "json" | "jsonb" => ["json", "jsonb"].contains(&column),
                _ => false,
            }
    }

    fn target(&self, field: &'static str) -> Target {
        let takes = match (&*self.type_name, self.element_oid) {
            (_, Some(element)) => Takes::ArrayOf(element),
            ("varchar" | "bpchar", _) => Takes::Text(usize::try_from(self.modifier - 4).ok()),
            ("text" | "citext" | "name", _) => Takes::Text(None),
            ("json", _) => Takes::Json,
            _ if self.kind == "e" => Takes::Label(self.labels.iter().cloned().collect()),
            _ => Takes::Any,
        };
        Target { field, name: self.name.clone(), not_null: self.not_null, takes }
    }
}

/// An array of a column's values.
#[derive(Debug, Clone)]
pub(crate) struct ArrayType {
    pub(crate) oid: u32,
    pub(crate) element: u32,
    /// How SQL spells the type of its elements.
    pub(crate) spelled: String,
}

/// How a table is written.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// What is written, in the order of the fields.
    pub(crate) targets: Vec<Target>,
    /// Arrays of each; nothing where arrays won't do.
    pub(crate) arrays: Option<Vec<ArrayType>>,
    /// Where the key stands among the targets, and arrays of it.
    pub(crate) key: Option<(usize, ArrayType)>,
    /// The sequence that counts the keys.
    pub(crate) sequence: Option<String>,
    /// What is read back.
    pub(crate) read_back: Vec<String>,
    /// The fields of each constraint, by its name.
    constraints: HashMap<String, Vec<String>>,
}

impl Table {
    /// The fields that a constraint is about.
    pub(crate) fn fields_of(&self, constraint: &str) -> Option<String> {
        self.constraints.get(constraint).map(|fields| fields.join(", "))
    }
}

/// The tables that were looked at, by factory.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    tables: HashMap<&'static str, Table>,
}

impl Catalogue {
    pub(crate) fn table(&self, factory: &str) -> &Table {
        &self.tables[factory]
    }

    /// Looks at the tables of these nodes, as far as they are not known yet, and compares them with the factories.
    pub(crate) async fn learn(
        &mut self,
        nodes: &[Box<dyn Node>],
        db: &mut PgConnection,
    ) -> Result<(), Error> {
        let mut new: Vec<&dyn Node> = Vec::new();
        for node in nodes {
            let factory = node.factory();
            let known = self.tables.contains_key(factory) || new.iter().any(|node| node.factory() == factory);
            if node.table().is_none() {
                return Err(Error::NoTable { factory });
            }
            if !known {
                new.push(&**node);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = new.iter().filter_map(|node| node.table()).collect();
        let rows = sqlx::query(include_str!("catalogue.sql")).bind(&names).fetch_all(db).await?;
        for (node, place) in new.into_iter().zip(1i64..) {
            let mut live = Vec::new();
            for row in &rows {
                if row.try_get::<i64, _>("place")? != place {
                    continue;
                }
                if !row.try_get::<bool, _>("is_there")? {
                    return Err(drift(node, None, format!("there is no table `{}`", table_of(node))));
                }
                live.push(Live::read(row)?);
            }
            self.tables.insert(node.factory(), table(node, &live)?);
        }
        Ok(())
    }
}

fn table_of(node: &dyn Node) -> &'static str {
    node.table().unwrap_or("?")
}

fn drift(node: &dyn Node, column: Option<&str>, what: String) -> Error {
    Error::Drift { factory: node.factory(), table: table_of(node), column: column.map(str::to_owned), what }
}

/// How the node's table is written, if the factory agrees with it.
fn table(node: &dyn Node, live: &[Live]) -> Result<Table, Error> {
    let fields = node.columns();
    let name = table_of(node);
    let (mut targets, mut arrays, mut read_back) = (Vec::new(), Some(Vec::new()), Vec::new());
    let (mut key, mut sequence) = (None, None);
    for field in &fields {
        let column = agreed(node, field, live)?;
        if field.made_by_database {
            read_back.push(column.name.clone());
            continue;
        }
        if node.counted_key() == Some(field.field) {
            sequence.clone_from(&column.sequence);
            if sequence.is_none() {
                let what = format!(
                    "no sequence counts the key `{}` of table `{name}`: make the column an identity, or say how the field is made",
                    column.name
                );
                return Err(drift(node, Some(&column.name), what));
            }
        }
        let array = ArrayType { oid: column.array_oid, element: column.oid, spelled: column.spelled.clone() };
        if node.key_field() == Some(field.field) {
            key = Some((targets.len(), array.clone()));
        }
        // `unnest` takes arrays of arrays apart to the end.
        if column.element_oid.is_some() || column.array_oid == 0 || column.kind == "c" {
            arrays = None;
        } else if let Some(arrays) = &mut arrays {
            arrays.push(array);
        }
        targets.push(column.target(field.field));
    }
    for column in live {
        let has_field = fields.iter().any(|field| field.name == column.name);
        if !has_field && column.not_null && !column.has_default && !column.is_generated {
            let what = format!(
                "column `{}` of table `{name}` must not be null and has no default, and no field gives it a value",
                column.name
            );
            return Err(drift(node, Some(&column.name), what));
        }
    }
    let mut constraints: HashMap<String, Vec<String>> = HashMap::new();
    for column in live {
        let field = fields.iter().find(|field| field.name == column.name).map(|field| field.field);
        for constraint in &column.constraints {
            let name = field.unwrap_or(&column.name).to_owned();
            constraints.entry(constraint.clone()).or_default().push(name);
        }
    }
    Ok(Table { name, targets, arrays, key, sequence, read_back, constraints })
}

/// The column of a field, if it takes it.
fn agreed<'a>(node: &dyn Node, field: &Column, live: &'a [Live]) -> Result<&'a Live, Error> {
    let table = table_of(node);
    let Some(column) = live.iter().find(|column| column.name == field.name) else {
        let what = format!("field `{}` has no column: table `{table}` has no `{}`", field.field, field.name);
        return Err(drift(node, Some(field.name), what));
    };
    if field.made_by_database {
        return Ok(column);
    }
    if column.is_generated {
        let what = format!(
            "column `{}` of table `{table}` is generated, and takes no value: `#[factory(database)]` reads field `{}` back",
            column.name, field.field
        );
        return Err(drift(node, Some(field.name), what));
    }
    let rust = field.type_name();
    if !column.takes(&rust) {
        let (in_rust, in_table) = ((field.rust_name)(), &column.spelled);
        let what = format!(
            "field `{}` is a `{in_rust}` ({rust}), and column `{}` of table `{table}` takes {in_table}",
            field.field, column.name
        );
        return Err(drift(node, Some(field.name), what));
    }
    Ok(column)
}
