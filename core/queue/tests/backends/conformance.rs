//! The suite: each case is one line here, and runs on every back end.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use seaworthy_harness::Env;
use seaworthy_queue::{
    Backoff, Cancelled, Error, Failure, Flow, JobId, NewJob, Progress, Stats, Unique, Worker,
    backend::{Completed, Ending},
};

use crate::{
    hand::{Hand, LEASE},
    world::{DEADLINE, World, schema},
};

macro_rules! on_every_back_end {
    ($($case:ident,)*) => {
        mod on_postgres {
            use super::*;
            $(#[seaworthy_harness::test(schema = schema(), connections = 16)]
            async fn $case(env: Env) { super::$case(World::postgres(&env).await).await })*
        }
        #[cfg(feature = "redis")]
        mod on_redis {
            use super::*;
            $(#[seaworthy_harness::test]
            async fn $case(env: Env) { super::$case(World::redis(&env).await).await })*
        }
        mod in_memory {
            use super::*;
            $(#[tokio::test]
            async fn $case() { super::$case(World::memory()).await })*
        }
        mod in_a_file {
            use super::*;
            $(#[tokio::test]
            async fn $case() { super::$case(World::file()).await })*
        }
    };
}

on_every_back_end! {
    a_job_goes_from_the_queue_to_its_completion_as_it_was_enqueued,
    urgent_jobs_come_first_and_the_older_of_equal_ones,
    a_flood_of_urgent_jobs_does_not_keep_the_others_waiting_for_ever,
    a_job_can_be_claimed_when_its_time_has_come_and_not_before,
    a_job_that_is_not_begun_in_time_expires,
    a_failed_job_waits_as_long_as_it_was_told_and_is_tried_again,
    a_job_that_is_returned_comes_later_and_the_attempt_does_not_count,
    retries_wait_exponentially_longer_and_end_in_the_dead_letters,
    a_dead_letter_is_replayed_once_and_what_waited_for_it_goes_on,
    what_is_purged_is_gone_with_what_waited_for_it,
    a_unique_job_is_there_once_until_it_is_over_however_it_ends,
    a_unique_job_is_there_once_in_each_period,
    of_many_producers_at_once_one_enqueues_a_unique_job,
    a_job_that_no_worker_has_is_cancelled_at_once_with_what_waits_for_it,
    a_running_job_is_asked_to_stop_and_does_not_run_again,
    parents_that_end_at_the_same_time_release_each_child_once,
    a_child_waits_for_its_parents_and_then_for_its_own_time,
    the_jobs_of_a_worker_that_died_come_back_and_the_attempt_counts,
    a_worker_that_beats_is_not_taken_for_dead_and_one_that_was_claims_nothing,
    a_zombie_changes_nothing_not_even_a_counter,
    a_claim_whose_answer_got_lost_is_released_and_the_attempt_does_not_count,
    what_is_recorded_twice_is_recorded_once,
    what_was_not_begun_goes_back_as_it_was,
    a_lease_that_is_closed_returns_what_was_not_settled,
    a_paused_queue_gives_nothing_until_it_is_resumed,
    results_and_progress_are_there_for_whoever_asks,
    who_listens_hears_of_work,
    the_backlog_says_how_many_jobs_wait_and_since_when,
    a_worker_runs_what_is_pushed_and_stops_what_is_cancelled,
    twenty_thousand_jobs_run_once_each_on_several_workers,
}

fn job(name: impl serde::Serialize) -> NewJob {
    NewJob::new("work", &name).unwrap()
}

const HOUR: Duration = Duration::from_secs(3_600);

async fn a_job_goes_from_the_queue_to_its_completion_as_it_was_enqueued(world: World) {
    let args =
        serde_json::json!({"text": "é\n\"\\ ☃", "list": [1, 2.5, null], "big": 9_007_199_254_740_993_i64});
    let id = world.queue.push(&job(&args).max_attempts(7).expires_in(HOUR)).await.unwrap();
    assert_eq!(world.stats().await, Stats { ready: 1, ..Stats::default() });
    let hand = Hand::new(world.backend()).await;
    assert!(hand.try_claim(world.backend(), "other", 1).await.unwrap().is_empty(), "another queue");
    let claimed = hand.claim_one(world.backend()).await;
    assert_eq!((claimed.id, claimed.kind.as_str(), &*claimed.queue), (id, "work", "default"));
    assert_eq!((claimed.attempt, claimed.max_attempts, claimed.is_expired, claimed.place), (1, 7, false, 0));
    assert_eq!(claimed.args, args.to_string());
    assert!(claimed.trace.is_none() && claimed.age < DEADLINE, "{claimed:?}");
    assert_eq!(world.stats().await, Stats { leased: 1, ..Stats::default() });
    assert!(hand.claim(world.backend(), 4).await.is_empty(), "it is taken");
    assert!(hand.complete(world.backend(), &claimed).await);
    assert_eq!(world.stats().await, Stats { completed: 1, ..Stats::default() });
    let many = world.queue.push_many(&[job(1), job(2), job(3)]).await.unwrap();
    assert!(id < many[0] && many.is_sorted(), "numbers grow: {many:?}");
    assert!(world.queue.push_many(&[]).await.unwrap().is_empty());
}

