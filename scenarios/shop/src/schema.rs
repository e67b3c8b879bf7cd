//! The shop's tables.

use seaworthy_queue::Queue;
use sqlx::{
    PgPool, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

/// Creates the shop's and the queue's tables, or brings them up to date. Safe from many processes at once.
///
/// # Errors
///
/// When the database can't be reached, or refuses a migration.
pub async fn migrate(pool: &PgPool) -> Result<(), seaworthy_queue::Error> {
    let sql = include_str!("schema.sql").into_sql_str();
    let mut migrator =
        Migrator::with_migrations(vec![Migration::new(1, "shop".into(), MigrationType::Simple, sql, false)]);
    migrator.create_schema("shop");
    migrator.dangerous_set_table_name("shop.migration");
    migrator.run(pool).await?;
    Queue::new(pool.clone()).migrate().await
}
