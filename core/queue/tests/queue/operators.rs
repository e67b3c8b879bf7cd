//! What operators see.

use std::{sync::Arc, time::Duration};

use seaworthy_harness::Env;
use seaworthy_queue::{Capacity, Failure, Flow, JobFilter, JobId, JobState, NewJob, Queue};
use seaworthy_telemetry::metrics::Metrics;
use tokio::sync::Notify;

use crate::database::{self, DEADLINE, enqueue, queue_in, until, worker};

async fn listed(queue: &Queue, filter: JobFilter) -> Vec<(JobId, JobState)> {
    let (mut jobs, mut filter) = (Vec::new(), filter);
    loop {
        let page = queue.jobs(&filter).await.unwrap();
        jobs.extend(page.jobs.into_iter().map(|job| (job.id, job.state)));
        let Some(next) = page.next else { return jobs };
        filter = filter.before(next);
    }
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn jobs_are_listed_by_where_they_are_a_page_at_a_time(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let job = |kind: &str| NewJob::new(kind, &()).unwrap();
    let (started, released) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begun, free) = (started.clone(), released.clone());
    let working = worker(&queue)
        .handle("good", |job| async { Ok(job.done()) })
        .handle("bad", |_| async { Err(Failure::discard("bad")) })
        .handle("slow", move |job| {
            let (begun, free) = (begun.clone(), free.clone());
            async move {
                begun.notify_one();
                free.notified().await;
                Ok(job.done())
            }
        })
        .start();
    let good = enqueue(&queue, &pool, job("good")).await;
    let bad = enqueue(&queue, &pool, job("bad")).await;
    let purged = enqueue(&queue, &pool, job("bad")).await;
    let late = job("good").expires_in(Duration::from_millis(1)).run_in(Duration::from_millis(5));
    let expired = enqueue(&queue, &pool, late).await;
    let running = enqueue(&queue, &pool, job("slow")).await;
    started.notified().await;
    until(&queue, "the ends", |stats| stats.completed == 1 && stats.dead == 2 && stats.expired == 1).await;
    queue.purge(&[purged]).await.unwrap();
    let ready = enqueue(&queue, &pool, job("good").on_queue("nobody")).await;
    let scheduled = enqueue(&queue, &pool, job("good").run_in(DEADLINE * 100)).await;
    let cancelled = enqueue(&queue, &pool, job("good").on_queue("nobody")).await;
    queue.cancel(cancelled).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    let chain = Flow::chain([job("good").on_queue("nobody"), job("good")]);
    let chain = queue.enqueue_flow(&mut tx, &chain).await.unwrap();
    tx.commit().await.unwrap();

    let mut all = vec![
        (good, JobState::Completed),
        (bad, JobState::Dead),
        (purged, JobState::Purged),
        (expired, JobState::Expired),
        (running, JobState::Running),
        (ready, JobState::Ready),
        (scheduled, JobState::Scheduled),
        (cancelled, JobState::Cancelled),
        (chain[0], JobState::Ready),
        (chain[1], JobState::Blocked),
    ];
    all.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    assert_eq!(listed(&queue, JobFilter::new()).await, all);
    assert_eq!(listed(&queue, JobFilter::new().limit(3)).await, all, "in pages");
    for state in JobState::ALL {
        let expected: Vec<_> = all.iter().copied().filter(|(_, other)| *other == state).collect();
        assert_eq!(listed(&queue, JobFilter::new().state(state)).await, expected, "{state:?}");
        assert_eq!(
            listed(&queue, JobFilter::new().state(state).limit(1)).await,
            expected,
            "{state:?}, in pages"
        );
    }
    assert_eq!(
        listed(&queue, JobFilter::new().kind("bad")).await,
        [(purged, JobState::Purged), (bad, JobState::Dead)]
    );
    let nobodys = JobFilter::new().queue("nobody").state(JobState::Ready);
    assert_eq!(listed(&queue, nobodys).await, [(chain[0], JobState::Ready), (ready, JobState::Ready)]);
    assert!(listed(&queue, JobFilter::new().kind("unheard of")).await.is_empty());

    queue.pause("nobody").await.unwrap();
    let queues = queue.queues().await.unwrap();
    let told: Vec<_> = queues
        .iter()
        .map(|one| {
            (one.name.as_str(), one.paused_since.is_some(), one.ready, one.scheduled, one.dead, one.workers)
        })
        .collect();
    assert_eq!(told, [("default", false, 0, 1, 1, 1), ("nobody", true, 2, 0, 0, 0)]);
    assert!(queues[0].oldest.is_none() && queues[1].oldest.is_some());
    let workers = queue.workers().await.unwrap();
    assert_eq!((workers.len(), workers[0].jobs, workers[0].concurrency), (1, 1, Some(16)));
    assert_eq!(
        (workers[0].pid, workers[0].queues.as_slice()),
        (Some(std::process::id()), ["default".to_owned()].as_slice())
    );
    assert!(workers[0].host.is_some() && !workers[0].is_lost);
    assert_eq!(queue.job(running).await.unwrap().unwrap().worker, Some(workers[0].id));
    released.notify_one();
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_job_tells_its_whole_story(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let working = worker(&queue)
        .handle("work", |job| async move {
            if job.attempt() < 3 {
                return Err(Failure::retry(format!("no luck with {}", job.attempt())));
            }
            job.progress(9, 10, "nearly").await?;
            Ok(job.done_with(&"a result")?)
        })
        .handle("fails", |_| async { Err(Failure::retry("never")) })
        .start();
    let mut tx = pool.begin().await.unwrap();
    let next = NewJob::new("next", &()).unwrap().on_queue("nobody");
    let flow = Flow::chain([NewJob::new("work", &["some", "args"]).unwrap().priority(7), next]);
    let ids = queue.enqueue_flow(&mut tx, &flow).await.unwrap();
    tx.commit().await.unwrap();
    let before = queue.job(ids[1]).await.unwrap().unwrap();
    assert!(
        before.parents == [ids[0]] && before.job.state == JobState::Blocked
            || before.job.state == JobState::Ready
    );
    let dead = enqueue(&queue, &pool, NewJob::new("fails", &()).unwrap().max_attempts(2)).await;
    until(&queue, "the ends", |stats| stats.completed == 1 && stats.dead == 1).await;

    let story = queue.job(ids[0]).await.unwrap().unwrap();
    let attempts: Vec<_> =
        story.attempts.iter().map(|one| (one.outcome.as_str(), one.why.as_deref())).collect();
    let expected =
        [("retried", Some("no luck with 1")), ("retried", Some("no luck with 2")), ("completed", None)];
    assert_eq!(attempts, expected);
    assert!(story.attempts.iter().all(|one| one.ran.is_some_and(|ran| ran < DEADLINE)));
    assert!(story.attempts.is_sorted_by_key(|one| one.at));
    assert_eq!((story.job.state, story.job.priority, story.version), (JobState::Completed, 7, 1));
    assert_eq!(
        (story.args, story.result),
        (serde_json::json!(["some", "args"]), Some(serde_json::json!("a result")))
    );
    assert_eq!(story.progress.map(|progress| progress.done), Some(9));
    assert!(story.children.is_empty(), "nobody waits for it any more");

    let story = queue.job(dead).await.unwrap().unwrap();
    let outcomes: Vec<&str> = story.attempts.iter().map(|one| one.outcome.as_str()).collect();
    assert_eq!((outcomes.as_slice(), story.job.state), (["retried", "dead"].as_slice(), JobState::Dead));
    assert_eq!((story.error.as_deref(), story.job.attempt), (Some("never"), Some(2)));
    let again = queue.replay(&[dead]).await.unwrap()[0].1;
    until(&queue, "the end", |stats| {
        stats.dead == 1 && stats.scheduled + stats.leased == 0 && stats.ready == 1
    })
    .await;
    assert_eq!(queue.job(again).await.unwrap().unwrap().replay_of, Some(dead));
    assert_eq!(queue.job(dead).await.unwrap().unwrap().job.state, JobState::Purged);
    assert_eq!(queue.job(JobId(4_711)).await.unwrap(), None);
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn analytics_say_what_happened_by_queue_and_kind(env: Env) {
    const JOBS: usize = 600;
    let (queue, pool) = queue_in(&env).await;
    let working = worker(&queue)
        .handle("quick", |job| async { Ok(job.done()) })
        .handle("slow", |job| async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            Ok(job.done())
        })
        .handle("flaky", |job| async move {
            if job.attempt() == 1 { Err(Failure::retry("no")) } else { Ok(job.done()) }
        })
        .handle("bad", |_| async { Err(Failure::discard("bad")) })
        .start();
    let mut jobs: Vec<NewJob> = (0..JOBS).map(|number| NewJob::new("quick", &number).unwrap()).collect();
    jobs.extend(["slow", "slow", "flaky", "bad"].map(|kind| NewJob::new(kind, &()).unwrap()));
    let mut tx = pool.begin().await.unwrap();
    queue.enqueue_many(&mut tx, &jobs).await.unwrap();
    tx.commit().await.unwrap();
    until(&queue, "the ends", |stats| stats.completed == JOBS as i64 + 3 && stats.dead == 1).await;
    assert!(working.drain(DEADLINE).await);
    let hour = Duration::from_secs(3600);
    let seen = queue.analytics(hour).await.unwrap();
    assert_eq!(seen.sampled, 1.0);
    let of = |kind: &str| seen.kinds.iter().find(|one| one.kind == kind).unwrap();
    assert_eq!((seen.kinds[0].kind.as_str(), of("quick").completed), ("quick", JOBS as u64));
    assert_eq!((of("flaky").retried, of("flaky").completed, of("flaky").failure_rate()), (1, 1, 0.5));
    assert_eq!((of("bad").dead, of("bad").wait), (1, None));
    let slow = of("slow").run.unwrap();
    assert!(
        slow.p50 >= Duration::from_millis(60) && slow.p50 <= slow.p99 && slow.p99 <= slow.max,
        "{slow:?}"
    );
    assert!(of("quick").run.unwrap().p50 < slow.p50);
    assert!((of("quick").per_second - JOBS as f64 / 3600.0).abs() < 1e-6);
    assert!(queue.analytics(Duration::ZERO).await.unwrap().kinds.is_empty());
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_long_history_is_sampled(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    sqlx::query(
        "with job as (
            insert into seaworthy_queue.job (queue, kind, args, priority, max_attempts)
            select 'default', case when number % 4 = 0 then 'rare' else 'common' end, '1', 0, 1 from generate_series(1, 200000) number returning id
        )
        insert into seaworthy_queue.done_batch (token, part, outcome, job_ids) select gen_random_uuid(), 0, 'completed', array_agg(id) from job group by id / 100",
    )
    .execute(&pool)
    .await
    .unwrap();
    let seen = queue.analytics(Duration::from_secs(3600)).await.unwrap();
    assert!((0.45..0.55).contains(&seen.sampled), "{}", seen.sampled);
    let counts: Vec<_> = seen.kinds.iter().map(|one| (one.kind.as_str(), one.completed as f64)).collect();
    for ((kind, count), (expected, whole)) in
        counts.into_iter().zip([("common", 150_000.0), ("rare", 50_000.0)])
    {
        // Some 1,000 of 2,000 records: 2% is the deviation, and this is far outside of chance.
        assert!(kind == expected && (count / whole - 1.0).abs() < 0.2, "{kind}: {count}");
    }
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_queue_says_how_many_workers_it_could_use(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let metrics = Metrics::new("shop", "1");
    let queue = queue.metrics(metrics.clone());
    let capacity = Capacity::of(10).within(Duration::from_secs(10)).workers(0, 8);
    assert_eq!(queue.demand("default", capacity).await.unwrap().workers, 0);
    sqlx::query(
        "with job as (
            insert into seaworthy_queue.job (queue, kind, args, priority, max_attempts) select 'default', 'work', '1', 0, 1 from generate_series(1, 60) returning id
        )
        insert into seaworthy_queue.done_batch (token, part, outcome, job_ids, ran)
        select gen_random_uuid(), 0, 'completed', array_agg(id), array_agg(2::real) from job",
    )
    .execute(&pool)
    .await
    .unwrap();
    let demand = queue.demand("default", capacity).await.unwrap();
    assert_eq!((demand.workers, demand.ready, demand.run), (1, 0, Duration::from_secs(2)));
    assert!((demand.per_second - 1.0).abs() < 1e-6, "60 in a minute");
    let mut tx = pool.begin().await.unwrap();
    let jobs: Vec<NewJob> = (0..100).map(|number| NewJob::new("work", &number).unwrap()).collect();
    queue.enqueue_many(&mut tx, &jobs).await.unwrap();
    tx.commit().await.unwrap();
    // 2 handlers keep up, and 20 more take a hundred jobs of 2 s away within 10 s.
    assert_eq!(queue.demand("default", capacity).await.unwrap().workers, 3);
    let page = metrics.to_prometheus();
    assert!(page.contains(r#"queue_workers_wanted{queue="default"} 3"#), "{page}");
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn what_failed_lately_is_told_with_its_error_the_newest_first(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let working = worker(&queue)
        .handle("good", |job| async { Ok(job.done()) })
        .handle("bad", |job| async move { Err(Failure::retry(format!("no luck with {}", job.attempt()))) })
        .start();
    enqueue(&queue, &pool, NewJob::new("good", &()).unwrap()).await;
    let long = vec!["å"; 200];
    let bad = enqueue(&queue, &pool, NewJob::new("bad", &long).unwrap().max_attempts(2)).await;
    until(&queue, "the ends", |stats| stats.completed == 1 && stats.dead == 1).await;
    assert!(working.drain(DEADLINE).await);

    let failures = queue.failures(10).await.unwrap();
    let told: Vec<_> =
        failures.iter().map(|one| (one.job, one.outcome.as_str(), one.why.as_deref())).collect();
    assert_eq!(told, [(bad, "dead", Some("no luck with 2")), (bad, "retried", Some("no luck with 1"))]);
    assert_eq!((failures[0].queue.as_str(), failures[0].kind.as_str()), ("default", "bad"));
    assert!(failures[0].at >= failures[1].at);
    assert_eq!(queue.failures(1).await.unwrap(), failures[..1]);

    for filter in [JobFilter::new().state(JobState::Dead), JobFilter::new().kind("bad")] {
        let listed = queue.jobs(&filter).await.unwrap().jobs;
        let (at, why) = listed[0].given_up.clone().unwrap();
        assert!(why == "no luck with 2" && at >= failures[1].at, "{filter:?}: {why}");
        assert_eq!(listed[0].args_start.chars().count(), 200);
        assert!(serde_json::to_string(&long).unwrap().starts_with(&listed[0].args_start));
    }
    let good = queue.jobs(&JobFilter::new().kind("good")).await.unwrap().jobs;
    assert_eq!((good[0].args_start.as_str(), &good[0].given_up), ("null", &None));
}