async fn urgent_jobs_come_first_and_the_older_of_equal_ones(world: World) {
    let priorities = [5, -1, 3, 0, -1, 0];
    let jobs: Vec<NewJob> = priorities.iter().map(|priority| job(priority).priority(*priority)).collect();
    let ids = world.queue.push_many(&jobs).await.unwrap();
    let hand = Hand::new(world.backend()).await;
    let mut order = Vec::new();
    for limit in [1, 2, 4] {
        order.extend(hand.claim(world.backend(), limit).await.iter().map(|job| job.id));
    }
    assert_eq!(order, [1, 4, 3, 5, 2, 0].map(|place| ids[place]));
}

async fn a_flood_of_urgent_jobs_does_not_keep_the_others_waiting_for_ever(world: World) {
    let low = world.queue.push(&job("low").priority(1)).await.unwrap();
    world.pass(Duration::from_secs(150)).await;
    let normal = world.queue.push(&job("normal")).await.unwrap();
    let urgent = world.queue.push(&job("urgent").priority(-1)).await.unwrap();
    let hand = Hand::new(world.backend()).await;
    let order: Vec<JobId> = hand.claim(world.backend(), 4).await.iter().map(|job| job.id).collect();
    assert_eq!(order, [low, urgent, normal]);
}

async fn a_job_can_be_claimed_when_its_time_has_come_and_not_before(world: World) {
    let later = world.queue.push(&job("later").run_in(HOUR)).await.unwrap();
    let past = world.queue.push(&job("past").run_at(SystemTime::now() - HOUR)).await.unwrap();
    world.queue.push(&job("far").run_in(Duration::MAX)).await.unwrap();
    let hand = Hand::new(world.backend()).await;
    assert_eq!(hand.claim_one(world.backend()).await.id, past);
    assert_eq!(world.queue.promote_due().await.unwrap(), 0);
    world.pass(HOUR / 2).await;
    assert_eq!(world.queue.promote_due().await.unwrap(), 0);
    assert_eq!(world.stats().await.scheduled, 2);
    world.pass(HOUR / 2).await;
    assert_eq!(world.queue.promote_due().await.unwrap(), 1);
    assert_eq!(hand.claim_one(world.backend()).await.id, later);
    assert_eq!(world.stats().await.scheduled, 1);
}

async fn a_job_that_is_not_begun_in_time_expires(world: World) {
    world.queue.push(&job("late").expires_in(HOUR)).await.unwrap();
    world.pass(2 * HOUR).await;
    let hand = Hand::new(world.backend()).await;
    let late = hand.claim_one(world.backend()).await;
    assert!(late.is_expired && late.age >= 2 * HOUR, "{late:?}");
    assert!(hand.end(world.backend(), &late, Ending::Expired).await);
    assert_eq!(world.stats().await, Stats { expired: 1, ..Stats::default() });
}

async fn a_failed_job_waits_as_long_as_it_was_told_and_is_tried_again(world: World) {
    let id = world.queue.push(&job(())).await.unwrap();
    let hand = Hand::new(world.backend()).await;
    for attempt in 1..=3_i16 {
        let claimed = hand.claim_one(world.backend()).await;
        assert_eq!((claimed.id, claimed.attempt), (id, attempt));
        assert!(hand.end(world.backend(), &claimed, Ending::RetryIn(HOUR)).await);
        assert_eq!(world.stats().await, Stats { scheduled: 1, ..Stats::default() });
        world.pass(HOUR - Duration::from_secs(60)).await;
        assert_eq!(world.queue.promote_due().await.unwrap(), 0, "not yet");
        world.pass(Duration::from_secs(60)).await;
        assert_eq!(world.queue.promote_due().await.unwrap(), 1);
    }
}

