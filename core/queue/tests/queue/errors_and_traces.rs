//! What a handler's error advises is obeyed, and a job knows which request it belongs to.

use std::time::{Duration, Instant};

use seaworthy_errors::{Error, Retry, http_codes};
use seaworthy_harness::Env;
use seaworthy_queue::{Backoff, NewJob, Worker};
use seaworthy_telemetry::trace::{self, Context, Work};
use sqlx::PgPool;
use tokio::sync::mpsc::unbounded_channel;

use crate::database::{self, queue_in};

const DEADLINE: Duration = Duration::from_secs(20);

/// The outcomes of the first attempts, as soon as there are so many.
async fn outcomes(pool: &PgPool, jobs: usize) -> Vec<(String, String, Option<f64>)> {
    let give_up = Instant::now() + DEADLINE;
    loop {
        let rows: Vec<(String, String, Option<f64>)> = sqlx::query_as(
            "select kind, outcome, extract(epoch from run_at - at)::float8 as wait
             from seaworthy_queue.done_batch, unnest(job_ids) as done (id)
             join seaworthy_queue.job using (id) left join seaworthy_queue.scheduled using (id) order by kind",
        )
        .fetch_all(pool)
        .await
        .unwrap();
        if rows.len() == jobs {
            return rows;
        }
        assert!(Instant::now() < give_up, "{rows:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[seaworthy_harness::test(schema = database::schema(), connections = 12)]
async fn what_an_error_advises_on_trying_again_is_obeyed(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let hour = Duration::from_secs(3_600);
    let error = move |kind: &str| match kind {
        "after" => Error::new(&http_codes::TOO_MANY_REQUESTS).retry(Retry::After(2 * hour)),
        "backoff" => Error::new(&http_codes::UNAVAILABLE),
        _ => Error::new(&http_codes::NOT_FOUND),
    };
    let mut worker = Worker::new(queue.clone()).backoff(Backoff::exponential(hour, hour));
    let mut tx = pool.begin().await.unwrap();
    for kind in ["after", "backoff", "never"] {
        worker = worker.handle(kind, move |_| async move { Err(error(kind))? });
        queue.enqueue(&mut tx, &NewJob::new(kind, &()).unwrap()).await.unwrap();
    }
    tx.commit().await.unwrap();
    let worker = worker.poll(Duration::from_millis(5)).start();
    let seen = outcomes(&pool, 3).await;
    assert!(worker.drain(DEADLINE).await);
    let of = |kind: &str| seen.iter().find(|(other, _, _)| other == kind).unwrap();
    assert_eq!(of("never").1, "dead", "{seen:?}");
    assert!((7_100.0..7_300.0).contains(&of("after").2.unwrap()), "{seen:?}");
    assert!((0.0..3_700.0).contains(&of("backoff").2.unwrap()), "{seen:?}");
    let dead = queue.dead_letters(10).await.unwrap();
    assert!(dead[0].error.starts_with("HTTP-0404"), "{dead:?}");
}

#[seaworthy_harness::test(schema = database::schema(), connections = 12)]
async fn a_job_has_the_ids_of_the_request_that_enqueued_it(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let (seen, mut inbox) = unbounded_channel();
    let worker = Worker::new(queue.clone())
        .poll(Duration::from_millis(5))
        .handle("note", move |job| {
            let seen = seen.clone();
            async move {
                let work = trace::current_work().expect("a job is a piece of work");
                seen.send((work.name().to_owned(), work.context().clone()))?;
                Ok(job.done())
            }
        })
        .start();
    let request = Context::from_caller(None, Some("order-42"));
    let placing = async {
        let mut tx = pool.begin().await.unwrap();
        queue.enqueue(&mut tx, &NewJob::new("note", &()).unwrap()).await.unwrap();
        tx.commit().await.unwrap();
    };
    Work::new("POST /orders", request.clone()).run(placing).await;
    let (name, context) = inbox.recv().await.unwrap();
    assert!(worker.drain(DEADLINE).await);
    assert_eq!(name, "job note");
    assert_eq!((context.trace_id(), context.request_id()), (request.trace_id(), "order-42"));
    assert_ne!(context.span_id(), request.span_id(), "it is a span of its own");
}
