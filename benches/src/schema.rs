//! A schema as an application of some age has it: 40 tables in five migrations.

use std::borrow::Cow;

use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

/// How many tables the schema has.
pub const TABLES: usize = 40;

/// The migrations: enums, sequences, foreign keys, indexes, functions, triggers and some seeded rows; a copy takes about 10 MB.
pub fn forty_tables() -> Migrator {
    let files = [
        ("people", include_str!("../schema/0001_people.sql")),
        ("catalogue", include_str!("../schema/0002_catalogue.sql")),
        ("orders", include_str!("../schema/0003_orders.sql")),
        ("operations", include_str!("../schema/0004_operations.sql")),
        ("seed", include_str!("../schema/0005_seed.sql")),
    ];
    let migrations = files.into_iter().zip(1..).map(|((name, sql), version)| {
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}