async fn a_job_that_is_returned_comes_later_and_the_attempt_does_not_count(world: World) {
    world.queue.push(&job(())).await.unwrap();
    let hand = Hand::new(world.backend()).await;
    let claimed = hand.claim_one(world.backend()).await;
    assert!(hand.end(world.backend(), &claimed, Ending::ReturnIn(HOUR)).await);
    assert_eq!(world.queue.promote_due().await.unwrap(), 0);
    world.pass(HOUR).await;
    assert_eq!(world.queue.promote_due().await.unwrap(), 1);
    assert_eq!(hand.claim_one(world.backend()).await.attempt, 1);
}

async fn retries_wait_exponentially_longer_and_end_in_the_dead_letters(world: World) {
    // Between half of and the whole of 1000 and then 2000 seconds.
    let ran = Arc::new(tokio::sync::Notify::new());
    let running = ran.clone();
    let backoff = Backoff::exponential(Duration::from_secs(1_000), HOUR * 24);
    let working = Worker::new(world.queue.clone())
        .poll(Duration::from_millis(2))
        .heartbeat(Duration::from_millis(20), HOUR * 240)
        .backoff(backoff)
        .handle("work", move |_| {
            running.notify_one();
            async { Err(Failure::retry("no luck")) }
        })
        .start();
    world.queue.push(&job(()).max_attempts(3)).await.unwrap();
    for attempt in 1..3_u32 {
        tokio::time::timeout(DEADLINE, ran.notified()).await.unwrap();
        world.until("a retry", |stats| stats.scheduled == 1).await;
        let whole = Duration::from_secs(500 << attempt);
        world.pass(whole / 2 - Duration::from_secs(60)).await;
        assert_eq!(world.queue.promote_due().await.unwrap(), 0, "too early after attempt {attempt}");
        assert_eq!(world.stats().await.scheduled, 1);
        world.pass(whole / 2 + Duration::from_secs(60)).await;
    }
    world.until("a dead letter", |stats| stats.dead == 1).await;
    assert!(working.drain(DEADLINE).await);
    let letters = world.queue.dead_letters_of("work", 10).await.unwrap();
    assert_eq!((letters.len(), letters[0].attempts, letters[0].error.as_str()), (1, 3, "no luck"));
}

async fn a_dead_letter_is_replayed_once_and_what_waited_for_it_goes_on(world: World) {
    let chain = world.queue.push_flow(&Flow::chain([job("bad"), job("next")])).await.unwrap();
    let hand = Hand::new(world.backend()).await;
    let bad = hand.claim_one(world.backend()).await;
    assert!(hand.end(world.backend(), &bad, Ending::Dead).await);
    assert_eq!(world.stats().await, Stats { dead: 1, blocked: 1, ..Stats::default() });
    let letters = world.queue.dead_letters(10).await.unwrap();
    assert_eq!(
        (letters[0].id, letters[0].error.as_str(), &letters[0].args),
        (chain[0], "Dead", &"bad".into())
    );
    assert!(world.queue.dead_letters_of("other", 10).await.unwrap().is_empty());
    let replayed = world.queue.replay(&[JobId(4_711), chain[0], chain[1]]).await.unwrap();
    assert_eq!((replayed.len(), replayed[0].0), (1, chain[0]));
    assert!(replayed[0].1 > chain[1], "a new number");
    assert!(world.queue.replay(&chain).await.unwrap().is_empty(), "once");
    let again = hand.claim_one(world.backend()).await;
    assert_eq!((again.id, again.attempt, again.args.as_str()), (replayed[0].1, 1, "\"bad\""));
    assert!(hand.complete(world.backend(), &again).await);
    let next = hand.claim_one(world.backend()).await;
    assert_eq!(next.id, chain[1]);
    assert!(hand.complete(world.backend(), &next).await);
    assert_eq!(world.stats().await, Stats { completed: 2, ..Stats::default() });
}

async fn what_is_purged_is_gone_with_what_waited_for_it(world: World) {
    let chain = world.queue.push_flow(&Flow::chain([job(1), job(2), job(3)])).await.unwrap();
    let hand = Hand::new(world.backend()).await;
    let first = hand.claim_one(world.backend()).await;
    assert!(hand.end(world.backend(), &first, Ending::Dead).await);
    assert_eq!(world.queue.purge(&chain).await.unwrap(), 1);
    assert_eq!(world.queue.purge(&chain).await.unwrap(), 0);
    assert_eq!(world.stats().await, Stats { cancelled: 2, ..Stats::default() });
    assert!(world.queue.replay(&chain).await.unwrap().is_empty());
}

