//! A client that tries again when it has no answer, and pays twice.

use seaworthy_harness::{BoxError, Voyage, check};

use crate::sea::{Wreck, direct, load, ms, pool, start};

const CHECK: &str = "no order is paid twice";

pub(crate) const WRECK: Wreck = Wreck {
    name: "retry-without-idempotence",
    check: CHECK,
    scenario: |scenario, flawed| scenario.sail(move |voyage| sail(voyage, flawed)),
};

const SCHEMA: &str = "create table payment (request uuid primary key, order_id bigint not null)";
const TRIES: u32 = 4;

async fn sail(voyage: Voyage, flawed: bool) -> Result<(), BoxError> {
    let stack = start(&voyage, SCHEMA).await?;
    let pool = pool(stack)?;
    let payments = load(&voyage, 100.0).operation("pay", 1, move |call| {
        let (pool, order) = (pool.clone(), call.number() as i64);
        call.key(order.to_string());
        async move {
            let mut request = uuid::Uuid::new_v4();
            let mut tries = 1;
            loop {
                let pay = sqlx::query("insert into payment values ($1, $2) on conflict do nothing");
                match pay.bind(request).bind(order).execute(&pool).await {
                    Err(_) if tries < TRIES => {
                        tokio::time::sleep(ms(50)).await;
                        tries += 1;
                        if flawed {
                            // Another try is another request.
                            request = uuid::Uuid::new_v4();
                        }
                    }
                    paid => return paid.map(drop),
                }
            }
        }
    });
    voyage.sail(&payments).await?;
    let paid: Vec<i64> =
        sqlx::query_scalar("select order_id from payment").fetch_all(&direct(stack).await?).await?;
    voyage.check(check::nothing_twice(CHECK, &paid));
    Ok(())
}
