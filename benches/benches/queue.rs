//! The queue on a durable Postgres: enqueue in bulk and drain with real handlers, beside the queue that a team writes itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use seaworthy_benches::PlainQueue;
use seaworthy_harness::{Postgres, ProviderChoice, Stack};
use seaworthy_queue::{NewJob, Queue, Worker};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{sync::Notify, task::JoinSet};

const JOBS: i32 = 1000;
const CONCURRENCY: usize = 16;

async fn services() -> (Stack, PgPool) {
    let provider = ProviderChoice::from_env().unwrap();
    let stack =
        Stack::builder().provider(provider).postgres(Postgres::new().durable(true)).start().await.unwrap();
    let url = stack.postgres().direct_url();
    let pool = PgPoolOptions::new().max_connections(CONCURRENCY as u32 + 4).connect(&url).await.unwrap();
    (stack, pool)
}

async fn enqueue(queue: &Queue, pool: &PgPool) {
    let jobs: Vec<NewJob> = (0..JOBS).map(|number| NewJob::new("noop", &number).unwrap()).collect();
    let mut tx = pool.begin().await.unwrap();
    queue.enqueue_many(&mut tx, &jobs).await.unwrap();
    tx.commit().await.unwrap();
}

/// Counts jobs as their handlers run, and wakes whoever waits for the last one.
#[derive(Debug, Default)]
struct Finished {
    jobs: AtomicU64,
    changed: Notify,
}

impl Finished {
    async fn reach(&self, target: u64) {
        loop {
            let changed = self.changed.notified();
            if self.jobs.load(Ordering::Acquire) >= target {
                return;
            }
            changed.await;
        }
    }
}

fn queue(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (stack, pool) = runtime.block_on(services());
    let ours = Queue::new(pool.clone());
    runtime.block_on(ours.migrate()).unwrap();
    let plain = runtime.block_on(PlainQueue::create(pool.clone())).unwrap();

    let mut group = criterion.benchmark_group("enqueue 1000 jobs");
    group.sample_size(20).throughput(Throughput::Elements(JOBS as u64));
    group.bench_function("queue", |bencher| bencher.to_async(&runtime).iter(|| enqueue(&ours, &pool)));
    group.bench_function("plain table", |bencher| bencher.to_async(&runtime).iter(|| plain.enqueue(JOBS)));
    group.finish();
    runtime.block_on(async {
        sqlx::query("truncate seaworthy_queue.ready, plain_queue").execute(&pool).await.unwrap();
    });

    let finished = Arc::new(Finished::default());
    let worker = {
        let (ours, finished) = (ours.clone(), finished.clone());
        runtime.block_on(async move {
            Worker::new(ours)
                .concurrency(CONCURRENCY)
                .poll(Duration::from_millis(1))
                .handle("noop", move |job| {
                    let finished = finished.clone();
                    async move {
                        finished.jobs.fetch_add(1, Ordering::AcqRel);
                        finished.changed.notify_waiters();
                        Ok(job.done())
                    }
                })
                .start()
        })
    };
    let mut group = criterion.benchmark_group("drain 1000 jobs, concurrency 16");
    group.sample_size(10).throughput(Throughput::Elements(JOBS as u64));
    group.bench_function("queue, fenced, with history", |bencher| {
        bencher.to_async(&runtime).iter_custom(|rounds| {
            let (ours, pool, finished) = (ours.clone(), pool.clone(), finished.clone());
            async move {
                let mut took = Duration::ZERO;
                for _ in 0..rounds {
                    let target = finished.jobs.load(Ordering::Acquire) + JOBS as u64;
                    enqueue(&ours, &pool).await;
                    let started = Instant::now();
                    finished.reach(target).await;
                    took += started.elapsed();
                }
                took
            }
        });
    });
    group.bench_function("plain table, a row at a time", |bencher| {
        bencher.to_async(&runtime).iter_custom(|rounds| {
            let plain = plain.clone();
            async move {
                let mut took = Duration::ZERO;
                for _ in 0..rounds {
                    plain.enqueue(JOBS).await.unwrap();
                    let started = Instant::now();
                    let mut workers = JoinSet::new();
                    for _ in 0..CONCURRENCY {
                        let plain = plain.clone();
                        workers.spawn(async move { while plain.work_one().await.unwrap() {} });
                    }
                    while workers.join_next().await.is_some() {}
                    took += started.elapsed();
                }
                took
            }
        });
    });
    group.finish();
    runtime.block_on(async {
        worker.drain(Duration::from_secs(10)).await;
        pool.close().await;
        stack.stop().await;
    });
}

criterion_group!(benches, queue);
criterion_main!(benches);