async fn a_unique_job_is_there_once_until_it_is_over_however_it_ends(world: World) {
    let unique = || job(()).max_attempts(1).unique(Unique::while_unfinished("march"));
    let other_kind = NewJob::new("mail", &()).unwrap().unique(Unique::while_unfinished("march"));
    assert!(world.queue.push_or_find(&other_kind.on_queue("other")).await.unwrap().is_new);
    let hand = Hand::new(world.backend()).await;
    for how in
        ["completed", "dead", "cancelled", "expired", "cancelled while queued", "rescued for the last time"]
    {
        let first = world.queue.push_or_find(&unique()).await.unwrap();
        assert!(first.is_new, "before one is {how}");
        let second = world.queue.push_or_find(&unique()).await.unwrap();
        assert_eq!((second.id, second.is_new), (first.id, false), "{how}: while it waits");
        if how == "cancelled while queued" {
            assert_eq!(world.queue.cancel(first.id).await.unwrap(), Cancelled::Queued);
            continue;
        }
        let short_lived = Hand::new(world.backend()).await;
        let by = if how == "rescued for the last time" { &short_lived } else { &hand };
        let claimed = by.claim_one(world.backend()).await;
        assert!(!world.queue.push_or_find(&unique()).await.unwrap().is_new, "{how}: while it runs");
        let backend = world.backend();
        match how {
            "completed" => assert!(by.complete(backend, &claimed).await),
            "dead" => assert!(by.end(backend, &claimed, Ending::Dead).await),
            "cancelled" => assert!(by.end(backend, &claimed, Ending::Cancelled).await),
            "expired" => assert!(by.end(backend, &claimed, Ending::Expired).await),
            _ => assert_eq!(backend.retire_worker(by.id).await.unwrap(), 1),
        }
    }
    let mut both = world.queue.push_many(&[unique(), job(1), unique()]).await.unwrap();
    both.dedup();
    assert_eq!((both.len(), both[0]), (3, both[2]), "in one call, the first one counts");
}

async fn a_unique_job_is_there_once_in_each_period(world: World) {
    let unique = || job(()).unique(Unique::once_per(HOUR, "ann"));
    let first = world.queue.push_or_find(&unique()).await.unwrap();
    let hand = Hand::new(world.backend()).await;
    let claimed = hand.claim_one(world.backend()).await;
    assert!(hand.complete(world.backend(), &claimed).await);
    let second = world.queue.push_or_find(&unique()).await.unwrap();
    assert_eq!((second.id, second.is_new), (first.id, false), "also when it is over");
    world.pass(HOUR + Duration::from_secs(1)).await;
    assert!(world.queue.push_or_find(&unique()).await.unwrap().is_new, "in the next period");
}

async fn of_many_producers_at_once_one_enqueues_a_unique_job(world: World) {
    let producers: Vec<_> = (0..8)
        .map(|_| {
            let queue = world.queue.clone();
            let unique = job(()).unique(Unique::while_unfinished("march"));
            tokio::spawn(async move { queue.push_or_find(&unique).await.unwrap() })
        })
        .collect();
    let mut outcomes = Vec::new();
    for producer in producers {
        outcomes.push(producer.await.unwrap());
    }
    assert_eq!(outcomes.iter().filter(|one| one.is_new).count(), 1, "{outcomes:?}");
    assert!(outcomes.iter().all(|one| one.id == outcomes[0].id), "{outcomes:?}");
    assert_eq!(world.stats().await.ready, 1);
}

async fn a_job_that_no_worker_has_is_cancelled_at_once_with_what_waits_for_it(world: World) {
    let ready = world.queue.push(&job(())).await.unwrap();
    let scheduled = world.queue.push(&job(()).run_in(HOUR)).await.unwrap();
    let chain = world.queue.push_flow(&Flow::chain([job(1), job(2), job(3)])).await.unwrap();
    for job in [ready, scheduled, chain[1]] {
        assert_eq!(world.queue.cancel(job).await.unwrap(), Cancelled::Queued);
        assert_eq!(world.queue.cancel(job).await.unwrap(), Cancelled::Over, "a second time");
    }
    assert_eq!(world.queue.cancel(JobId(4_711)).await.unwrap(), Cancelled::Over);
    assert_eq!(world.stats().await, Stats { ready: 1, cancelled: 4, ..Stats::default() });
    let hand = Hand::new(world.backend()).await;
    let first = hand.claim_one(world.backend()).await;
    assert_eq!(first.id, chain[0]);
    assert!(hand.complete(world.backend(), &first).await);
    assert_eq!(world.queue.cancel(chain[0]).await.unwrap(), Cancelled::Over);
    assert_eq!(world.stats().await, Stats { completed: 1, cancelled: 4, ..Stats::default() });
}

