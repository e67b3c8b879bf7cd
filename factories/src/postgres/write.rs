//! Rows go in: by `COPY`, or as arrays where there are few.

use std::collections::HashMap;

use sqlx::{
    AssertSqlSafe, Encode, PgConnection, Postgres, Row as _, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgTypeInfo, types::Oid},
};

use super::{
    catalogue::{ArrayType, Catalogue, Table},
    refusal::refusal,
};
use crate::{
    Error,
    columns::{Rows, Target},
    node::{Node, Sink},
};

/// From so many rows on `COPY` is faster than arrays, as the benchmark `factories` measures: the few bytes that end it wait 40 ms for an acknowledgement, since sqlx 0.9.0 does not set
/// `TCP_NODELAY`.
pub(crate) const COPY: u64 = 1_024;
/// What is sent at once.
const CHUNK: usize = 256 * 1024;
/// So many records are made before one looks how large they are.
const STEP: u64 = 64;

/// How rows may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ways {
    /// From so many rows on by `COPY`, whose refusals say which row it is.
    pub(crate) copy_from: u64,
    /// Whether it is to see what the refusal was, and will be taken back.
    pub(crate) is_trial: bool,
}

/// Writes all nodes, and says how many rows of which table.
pub(crate) async fn nodes(
    nodes: &mut [Box<dyn Node>],
    catalogue: &Catalogue,
    db: &mut PgConnection,
    ways: Ways,
    mut tell: impl FnMut(&'static str, u64) + Send,
) -> Result<(), Error> {
    count_keys(nodes, catalogue, db).await?;
    for group in in_order(nodes) {
        let rows: u64 = group.iter().map(|node| nodes[*node].count()).sum();
        let table = catalogue.table(nodes[group[0]].factory());
        for node in &group {
            if nodes[*node].has_hooks() {
                nodes[*node].keep();
            }
        }
        if rows > 0 {
            match &table.arrays {
                Some(arrays) if rows < ways.copy_from => {
                    insert(nodes, &group, table, arrays, db).await?;
                    tell(table.name, rows);
                }
                _ => copy(nodes, &group, table, db, &mut tell).await?,
            }
        }
        // Those that there are none of.
        group.iter().for_each(|node| nodes[*node].close());
    }
    for node in nodes.iter_mut() {
        let table = catalogue.table(node.factory());
        if node.is_kept() && !table.read_back.is_empty() && node.count() > 0 {
            read_back(node.as_mut(), table, db).await?;
        }
    }
    if !ways.is_trial {
        for node in nodes.iter_mut().filter(|node| node.has_hooks()) {
            node.after_create(db).await?;
        }
    }
    Ok(())
}

/// Takes the keys of all tables from their sequences.
async fn count_keys(
    nodes: &mut [Box<dyn Node>],
    catalogue: &Catalogue,
    db: &mut PgConnection,
) -> Result<(), Error> {
    let mut counted: Vec<&mut Box<dyn Node>> =
        nodes.iter_mut().filter(|node| node.counted_key().is_some() && node.count() > 0).collect();
    if counted.is_empty() {
        return Ok(());
    }
    let sequences: Vec<&str> = counted
        .iter()
        .map(|node| catalogue.table(node.factory()).sequence.as_deref().unwrap_or_default())
        .collect();
    let counts: Vec<i64> =
        counted.iter().map(|node| i64::try_from(node.count()).unwrap_or(i64::MAX)).collect();
    let rows = sqlx::query(
        "select place, array(select nextval(sequence::regclass) from generate_series(1, count))
         from unnest($1::text[], $2::bigint[]) with ordinality as wanted (sequence, count, place) order by place",
    )
    .bind(&sequences)
    .bind(&counts)
    .fetch_all(db)
    .await?;
    for (node, row) in counted.iter_mut().zip(&rows) {
        node.take_counted(row.try_get(1)?);
    }
    Ok(())
}

/// The nodes by table, each table after those that it refers to; where tables refer to one another, by the nodes' own order.
fn in_order(nodes: &[Box<dyn Node>]) -> Vec<Vec<usize>> {
    let mut tables: Vec<(&'static str, Vec<usize>)> = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        let factory = node.factory();
        match tables.iter_mut().find(|(name, _)| *name == factory) {
            Some((_, members)) => members.push(at),
            None => tables.push((factory, vec![at])),
        }
    }
    let mut ordered: Vec<Vec<usize>> = Vec::new();
    let mut done: Vec<&str> = Vec::new();
    while ordered.len() < tables.len() {
        let ready = tables.iter().find(|(name, members)| {
            let needs = members.iter().flat_map(|node| nodes[*node].parents());
            let mut needs = needs.map(|parent| nodes[*parent].factory());
            !done.contains(name) && needs.all(|parent| parent == *name || done.contains(&parent))
        });
        match ready {
            Some((name, members)) => {
                done.push(name);
                ordered.push(members.clone());
            }
            None => return (0..nodes.len()).map(|node| vec![node]).collect(),
        }
    }
    ordered
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn names(targets: &[Target]) -> String {
    targets.iter().map(|target| quoted(&target.name)).collect::<Vec<_>>().join(", ")
}

fn refused(error: sqlx::Error, table: &Table, nodes: &[Box<dyn Node>], group: &[usize]) -> Error {
    let written: Vec<&dyn Node> = group.iter().map(|node| &*nodes[*node]).collect();
    refusal(error, table, &written)
}

async fn copy(
    nodes: &mut [Box<dyn Node>],
    group: &[usize],
    table: &Table,
    db: &mut PgConnection,
    tell: &mut (impl FnMut(&'static str, u64) + Send),
) -> Result<(), Error> {
    const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    const END: &[u8] = &(-1i16).to_be_bytes();
    let statement = format!("copy {} ({}) from stdin (format binary)", table.name, names(&table.targets));
    let mut copy = db.copy_in_raw(&statement).await?;
    let mut sent = copy.send(HEADER).await.map(|_| ());
    for node in group {
        let count = nodes[*node].count();
        let mut at = 0;
        while at < count && sent.is_ok() {
            let mut rows = Rows::default();
            let from = at;
            while at < count && rows.bytes().len() < CHUNK {
                let end = (at + STEP).min(count);
                let made = nodes[*node].make(at..end, &mut Sink::Rows(&mut rows, &table.targets));
                if let Err(error) = made {
                    copy.abort("a value is not one that its column takes").await?;
                    return Err(error);
                }
                at = end;
            }
            sent = copy.send(rows.bytes()).await.map(|_| ());
            tell(table.name, at - from);
        }
        // At once: the next ones may be its children, in the same table.
        nodes[*node].close();
    }
    if sent.is_ok() {
        sent = copy.send(END).await.map(|_| ());
    }
    let written = match sent {
        Ok(()) => copy.finish().await.map(|_| ()),
        // The server's reason is better than ours.
        Err(error) => Err(copy.abort("the rows could not be sent").await.err().unwrap_or(error)),
    };
    written.map_err(|error| refused(error, table, nodes, group))
}

async fn insert(
    nodes: &mut [Box<dyn Node>],
    group: &[usize],
    table: &Table,
    arrays: &[ArrayType],
    db: &mut PgConnection,
) -> Result<(), Error> {
    let mut rows = Rows::default();
    for node in group {
        let node = &mut nodes[*node];
        node.make(0..node.count(), &mut Sink::Rows(&mut rows, &table.targets))?;
        // At once: the next ones may be its children, in the same table.
        node.close();
    }
    let places: Vec<String> =
        arrays.iter().zip(1..).map(|(array, place)| format!("${place}::{}[]", array.spelled)).collect();
    let statement = if table.targets.is_empty() {
        format!("insert into {} default values", table.name)
    } else {
        let (name, columns) = (table.name, names(&table.targets));
        format!(
            "insert into {name} ({columns}) overriding system value select * from unnest({})",
            places.join(", ")
        )
    };
    let mut query = sqlx::query(AssertSqlSafe(statement));
    let by_column = rows.by_column(arrays.len());
    for (fields, of) in by_column.iter().zip(arrays) {
        query = query.bind(Array { fields, of });
    }
    query.execute(db).await.map_err(|error| refused(error, table, nodes, group))?;
    Ok(())
}

/// An array of fields that are in their binary form already.
struct Array<'a> {
    fields: &'a [&'a [u8]],
    of: &'a ArrayType,
}

impl Type<Postgres> for Array<'_> {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("anyarray")
    }
}

