//! A statement has the caller's line, however it is run.

mod database;

use std::{pin::Pin, time::Duration};

use database::pool;
use futures_util::{StreamExt as _, TryStreamExt as _};
use seaworthy_telemetry::{queries, trace};
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool};

/// The lines on which a function waits for statements, in their order.
type Lines = Vec<u32>;

async fn execute(pool: PgPool) -> Lines {
    sqlx::query("select 1").execute(&pool).await.unwrap();
    vec![line!() - 1]
}

#[rustfmt::skip]
async fn over_several_lines(pool: PgPool) -> Lines {
    sqlx::query("select $1::int4")
        .bind(1)
        .execute(&pool)
        .await
        .unwrap();
    vec![line!() - 2]
}

async fn fetch_one(pool: PgPool) -> Lines {
    sqlx::query("select 1").fetch_one(&pool).await.unwrap();
    vec![line!() - 1]
}

async fn fetch_optional(pool: PgPool) -> Lines {
    assert!(sqlx::query("select 1 where false").fetch_optional(&pool).await.unwrap().is_none());
    vec![line!() - 1]
}

async fn fetch_all(pool: PgPool) -> Lines {
    sqlx::query_as::<_, (i32,)>("select n from generate_series(1, 3) n").fetch_all(&pool).await.unwrap();
    vec![line!() - 1]
}

async fn fetch(pool: PgPool) -> Lines {
    let mut rows = sqlx::query("select generate_series(1, 3)").fetch(&pool);
    while rows.try_next().await.unwrap().is_some() {}
    vec![line!() - 1]
}

async fn a_stream_that_is_dropped(pool: PgPool) -> Lines {
    let mut rows = sqlx::query("select generate_series(1, 3)").fetch(&pool);
    rows.next().await.unwrap().unwrap();
    drop(rows);
    vec![line!() - 1]
}

async fn scalar(pool: PgPool) -> Lines {
    sqlx::query_scalar::<_, i32>("select 1").fetch_one(&pool).await.unwrap();
    vec![line!() - 1]
}

async fn raw(pool: PgPool) -> Lines {
    sqlx::raw_sql("select 1; select 2").execute(&pool).await.unwrap();
    vec![line!() - 1]
}

async fn a_connection(pool: PgPool) -> Lines {
    let mut connection = pool.acquire().await.unwrap();
    connection.execute("select 1").await.unwrap();
    vec![line!() - 1]
}

async fn a_transaction(pool: PgPool) -> Lines {
    let mut transaction = pool.begin().await.unwrap();
    sqlx::query("select 1").execute(&mut *transaction).await.unwrap();
    transaction.commit().await.unwrap();
    vec![line!() - 2, line!() - 1]
}

async fn a_transaction_in_a_closure(pool: PgPool) -> Lines {
    async fn inner(connection: &mut PgConnection) -> Result<u32, sqlx::Error> {
        sqlx::query("select 1").execute(connection).await?;
        Ok(line!() - 1)
    }
    let mut connection = pool.acquire().await.unwrap();
    let line = connection.transaction(|transaction| Box::pin(inner(transaction))).await.unwrap();
    vec![line, line!() - 1]
}

async fn side_by_side(pool: PgPool) -> Lines {
    let one = async { sqlx::query("select 1").execute(&pool).await.unwrap() };
    let other = async { sqlx::query("select pg_sleep(0.02)").execute(&pool).await.unwrap() };
    tokio::join!(one, other);
    vec![line!() - 3, line!() - 2]
}

async fn under_a_deadline(pool: PgPool) -> Lines {
    let query = sqlx::query("select 1").execute(&pool);
    tokio::time::timeout(Duration::from_secs(10), query).await.unwrap().unwrap();
    vec![line!() - 1]
}

async fn in_a_task_of_its_own(pool: PgPool) -> Lines {
    let task = trace::spawn(async move {
        sqlx::query("select 1").execute(&pool).await.unwrap();
        line!() - 1
    });
    vec![task.await.unwrap()]
}

async fn in_a_method(pool: PgPool) -> Lines {
    struct Orders(PgPool);
    impl Orders {
        async fn count(&self) -> u32 {
            sqlx::query("select 1").execute(&self.0).await.unwrap();
            line!() - 1
        }
    }
    vec![Orders(pool).count().await]
}

type Way = fn(PgPool) -> Pin<Box<dyn Future<Output = Lines> + Send>>;

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_has_the_line_that_waits_for_it() {
    macro_rules! ways {
        ($($way:ident),* $(,)?) => {
            [$((stringify!($way), (|pool| Box::pin($way(pool))) as Way)),*]
        };
    }
    let ways = ways![
        execute,
        over_several_lines,
        fetch_one,
        fetch_optional,
        fetch_all,
        fetch,
        a_stream_that_is_dropped,
        scalar,
        raw,
        a_connection,
        a_transaction,
        a_transaction_in_a_closure,
        side_by_side,
        under_a_deadline,
        in_a_task_of_its_own,
        in_a_method,
    ];
    let pool = pool().await;
    for (name, way) in ways {
        let (lines, recording) = queries::record(way(pool.clone())).await;
        let callers = recording.statements().iter().map(|statement| {
            let caller = statement.caller.as_ref().unwrap_or_else(|| panic!("{name}: {recording}"));

            caller.line.unwrap()
        });
        assert_eq!(callers.collect::<Vec<_>>(), lines, "{name}: {recording}");
    }
}