async fn a_running_job_is_asked_to_stop_and_does_not_run_again(world: World) {
    let (hand, other) = (Hand::new(world.backend()).await, Hand::new(world.backend()).await);
    let chain = world.queue.push_flow(&Flow::chain([job(1), job(2)])).await.unwrap();
    let claimed = hand.claim_one(world.backend()).await;
    assert!(world.backend().cancelled_on(hand.id).await.unwrap().is_empty());
    assert_eq!(world.queue.cancel(chain[0]).await.unwrap(), Cancelled::Running);
    assert_eq!(world.backend().cancelled_on(hand.id).await.unwrap(), [chain[0]]);
    assert!(world.backend().cancelled_on(other.id).await.unwrap().is_empty());
    assert!(hand.end(world.backend(), &claimed, Ending::Cancelled).await);
    assert!(world.backend().cancelled_on(hand.id).await.unwrap().is_empty(), "what was asked for is done");
    assert_eq!(world.stats().await, Stats { cancelled: 2, ..Stats::default() });
}

async fn parents_that_end_at_the_same_time_release_each_child_once(world: World) {
    const PARENTS: usize = 16;
    const CHILDREN: usize = 24;
    let mut flow = Flow::new();
    let parents: Vec<_> = (0..PARENTS).map(|number| flow.add(job(number))).collect();
    for number in 0..CHILDREN {
        let child = flow.add(job(number));
        parents.iter().for_each(|parent| {
            flow.after(*parent, child);
        });
    }
    world.queue.push_flow(&flow).await.unwrap();
    assert_eq!(world.stats().await.blocked, CHILDREN as i64);
    let mut ending = Vec::new();
    for _ in 0..4 {
        let queue = world.queue.clone();
        ending.push(tokio::spawn(async move {
            let hand = Hand::new(queue.backend()).await;
            for claimed in hand.claim(queue.backend(), PARENTS / 4).await {
                assert!(hand.complete(queue.backend(), &claimed).await);
                // Said twice, as after an answer that got lost, under another number.
                hand.end(queue.backend(), &claimed, Ending::Dead).await;
            }
        }));
    }
    for one in ending {
        one.await.unwrap();
    }
    let stats = world.stats().await;
    assert_eq!(stats, Stats { ready: CHILDREN as i64, completed: PARENTS as i64, ..Stats::default() });
}

async fn a_child_waits_for_its_parents_and_then_for_its_own_time(world: World) {
    let later = job("later").run_in(HOUR);
    let ids = world.queue.push_flow(&Flow::chain([job("first"), later])).await.unwrap();
    let hand = Hand::new(world.backend()).await;
    world.pass(2 * HOUR).await;
    world.queue.promote_due().await.unwrap();
    let first = hand.claim_one(world.backend()).await;
    assert!(hand.complete(world.backend(), &first).await);
    assert_eq!(world.stats().await, Stats { scheduled: 1, completed: 1, ..Stats::default() });
    world.pass(HOUR).await;
    assert_eq!(world.queue.promote_due().await.unwrap(), 1);
    assert_eq!(hand.claim_one(world.backend()).await.id, ids[1]);
}

async fn the_jobs_of_a_worker_that_died_come_back_and_the_attempt_counts(world: World) {
    let id = world.queue.push(&job(()).max_attempts(2)).await.unwrap();
    let dying = Hand::new(world.backend()).await;
    dying.claim_one(world.backend()).await;
    assert_eq!(world.queue.rescue().await.unwrap(), 0, "it is not dead yet");
    world.pass(LEASE + Duration::from_secs(1)).await;
    assert_eq!(world.queue.rescue().await.unwrap(), 1);
    assert_eq!(world.queue.rescue().await.unwrap(), 0, "once");
    assert_eq!(world.stats().await, Stats { ready: 1, rescued: 1, ..Stats::default() });
    let dying = Hand::new(world.backend()).await;
    let claimed = dying.claim_one(world.backend()).await;
    assert_eq!((claimed.id, claimed.attempt), (id, 2));
    world.pass(LEASE + Duration::from_secs(1)).await;
    assert_eq!(world.queue.rescue().await.unwrap(), 1);
    assert_eq!(world.stats().await, Stats { dead: 1, rescued: 2, ..Stats::default() });
    let letters = world.queue.dead_letters(1).await.unwrap();
    assert_eq!((letters[0].attempts, letters[0].error.as_str()), (2, "the worker died in the last attempt"));
}