impl Encode<'_, Postgres> for Array<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        const LENGTH_OF_NULL: [u8; 4] = (-1i32).to_be_bytes();
        let has_nulls = self.fields.iter().any(|field| **field == LENGTH_OF_NULL);
        buffer.extend_from_slice(&1i32.to_be_bytes());
        buffer.extend_from_slice(&i32::from(has_nulls).to_be_bytes());
        buffer.extend_from_slice(&self.of.element.to_be_bytes());
        buffer.extend_from_slice(&i32::try_from(self.fields.len())?.to_be_bytes());
        buffer.extend_from_slice(&1i32.to_be_bytes());
        self.fields.iter().for_each(|field| buffer.extend_from_slice(field));
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(PgTypeInfo::with_oid(Oid(self.of.oid)))
    }
}

/// Reads what the database made of the kept records, by their keys.
async fn read_back(node: &mut dyn Node, table: &Table, db: &mut PgConnection) -> Result<(), Error> {
    let Some((key, array)) = &table.key else { return Ok(()) };
    let mut rows = Rows::default();
    node.encode_kept(&mut rows, &table.targets)?;
    let fields = rows.by_column(table.targets.len()).swap_remove(*key);
    let key_column = quoted(&table.targets[*key].name);
    let columns: Vec<String> = table.read_back.iter().map(|column| quoted(column)).collect();
    let statement = format!(
        "select {}, {key_column} as seaworthy_key from {} where {key_column} = any($1::{}[])",
        columns.join(", "),
        table.name,
        array.spelled
    );
    let query = sqlx::query(AssertSqlSafe(statement)).bind(Array { fields: &fields, of: array });
    let read = query.fetch_all(db).await?;
    let places: HashMap<&[u8], usize> =
        fields.iter().zip(0..).map(|(field, place)| (&field[4..], place)).collect();
    for row in &read {
        let key = row.try_get_raw("seaworthy_key")?;
        let key = key.as_bytes().map_err(sqlx::Error::Decode)?;
        if let Some(place) = places.get(key) {
            node.adopt(*place, row)?;
        }
    }
    Ok(())
}
