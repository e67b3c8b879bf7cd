//! The queue that a team writes itself: one table, `FOR UPDATE SKIP LOCKED`, a row at a time.

use sqlx::{Executor, PgPool};

/// One table of jobs; a job is deleted in the transaction that ran it, and leaves no history.
#[derive(Debug, Clone)]
pub struct PlainQueue {
    pool: PgPool,
}

impl PlainQueue {
    /// Creates its table, empty.
    ///
    /// # Errors
    ///
    /// When Postgres refuses.
    pub async fn create(pool: PgPool) -> sqlx::Result<Self> {
        pool.execute("drop table if exists plain_queue").await?;
        pool.execute("create table plain_queue (id bigint generated always as identity primary key, args jsonb not null)")
            .await?;
        Ok(PlainQueue { pool })
    }

    /// Enqueues so many jobs in one statement.
    ///
    /// # Errors
    ///
    /// When Postgres refuses.
    pub async fn enqueue(&self, jobs: i32) -> sqlx::Result<()> {
        sqlx::query("insert into plain_queue (args) select to_jsonb(n) from generate_series(1, $1) n")
            .bind(jobs)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Takes one job, runs nothing, and completes it. Says whether there was one.
    ///
    /// # Errors
    ///
    /// When Postgres refuses.
    pub async fn work_one(&self) -> sqlx::Result<bool> {
        let mut tx = self.pool.begin().await?;
        let deleted = sqlx::query(
            "delete from plain_queue where id = (
                select id from plain_queue order by id limit 1 for update skip locked
            ) returning args",
        )
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(deleted.is_some())
    }
}