async fn a_worker_that_beats_is_not_taken_for_dead_and_one_that_was_claims_nothing(world: World) {
    world.queue.push_many(&[job(1), job(2)]).await.unwrap();
    let hand = Hand::new(world.backend()).await;
    hand.claim(world.backend(), 1).await;
    for _ in 0..3 {
        world.pass(LEASE / 2).await;
        assert!(world.backend().heartbeat(hand.id).await.unwrap());
        assert_eq!(world.queue.rescue().await.unwrap(), 0);
    }
    world.pass(LEASE + Duration::from_secs(1)).await;
    assert_eq!(world.queue.rescue().await.unwrap(), 1);
    assert!(!world.backend().heartbeat(hand.id).await.unwrap());
    let refused = hand.try_claim(world.backend(), "default", 1).await.unwrap_err();
    assert!(matches!(refused, Error::Dismissed { worker } if worker == hand.id), "{refused:?}");
    assert_eq!(refused.code().id, "QUEUE-0021");
    assert_eq!(world.stats().await.ready, 2);
}

async fn a_zombie_changes_nothing_not_even_a_counter(world: World) {
    let chain = world.queue.push_flow(&Flow::chain([job(1), job(2)])).await.unwrap();
    let unique = job(3).unique(Unique::while_unfinished("one"));
    world.queue.push_many(&[unique.clone(), job(4), job(5)]).await.unwrap();
    let zombie = Hand::new(world.backend()).await;
    let held = zombie.claim(world.backend(), 4).await;
    assert_eq!(held.len(), 4);
    world.pass(LEASE + Duration::from_secs(1)).await;
    assert_eq!(world.queue.rescue().await.unwrap(), 4);
    let hand = Hand::new(world.backend()).await;
    let again = hand.claim_one_of(world.backend(), chain[0]).await;
    let before = world.stats().await;
    let backend = world.backend();
    let results = held.iter().map(|job| (job.id.0, "\"stolen\"".to_owned())).collect();
    let jobs = held.iter().map(|job| job.id.0).collect();
    let flags = held.iter().fold(0, |flags, job| flags | job.flags);
    let ran = vec![0.5; held.len()];
    let all = Completed { token: held[0].token, part: 99, is_over: true, jobs, ran, flags, results };
    assert!(backend.complete(&[all]).await.unwrap().is_empty());
    for ending in [
        Ending::RetryIn(Duration::ZERO),
        Ending::ReturnIn(Duration::ZERO),
        Ending::Dead,
        Ending::Cancelled,
        Ending::Expired,
    ] {
        for job in &held {
            assert!(!zombie.end(backend, job, ending).await, "{ending:?}");
        }
    }
    let told = Progress { done: 1, total: 2, note: "half".into() };
    let fenced = backend.tell_progress(held[0].token, held[0].id, &told).await.unwrap_err();
    assert!(matches!(fenced, Error::Fenced { job } if job == held[0].id.0), "{fenced:?}");
    zombie.give_back(backend, &held).await;
    assert_eq!(backend.release(&[held[0].token]).await.unwrap(), 0);
    assert_eq!(backend.close_lease(held[0].token).await.unwrap(), 0);
    assert_eq!(backend.retire_worker(zombie.id).await.unwrap(), 0);
    assert!(!world.queue.push_or_find(&unique).await.unwrap().is_new, "its key is still taken");
    assert_eq!(world.stats().await, before);
    assert_eq!(world.queue.result::<String>(chain[0]).await.unwrap(), None);
    assert_eq!(world.queue.progress(chain[0]).await.unwrap(), None);
    assert!(hand.complete(world.backend(), &again).await, "the other one's lease stands");
}

async fn a_claim_whose_answer_got_lost_is_released_and_the_attempt_does_not_count(world: World) {
    world.queue.push_many(&[job(1), job(2)]).await.unwrap();
    let hand = Hand::new(world.backend()).await;
    let lost = hand.claim(world.backend(), 2).await;
    let leases = world.backend().leases_of(hand.id).await.unwrap();
    assert_eq!(leases, [lost[0].token]);
    assert_eq!(world.backend().release(&leases).await.unwrap(), 2);
    assert!(world.backend().leases_of(hand.id).await.unwrap().is_empty());
    assert_eq!(world.stats().await, Stats { ready: 2, rescued: 2, ..Stats::default() });
    let again = hand.claim(world.backend(), 2).await;
    assert_eq!(
        again.iter().map(|job| (job.id, job.attempt)).collect::<Vec<_>>(),
        [(lost[0].id, 1), (lost[1].id, 1)]
    );
}

