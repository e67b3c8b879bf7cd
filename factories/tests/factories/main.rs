//! What a team relies on when its tests fill a database with factories.

mod bulk;
mod definitions;
mod linting;
mod outputs;
mod refusals;
mod relations;
mod shop;
mod strategies;

/// How many rows a table has.
pub(crate) async fn count(db: &sqlx::PgPool, table: &str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {table}")))
        .fetch_one(db)
        .await
        .unwrap()
}
