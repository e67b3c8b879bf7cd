//! A schema as an application of some age has it: 40 tables in ten migrations.

use std::{borrow::Cow, fmt::Write};

use sqlx::{
    AssertSqlSafe, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

/// How many tables the schema has.
pub const TABLES: usize = 40;

/// The migrations: enums, sequences, foreign keys, indexes, triggers and some seeded rows; a copy takes about 10 MiB.
pub fn forty_tables() -> Migrator {
    let areas =
        ["users", "orders", "billing", "catalog", "stock", "shipping", "support", "mail", "audit", "search"];
    let migrations = areas.iter().zip(1..).map(|(area, version)| {
        let description = Cow::Owned(format!("the tables of {area}"));
        Migration::new(
            version,
            description,
            MigrationType::Simple,
            AssertSqlSafe(area_of(area)).into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(migrations.collect())
}

fn area_of(area: &str) -> String {
    let mut sql = format!("create type {area}_state as enum ('new', 'open', 'done', 'gone');\n");
    for (number, table) in ["account", "item", "event", "note"].iter().enumerate() {
        let parent = ["account", "item", "event"].get(number.wrapping_sub(1));
        let parent = parent
            .map_or(String::new(), |parent| format!("parent_id bigint references {area}_{parent} (id),"));
        let _ = write!(
            sql,
            "create table {area}_{table} (
                id bigint generated always as identity primary key, {parent}
                name text not null, state {area}_state not null default 'new',
                data jsonb not null default '{{}}', amount numeric(12, 2) check (amount >= 0),
                created_at timestamptz not null default now(), updated_at timestamptz
             );
             create index on {area}_{table} (state, created_at);
             create unique index on {area}_{table} (lower(name));
             insert into {area}_{table} (name, amount) select 'row ' || n, n from generate_series(1, 40) as n;\n"
        );
    }
    let _ = write!(
        sql,
        "create function {area}_touch() returns trigger language plpgsql as
         $$ begin new.updated_at := now(); return new; end $$;
         create trigger touch before update on {area}_account for each row execute function {area}_touch();"
    );
    sql
}
