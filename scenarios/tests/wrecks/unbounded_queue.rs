//! A service that takes in whatever comes while it can't get rid of it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use seaworthy_harness::{BoxError, Failure, Voyage, check};
use sqlx::PgPool;
use tokio::time::sleep;

use crate::sea::{Wreck, load, ms, pool, start};

const CHECK: &str = "what waits in memory has a bound";

pub(crate) const WRECK: Wreck = Wreck {
    name: "unbounded-queue",
    check: CHECK,
    scenario: |scenario, flawed| scenario.sail(move |voyage| sail(voyage, flawed)),
};

/// What may wait.
const MOST: usize = 40;
/// What is written together.
const BATCH: usize = 20;
type Waiting = Arc<Mutex<VecDeque<i64>>>;

async fn sail(voyage: Voyage, flawed: bool) -> Result<(), BoxError> {
    let stack = start(&voyage, "create table reading (id bigint primary key)").await?;
    let waiting = Waiting::default();
    let writer = tokio::spawn(write(pool(stack)?, waiting.clone()));
    let most = Arc::new(Mutex::new(0));
    let (taking, highest) = (waiting.clone(), most.clone());
    let readings = load(&voyage, 200.0).operation("read-off", 1, move |call| {
        let (waiting, highest, id) = (taking.clone(), highest.clone(), call.number() as i64);
        async move {
            let mut waiting = waiting.lock().unwrap();
            if !flawed && waiting.len() >= MOST {
                return Err(Failure::refused("too much is waiting"));
            }
            waiting.push_back(id);
            let mut highest = highest.lock().unwrap();
            *highest = waiting.len().max(*highest);
            Ok(())
        }
    });
    voyage.sail(&readings).await?;
    writer.abort();
    let most = *most.lock().unwrap();
    let above: Vec<String> = (most > MOST).then(|| format!("{most} waited, of {MOST}")).into_iter().collect();
    voyage.check(check::none(CHECK, &above));
    Ok(())
}

async fn write(pool: PgPool, waiting: Waiting) {
    loop {
        let batch: Vec<i64> = waiting.lock().unwrap().iter().take(BATCH).copied().collect();
        let write = sqlx::query("insert into reading select unnest($1::bigint[]) on conflict do nothing");
        if batch.is_empty() || write.bind(&batch).execute(&pool).await.is_err() {
            sleep(ms(10)).await;
            continue;
        }
        waiting.lock().unwrap().drain(..batch.len());
    }
}
