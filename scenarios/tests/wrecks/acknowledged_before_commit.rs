//! A service that answers before what it promises is committed.

use seaworthy_harness::{BoxError, Voyage, check};

use crate::sea::{Wreck, direct, load, pool, start};

const CHECK: &str = "every acknowledged note is there";

pub(crate) const WRECK: Wreck = Wreck {
    name: "acknowledged-before-commit",
    check: CHECK,
    scenario: |scenario, flawed| scenario.sail(move |voyage| sail(voyage, flawed)),
};

async fn sail(voyage: Voyage, flawed: bool) -> Result<(), BoxError> {
    let stack = start(&voyage, "create table note (id bigint primary key)").await?;
    let pool = pool(stack)?;
    let notes = load(&voyage, 100.0).operation("note", 1, move |call| {
        let (pool, id) = (pool.clone(), call.number() as i64);
        call.key(id.to_string());
        async move {
            let write = async move {
                sqlx::query("insert into note values ($1)").bind(id).execute(&pool).await.map(drop)
            };
            if flawed {
                tokio::spawn(write);
                return Ok(());
            }
            write.await
        }
    });
    voyage.sail(&notes).await?;
    let there: Vec<i64> = sqlx::query_scalar("select id from note").fetch_all(&direct(stack).await?).await?;
    let acknowledged: Vec<i64> = acknowledged(&voyage);
    voyage.check(check::nothing_lost(CHECK, &acknowledged, &there.into_iter().collect()));
    Ok(())
}

/// The keys of the operations that clients were told had succeeded.
pub(crate) fn acknowledged(voyage: &Voyage) -> Vec<i64> {
    let operations = voyage.history().operations().into_iter();
    let ok = operations.filter(|operation| operation.outcome == seaworthy_harness::Outcome::Ok);
    ok.filter_map(|operation| operation.key.parse().ok()).collect()
}