async fn what_is_recorded_twice_is_recorded_once(world: World) {
    world.queue.push_flow(&Flow::chain([job(1), job(2)])).await.unwrap();
    world.queue.push(&job(3)).await.unwrap();
    let hand = Hand::new(world.backend()).await;
    let held = hand.claim(world.backend(), 2).await;
    let (completion, failure) = (hand.completion(&held[0]), hand.ending(&held[1], Ending::RetryIn(HOUR)));
    for _ in 0..2 {
        assert!(
            world
                .backend()
                .complete(std::slice::from_ref(&completion))
                .await
                .unwrap()
                .contains(&held[0].token)
        );
        world.backend().end_unfinished(std::slice::from_ref(&failure)).await.unwrap();
        assert_eq!(world.stats().await, Stats { ready: 1, scheduled: 1, completed: 1, ..Stats::default() });
    }
    let next = hand.claim_one(world.backend()).await;
    let last = Completed { is_over: true, ..hand.completion(&next) };
    for _ in 0..2 {
        let stood = world.backend().complete(std::slice::from_ref(&last)).await.unwrap();
        assert!(stood.contains(&next.token), "also when nothing is left of the lease");
        assert_eq!(world.stats().await, Stats { scheduled: 1, completed: 2, ..Stats::default() });
    }
}

async fn what_was_not_begun_goes_back_as_it_was(world: World) {
    let ids = world.queue.push_many(&[job(1), job(2), job(3)]).await.unwrap();
    let hand = Hand::new(world.backend()).await;
    let mut held = hand.claim(world.backend(), 4).await;
    let kept = held.remove(0);
    hand.give_back(world.backend(), &held).await;
    assert_eq!(world.stats().await, Stats { ready: 2, leased: 1, ..Stats::default() });
    assert!(hand.complete(world.backend(), &kept).await);
    assert_eq!(world.backend().close_lease(kept.token).await.unwrap(), 0);
    let again = hand.claim(world.backend(), 4).await;
    assert_eq!(again.iter().map(|job| (job.id, job.attempt)).collect::<Vec<_>>(), [(ids[1], 1), (ids[2], 1)]);
}

async fn a_lease_that_is_closed_returns_what_was_not_settled(world: World) {
    world.queue.push_many(&[job(1), job(2)]).await.unwrap();
    let hand = Hand::new(world.backend()).await;
    let held = hand.claim(world.backend(), 2).await;
    assert!(hand.complete(world.backend(), &held[0]).await);
    assert_eq!(world.backend().close_lease(held[0].token).await.unwrap(), 1);
    assert_eq!(world.stats().await, Stats { ready: 1, completed: 1, rescued: 1, ..Stats::default() });
    let again = hand.claim_one(world.backend()).await;
    assert_eq!((again.id, again.attempt), (held[1].id, 2));
}

async fn a_paused_queue_gives_nothing_until_it_is_resumed(world: World) {
    world.queue.push(&job(())).await.unwrap();
    world.queue.push(&job(()).on_queue("other")).await.unwrap();
    let hand = Hand::new(world.backend()).await;
    assert!(world.queue.pause("default").await.unwrap());
    assert!(!world.queue.pause("default").await.unwrap(), "it is paused already");
    assert!(hand.claim(world.backend(), 1).await.is_empty());
    assert_eq!(hand.try_claim(world.backend(), "other", 1).await.unwrap().len(), 1);
    assert!(world.queue.resume("default").await.unwrap());
    assert!(!world.queue.resume("default").await.unwrap());
    assert_eq!(hand.claim(world.backend(), 1).await.len(), 1);
}

async fn results_and_progress_are_there_for_whoever_asks(world: World) {
    let id = world.queue.push(&job(())).await.unwrap();
    let hand = Hand::new(world.backend()).await;
    let claimed = hand.claim_one(world.backend()).await;
    assert_eq!(world.queue.progress(id).await.unwrap(), None);
    for done in [1, i64::MAX] {
        let told = Progress { done, total: i64::MAX, note: "é \"quoted\"".into() };
        world.backend().tell_progress(claimed.token, id, &told).await.unwrap();
        assert_eq!(world.queue.progress(id).await.unwrap(), Some(told));
    }
    assert_eq!(world.queue.result::<u8>(id).await.unwrap(), None);
    let result = serde_json::json!({"a": [1, null, "é"]});
    let completion = Completed { results: vec![(id.0, result.to_string())], ..hand.completion(&claimed) };
    world.backend().complete(&[completion]).await.unwrap();
    assert_eq!(world.queue.result::<serde_json::Value>(id).await.unwrap(), Some(result));
    assert!(world.queue.result::<u8>(id).await.is_err(), "of another form");
    assert!(world.queue.progress(id).await.unwrap().is_some());
}

