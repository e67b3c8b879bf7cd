//! Jobs that are enqueued again and again, whoever dies.

use std::time::{Duration, Instant, SystemTime};

use seaworthy_harness::Env;
use seaworthy_queue::{Cron, Missed, NewJob, Queue, Schedule, Stats, Unique};
use sqlx::PgPool;

use crate::database::{self, DEADLINE, queue_in, until, worker};

fn cron(expression: &str) -> Cron {
    expression.parse().unwrap()
}

fn schedule(name: &str, expression: &str) -> Schedule {
    Schedule::new(name, cron(expression), NewJob::new("tick", &name).unwrap())
}

/// Makes the next occurrence the one that was due so long ago.
async fn due_since(pool: &PgPool, name: &str, ago: &str) {
    sqlx::query(
        "update seaworthy_queue.schedule set next_at = date_trunc('minute', clock_timestamp() - $2::text::interval) where name = $1",
    )
    .bind(name)
    .bind(ago)
    .execute(pool)
    .await
    .unwrap();
}

async fn occurrences(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from seaworthy_queue.occurrence").fetch_one(pool).await.unwrap()
}

/// Waits until no schedule is due.
async fn until_nothing_is_due(pool: &PgPool) {
    let give_up = Instant::now() + DEADLINE;
    loop {
        let due: bool = sqlx::query_scalar(
            "select exists (select from seaworthy_queue.schedule where next_at <= clock_timestamp() and paused_at is null)",
        )
        .fetch_one(pool)
        .await
        .unwrap();
        if !due {
            return;
        }
        assert!(Instant::now() < give_up, "a schedule that is due stays so");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn schedules_are_kept_listed_paused_and_removed(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let zoned = cron("30 2 * * *").in_zone("europe/stockholm").unwrap();
    let report = NewJob::new("report", &1).unwrap().on_queue("reports");
    queue
        .schedule(&Schedule::new("report", zoned.clone(), report).missed(Missed::All { most: 7 }))
        .await
        .unwrap();
    queue.schedule(&schedule("tick", "@hourly")).await.unwrap();
    let listed = queue.schedules().await.unwrap();
    assert_eq!(listed.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["report", "tick"]);
    let report = &listed[0];
    assert_eq!((report.expression.as_str(), report.zone.as_str()), ("30 2 * * *", "Europe/Stockholm"));
    assert_eq!(
        (report.queue.as_str(), report.kind.as_str(), report.missed),
        ("reports", "report", Missed::All { most: 7 })
    );
    assert_eq!((report.next.len(), &report.last, report.paused_since), (5, &None, None));
    assert!(report.next[0] > SystemTime::now() - Duration::from_secs(60));
    assert_eq!(
        report.next,
        zoned.upcoming(report.next[0] - Duration::from_secs(1)).take(5).collect::<Vec<_>>()
    );

    assert!(queue.pause_schedule("tick").await.unwrap());
    assert!(!queue.pause_schedule("tick").await.unwrap(), "it is paused already");
    due_since(&pool, "tick", "3 hours").await;
    let paused = &queue.schedules().await.unwrap()[1];
    assert!(paused.paused_since.is_some() && paused.next.is_empty());
    assert!(queue.resume_schedule("tick").await.unwrap());
    assert!(!queue.resume_schedule("tick").await.unwrap());
    let next = queue.schedules().await.unwrap()[1].next[0];
    assert!(next > SystemTime::now() - Duration::from_secs(5), "what it was paused for is not missed");

    assert!(queue.unschedule("tick").await.unwrap());
    assert!(!queue.unschedule("tick").await.unwrap());
    assert_eq!(queue.schedules().await.unwrap().len(), 1);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn who_schedules_again_moves_nothing_on_unless_the_times_change(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    queue.schedule(&schedule("tick", "@daily")).await.unwrap();
    due_since(&pool, "tick", "2 hours").await;
    let due = queue.schedules().await.unwrap()[0].next[0];
    let changed = schedule("tick", "@daily").missed(Missed::Skip);
    queue.schedule(&changed).await.unwrap();
    let kept = &queue.schedules().await.unwrap()[0];
    assert_eq!((kept.next[0], kept.missed), (due, Missed::Skip), "a deploy misses nothing");
    queue.schedule(&schedule("tick", "@hourly")).await.unwrap();
    assert!(queue.schedules().await.unwrap()[0].next[0] > due);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 48)]
async fn each_occurrence_is_one_job_however_many_workers_there_are(env: Env) {
    const SCHEDULES: usize = 12;
    let (queue, pool) = queue_in(&env).await;
    for number in 0..SCHEDULES {
        let name = format!("tick {number}");
        queue.schedule(&schedule(&name, "* * * * *").missed(Missed::All { most: 10 })).await.unwrap();
        due_since(&pool, &name, "9 minutes").await;
    }
    let ticking = || {
        // Short terms, so that leaders come and go.
        let quick = worker(&queue).heartbeat(Duration::from_millis(10), DEADLINE);
        quick.handle("tick", |job| async move {
            let (schedule, due) = job.occurrence().await?.expect("it is an occurrence");
            assert_eq!(schedule, job.args::<String>()?);
            assert!(due < SystemTime::now() + Duration::from_secs(5));
            Ok(job.done())
        })
    };
    let workers: Vec<_> = (0..3).map(|_| ticking().start()).collect();
    // Leaders are killed while they enqueue, and others go on.
    for (killed, running) in (0..).zip(workers) {
        let give_up = Instant::now() + DEADLINE;
        while occurrences(&pool).await < (killed + 1) * 2 && Instant::now() < give_up {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(running);
    }
    let last = ticking().start();
    until_nothing_is_due(&pool).await;
    let doubled: i64 = sqlx::query_scalar(
        "select count(*) from (select job from seaworthy_queue.occurrence group by job having count(*) > 1) doubled",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(doubled, 0);
    let (kept, jobs): (i64, i64) = sqlx::query_as(
        "select (select count(*) from seaworthy_queue.occurrence), (select count(*) from seaworthy_queue.job)",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(kept, jobs, "there is no job without its occurrence");
    // Nine or ten minutes passed, according to the second in which the test began.
    let per_schedule: Vec<i64> =
        sqlx::query_scalar("select count(*) from seaworthy_queue.occurrence group by schedule")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(per_schedule.len(), SCHEDULES);
    assert!(per_schedule.iter().all(|count| (10..=12).contains(count)), "{per_schedule:?}");
    assert!(last.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn what_was_missed_is_left_out_or_runs_as_the_schedule_says(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    for (name, missed) in [("skip", Missed::Skip), ("once", Missed::Once), ("all", Missed::All { most: 3 })] {
        // Every hour at a minute that is not about to come.
        let minute: f64 = sqlx::query_scalar(
            "select mod(extract(minute from clock_timestamp() + interval '30 minutes')::int, 60)::float8",
        )
        .fetch_one(&pool)
        .await
        .unwrap();
        queue.schedule(&schedule(name, &format!("{minute} * * * *")).missed(missed)).await.unwrap();
        sqlx::query(
            "update seaworthy_queue.schedule set next_at = next_at - interval '1 day' where name = $1",
        )
        .bind(name)
        .execute(&pool)
        .await
        .unwrap();
    }
    let working = worker(&queue).handle("tick", |job| async { Ok(job.done()) }).start();
    until_nothing_is_due(&pool).await;
    until(&queue, "completion", |stats| stats.completed == 4).await;
    let counts: Vec<(String, i64)> = sqlx::query_as(
        "select schedule, count(*) from seaworthy_queue.occurrence group by schedule order by schedule",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(counts, [("all".to_owned(), 3), ("once".to_owned(), 1)]);
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_unique_job_does_not_overlap_itself(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let job = NewJob::new("slow", &()).unwrap().on_queue("nobody").unique(Unique::while_unfinished("slow"));
    queue
        .schedule(&Schedule::new("slow", cron("* * * * *"), job).missed(Missed::All { most: 100 }))
        .await
        .unwrap();
    due_since(&pool, "slow", "5 minutes").await;
    let working = worker(&queue).start();
    until_nothing_is_due(&pool).await;
    assert_eq!(queue.stats().await.unwrap(), Stats { ready: 1, ..Stats::default() });
    assert!(occurrences(&pool).await >= 5, "each of them is that job");
    assert!(working.drain(DEADLINE).await);
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_schedule_that_this_worker_can_not_read_keeps_no_other_from_running(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    for name in ["newer", "tick"] {
        queue.schedule(&schedule(name, "@daily").missed(Missed::Once)).await.unwrap();
        due_since(&pool, name, if name == "newer" { "2 hours" } else { "1 hour" }).await;
    }
    sqlx::query("update seaworthy_queue.schedule set zone = 'Mars/Olympus' where name = 'newer'")
        .execute(&pool)
        .await
        .unwrap();
    let working = worker(&queue).handle("tick", |job| async { Ok(job.done()) }).start();
    until(&queue, "completion", |stats| stats.completed == 1).await;
    let listed = queue.schedules().await.unwrap();
    assert_eq!((listed[0].next.len(), listed[1].next.len()), (1, 5));
    assert!(listed[1].last.is_some());
    assert!(working.drain(DEADLINE).await);
}

/// A process that was frozen for long wakes up in the belief that it leads.
#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn a_leader_whose_term_is_over_changes_nothing(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    queue.schedule(&schedule("tick", "@daily").missed(Missed::Once)).await.unwrap();
    // It looks for schedules all the time, and asks who leads once in a minute.
    let frozen =
        worker(&queue).heartbeat(DEADLINE * 3, DEADLINE * 9).handle("tick", |job| async { Ok(job.done()) });
    let frozen = frozen.start();
    let give_up = Instant::now() + DEADLINE;
    while !frozen.is_leader() {
        assert!(Instant::now() < give_up, "nobody leads");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    take_over(&pool).await;
    due_since(&pool, "tick", "1 hour").await;
    // It is alive, and it does what every worker does.
    let soon = NewJob::new("tick", &"soon").unwrap().run_in(Duration::from_millis(50));
    queue.push(&soon).await.unwrap();
    until(&queue, "completion", |stats| stats.completed == 1).await;
    assert_eq!(occurrences(&pool).await, 0);
    // Somebody else does it, once that one's term is over too.
    give_up_lead(&pool).await;
    let next = worker(&queue).handle("tick", |job| async { Ok(job.done()) }).start();
    until(&queue, "completion", |stats| stats.completed == 2).await;
    assert_eq!(occurrences(&pool).await, 1);
    assert!(next.drain(DEADLINE).await && frozen.drain(DEADLINE).await);
}

async fn take_over(pool: &PgPool) {
    sqlx::query("update seaworthy_queue.leader set epoch = epoch + 1, worker = gen_random_uuid(), until = clock_timestamp() + interval '1 hour'")
        .execute(pool)
        .await
        .unwrap();
}

async fn give_up_lead(pool: &PgPool) {
    sqlx::query("update seaworthy_queue.leader set until = clock_timestamp()").execute(pool).await.unwrap();
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn another_worker_leads_soon_after_the_leader_died_or_signed_off(env: Env) {
    let (queue, _) = queue_in(&env).await;
    let start = |queue: &Queue| {
        worker(queue).heartbeat(Duration::from_millis(50), Duration::from_millis(500)).start()
    };
    let mut workers = vec![start(&queue), start(&queue), start(&queue)];
    for is_killed in [true, false] {
        let give_up = Instant::now() + DEADLINE;
        let leader = loop {
            if let Some(at) = workers.iter().position(|one| one.is_leader()) {
                break at;
            }
            assert!(Instant::now() < give_up, "nobody leads");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let leads = queue.workers().await.unwrap().iter().filter(|one| one.is_leader).count();
        assert_eq!(leads, 1, "one of them leads");
        let leader = workers.swap_remove(leader);
        if is_killed {
            drop(leader);
        } else {
            assert!(leader.drain(DEADLINE).await);
        }
    }
    let give_up = Instant::now() + DEADLINE;
    while !workers[0].is_leader() {
        assert!(Instant::now() < give_up, "the last one does not lead");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[seaworthy_harness::test(schema = database::schema(), connections = 24)]
async fn the_jobs_of_a_leader_that_died_are_rescued_without_an_election(env: Env) {
    let (queue, pool) = queue_in(&env).await;
    let leads = worker(&queue).heartbeat(Duration::from_millis(50), Duration::from_millis(500));
    let leader = leads.clone().handle("work", |_| std::future::pending()).start();
    let give_up = Instant::now() + DEADLINE;
    while !leader.is_leader() {
        assert!(Instant::now() < give_up, "nobody leads");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    queue.push(&NewJob::new("work", &()).unwrap()).await.unwrap();
    until(&queue, "a claim", |stats| stats.leased == 1).await;
    // Somebody who does not go on with it seems to lead for a long time.
    drop(leader);
    take_over(&pool).await;
    let other = leads.handle("work", |job| async { Ok(job.done()) }).start();
    let stats = until(&queue, "completion", |stats| stats.completed == 1).await;
    assert_eq!(stats.rescued, 1);
    assert!(!other.is_leader());
    assert!(other.drain(DEADLINE).await);
}
