//! What Postgres' catalogue says of a result's types, and of the columns that a sequence fills.

use std::collections::HashMap;

use sqlx::{PgConnection, postgres::types::Oid};

/// Composites in composites are followed so far.
const DEPTH: usize = 16;

/// A type as far as it matters to what is redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A value without parts.
    Leaf(Leaf),
    /// An array, with the kind of its elements.
    Array(Box<Kind>),
    /// A range or a multirange, with the kind of its bounds.
    Range(Box<Kind>),
    /// A composite, with its fields in their order.
    Composite(Vec<Kind>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    Boolean,
    Float,
    Integer,
    Json,
    Numeric,
    /// A date, a time, or both.
    Temporal,
    /// What only its look tells: a field of a row that was never declared.
    Untyped,
    Other,
}

impl Kind {
    const OTHER: Kind = Kind::Leaf(Leaf::Other);
}

/// The types of a result, with those that they consist of.
#[derive(Debug, Default)]
pub(super) struct Types(HashMap<Oid, Found>);

#[derive(Debug)]
struct Found {
    name: String,
    shape: String,
    parts: Vec<Oid>,
}

impl Types {
    pub(super) fn kind(&self, oid: Oid) -> Kind {
        self.kind_within(oid, DEPTH)
    }

    fn kind_within(&self, oid: Oid, depth: usize) -> Kind {
        let Some(found) = self.0.get(&oid).filter(|_| depth > 0) else { return Kind::OTHER };
        let mut parts = found.parts.iter().map(|part| self.kind_within(*part, depth - 1));
        match found.shape.as_str() {
            "composite" => Kind::Composite(parts.collect()),
            "array" => Kind::Array(Box::new(parts.next().unwrap_or(Kind::OTHER))),
            "range" => Kind::Range(Box::new(parts.next().unwrap_or(Kind::OTHER))),
            "domain" => parts.next().unwrap_or(Kind::OTHER),
            // A row that was never declared has fields of any type.
            _ if found.name == "record" => Kind::Range(Box::new(Kind::Leaf(Leaf::Untyped))),
            _ => Kind::Leaf(leaf(&found.name)),
        }
    }
}

/// Of Postgres' own types only: another's `date` is not known to be one.
fn leaf(name: &str) -> Leaf {
    match name {
        "bool" => Leaf::Boolean,
        "float4" | "float8" => Leaf::Float,
        "int2" | "int4" | "int8" | "oid" => Leaf::Integer,
        "json" | "jsonb" => Leaf::Json,
        "numeric" => Leaf::Numeric,
        "date" | "time" | "timetz" | "timestamp" | "timestamptz" => Leaf::Temporal,
        _ => Leaf::Other,
    }
}

/// These types, and those that they consist of.
pub(super) async fn types(connection: &mut PgConnection, types: Vec<Oid>) -> sqlx::Result<Types> {
    let found: Vec<(Oid, String, String, Vec<Oid>)> = sqlx::query_as(
        "with recursive shaped as (
            select t.oid,
                case when t.typnamespace = 'pg_catalog'::pg_catalog.regnamespace then t.typname::text else '' end as name,
                case
                    when t.typtype = 'd' then 'domain'
                    when t.typcategory = 'A' and t.typelem <> 0 then 'array'
                    when t.typtype in ('r', 'm') then 'range'
                    when t.typtype = 'c' then 'composite'
                    else 'leaf'
                end as shape,
                case
                    when t.typtype = 'd' then array[t.typbasetype]
                    when t.typcategory = 'A' and t.typelem <> 0 then array[t.typelem]
                    when t.typtype in ('r', 'm') then array(
                        select r.rngsubtype from pg_catalog.pg_range r where t.oid in (r.rngtypid, r.rngmultitypid))
                    when t.typtype = 'c' then array(
                        select a.atttypid from pg_catalog.pg_attribute a
                        where a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped order by a.attnum)
                    else array[]::oid[]
                end as parts
            from pg_catalog.pg_type t
        ), known as (
            select wanted as oid from unnest($1::oid[]) wanted
            union
            select unnest(shaped.parts) from known join shaped using (oid)
        )
        select oid, name, shape, parts from known join shaped using (oid)",
    )
    .persistent(false)
    .bind(types)
    .fetch_all(connection)
    .await?;
    let found = found.into_iter().map(|(oid, name, shape, parts)| (oid, Found { name, shape, parts }));
    Ok(Types(found.collect()))
}

/// The name of the generated id, for example `orders.id`, that each of these columns holds: its own, or that of the column which it
/// references, directly or over other references. A column is a table and a number.
pub(super) async fn generated(
    connection: &mut PgConnection,
    columns: Vec<(Oid, i16)>,
) -> sqlx::Result<HashMap<(Oid, i16), String>> {
    let (tables, numbers): (Vec<Oid>, Vec<i16>) = columns.into_iter().unzip();
    // A partition has the ids of its table. A default that uses a sequence depends on it.
    let found: Vec<(Oid, i16, String)> = sqlx::query_as(
        "with recursive asked as (
            select distinct w.tab as asked_tab, w.num as asked_num, r.tab, r.num
            from unnest($1::oid[], $2::int2[]) w(tab, num)
            join pg_catalog.pg_attribute a on a.attrelid = w.tab and a.attnum = w.num
            cross join lateral (
                select p.attrelid as tab, p.attnum as num from pg_catalog.pg_attribute p
                where p.attrelid = coalesce(pg_catalog.pg_partition_root(w.tab)::oid, w.tab) and p.attname = a.attname
            ) r
        ), held as (
            select * from asked
            union
            select h.asked_tab, h.asked_num, c.confrelid, c.confkey[at.place]
            from held h
            join pg_catalog.pg_constraint c on c.contype = 'f' and c.conparentid = 0 and c.conrelid = h.tab
            join lateral generate_subscripts(c.conkey, 1) at(place) on c.conkey[at.place] = h.num
        )
        select distinct on (h.asked_tab, h.asked_num)
            h.asked_tab, h.asked_num, h.tab::pg_catalog.regclass::text || '.' || a.attname
        from held h
        join pg_catalog.pg_attribute a on a.attrelid = h.tab and a.attnum = h.num
        where a.attidentity <> '' or exists (
            select 1 from pg_catalog.pg_attrdef d
            join pg_catalog.pg_depend p
                on p.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass and p.objid = d.oid
                and p.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
            join pg_catalog.pg_class s on s.oid = p.refobjid and s.relkind = 'S'
            where d.adrelid = h.tab and d.adnum = h.num
        )
        order by 1, 2, (h.tab, h.num) = (h.asked_tab, h.asked_num) desc, 3",
    )
    .persistent(false)
    .bind(tables)
    .bind(numbers)
    .fetch_all(connection)
    .await?;
    Ok(found.into_iter().map(|(table, number, name)| ((table, number), name)).collect())
}