async fn who_listens_hears_of_work(world: World) {
    let mut listener = world.backend().listen().await.unwrap();
    let hears = async {
        world.queue.push(&job(()).on_queue("mail é")).await.unwrap();
        listener.next().await.unwrap()
    };
    assert_eq!(tokio::time::timeout(DEADLINE, hears).await.unwrap(), "mail é");
}

async fn the_backlog_says_how_many_jobs_wait_and_since_when(world: World) {
    world.queue.push_many(&[job(1), job(2), job(3), job(4)]).await.unwrap();
    world.pass(HOUR).await;
    world.queue.push_many(&[job(5).run_in(HOUR), job(6).on_queue("other")]).await.unwrap();
    let hand = Hand::new(world.backend()).await;
    let held = hand.claim(world.backend(), 2).await;
    assert!(hand.end(world.backend(), &held[0], Ending::Dead).await);
    assert!(hand.complete(world.backend(), &held[1]).await);
    hand.claim(world.backend(), 1).await;
    let backlog = world.queue.backlog("default").await.unwrap();
    assert_eq!((backlog.ready, backlog.scheduled, backlog.leased, backlog.dead), (1, 1, 1, 1));
    assert!(backlog.oldest >= HOUR && backlog.oldest < HOUR + DEADLINE, "{backlog:?}");
    let other = world.queue.backlog("other").await.unwrap();
    assert_eq!((other.ready, other.scheduled, other.dead), (1, 0, 0));
}

async fn a_worker_runs_what_is_pushed_and_stops_what_is_cancelled(world: World) {
    let started = Arc::new(tokio::sync::Notify::new());
    let begun = started.clone();
    // It looks for work only when it is woken.
    let working = Worker::new(world.queue.clone())
        .poll(Duration::from_secs(3_600))
        .heartbeat(Duration::from_millis(20), DEADLINE)
        .handle("work", |job| async move {
            let number: i64 = job.args()?;
            Ok(job.done_with(&number)?)
        })
        .handle("hang", move |job| {
            let begun = begun.clone();
            async move {
                job.progress(1, 2, "hanging").await?;
                begun.notify_one();
                std::future::pending().await
            }
        })
        .start();
    let id = world.queue.push(&job(42)).await.unwrap();
    world.until("completion", |stats| stats.completed == 1).await;
    assert_eq!(world.queue.result::<i64>(id).await.unwrap(), Some(42));
    let hanging = world.queue.push(&NewJob::new("hang", &()).unwrap()).await.unwrap();
    started.notified().await;
    assert_eq!(world.queue.progress(hanging).await.unwrap().unwrap().note, "hanging");
    assert_eq!(world.queue.cancel(hanging).await.unwrap(), Cancelled::Running);
    world.until("the stop", |stats| stats.cancelled == 1).await;
    assert!(working.drain(DEADLINE).await);
    assert_eq!(world.stats().await, Stats { completed: 1, cancelled: 1, ..Stats::default() });
}

async fn twenty_thousand_jobs_run_once_each_on_several_workers(world: World) {
    const JOBS: usize = 20_000;
    let runs: Arc<Vec<AtomicU32>> = Arc::new((0..JOBS).map(|_| AtomicU32::new(0)).collect());
    let jobs: Vec<NewJob> = (0..JOBS).map(job).collect();
    let mut ids = BTreeSet::new();
    for some in jobs.chunks(1_000) {
        ids.extend(world.queue.push_many(some).await.unwrap());
    }
    assert_eq!(ids.len(), JOBS);
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let runs = runs.clone();
            let handler = move |job: seaworthy_queue::LeasedJob| {
                let runs = runs.clone();
                async move {
                    runs[job.args::<usize>()?].fetch_add(1, Ordering::Relaxed);
                    Ok(job.done())
                }
            };
            // Nobody is to be taken for dead on a busy machine.
            Worker::new(world.queue.clone())
                .heartbeat(Duration::from_secs(1), Duration::from_secs(120))
                .handle("work", handler)
                .start()
        })
        .collect();
    world.until("completion", |stats| stats.completed == JOBS as i64).await;
    for worker in workers {
        assert!(worker.drain(DEADLINE).await);
    }
    assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) == 1));
    assert_eq!(world.stats().await, Stats { completed: JOBS as i64, ..Stats::default() });
}
