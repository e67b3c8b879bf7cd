//! What is left after the storage, or the process that has it, was killed.

use std::{
    fs,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use seaworthy_queue::{
    Flow, NewJob, Queue, Stats, Unique,
    backend::{Ending, Fsync, Memory},
};

use crate::{hand::Hand, world::DEADLINE};

fn job(number: usize) -> NewJob {
    NewJob::new("work", &number).unwrap()
}

/// Everything that can be in a queue, and what its counts are when it is opened again: what ran is ready.
async fn fill(queue: &Queue) -> Stats {
    let backend = queue.backend();
    queue.push_many(&(0..8).map(job).collect::<Vec<_>>()).await.unwrap();
    queue.push(&job(8).run_in(Duration::from_secs(3_600))).await.unwrap();
    queue.push(&job(9).on_queue("other").unique(Unique::while_unfinished("one"))).await.unwrap();
    queue.push_flow(&Flow::chain([job(10).on_queue("other"), job(11)])).await.unwrap();
    queue.pause("other").await.unwrap();
    let hand = Hand::new(backend).await;
    let held = hand.claim(backend, 8).await;
    assert!(hand.complete(backend, &held[0]).await);
    for (job, ending) in
        held[1..].iter().zip([Ending::Dead, Ending::Cancelled, Ending::RetryIn(Duration::MAX)])
    {
        assert!(hand.end(backend, job, ending).await);
    }
    hand.give_back(backend, &held[4..5]).await;
    let stats = queue.stats().await.unwrap();
    assert_eq!(
        stats,
        Stats {
            ready: 3,
            scheduled: 2,
            blocked: 1,
            leased: 3,
            completed: 1,
            dead: 1,
            cancelled: 1,
            ..Stats::default()
        }
    );
    Stats { ready: 6, leased: 0, rescued: 3, ..stats }
}

/// Those who tell workers of work have the file open for a moment longer.
async fn reopen(path: &Path, fsync: Fsync) -> Memory {
    let give_up = Instant::now() + DEADLINE;
    loop {
        match Memory::open(path, fsync) {
            Ok(memory) => return memory,
            Err(error) => {
                assert!(Instant::now() < give_up && error.to_string().contains("another process"), "{error}")
            }
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_queue_in_a_file_is_as_it_was_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.jsonl");
    let memory = Memory::open(&path, Fsync::Never).unwrap();
    let expected = fill(&Queue::on(memory.clone())).await;
    let taken = Memory::open(&path, Fsync::Never).unwrap_err();
    assert_eq!(taken.code().id, "QUEUE-0023");
    assert!(taken.to_string().contains("another process has the queue"), "{taken}");
    drop(memory);
    // From the changes, and then from the state that the first one to open it wrote in their place.
    for _ in 0..2 {
        let queue = Queue::on(reopen(&path, Fsync::Always).await);
        assert_eq!(queue.stats().await.unwrap(), expected);
        assert!(!queue.pause("other").await.unwrap(), "it is paused still");
        assert!(!queue.push_or_find(&job(9).unique(Unique::while_unfinished("one"))).await.unwrap().is_new);
        assert_eq!(queue.dead_letters(1).await.unwrap()[0].error, "Dead");
    }
}

#[tokio::test]
async fn a_last_line_that_was_not_written_to_its_end_is_left_out_and_any_other_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.jsonl");
    let queue = Queue::on(reopen(&path, Fsync::Never).await);
    queue.push(&job(1)).await.unwrap();
    queue.push(&job(2)).await.unwrap();
    drop(queue);
    let whole = fs::read(&path).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for cut in [last, last + 1, whole.len() - 2, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        let queue = Queue::on(reopen(&path, Fsync::Never).await);
        assert_eq!(queue.stats().await.unwrap().ready, 1, "after {cut} of {} bytes", whole.len());
        queue.push(&job(3)).await.unwrap();
        drop(queue);
        let queue = Queue::on(reopen(&path, Fsync::Never).await);
        assert_eq!(queue.stats().await.unwrap().ready, 2, "what came after it is whole");
    }
    let path = folder.path().join("damaged.jsonl");
    let mut damaged = fs::File::create(&path).unwrap();
    damaged.write_all(&whole[..last - 2]).unwrap();
    damaged.write_all(b"\n").unwrap();
    damaged.write_all(&whole[last..]).unwrap();
    drop(damaged);
    let error = Memory::open(&path, Fsync::Never).unwrap_err();
    assert!(error.to_string().contains("line 2 is damaged"), "{error}");
}

#[cfg(feature = "redis")]
mod on_redis {
    use std::{
        collections::BTreeSet,
        sync::{Arc, Mutex},
    };

    use seaworthy_harness::{Fault, Redis, Stack};
    use seaworthy_queue::{Backoff, Worker, backend};

    use super::*;

    /// The server is killed while workers work, and comes back with its append-only file: what it had answered is there.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_durable_server_that_is_killed_loses_nothing_that_it_had_answered() {
        const JOBS: usize = 400;
        let stack = Stack::builder().redis(Redis::new().durable(true)).start().await.unwrap();
        let client = redis::Client::open(stack.redis().url()).unwrap();
        let queue = Queue::on(backend::Redis::new(client, "crash").unwrap());
        let done = Arc::new(Mutex::new(BTreeSet::new()));
        let brief = Backoff::fixed(Duration::from_millis(5));
        let noted = done.clone();
        let working = Worker::new(queue.clone())
            .poll(Duration::from_millis(5))
            .heartbeat(Duration::from_millis(100), Duration::from_secs(3))
            .backoff(brief)
            .handle("work", move |job| {
                let noted = noted.clone();
                async move {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    noted.lock().unwrap().insert(job.id());
                    Ok(job.done())
                }
            })
            .start();
        let mut pushed = BTreeSet::new();
        for number in 0..JOBS {
            if number % 100 == 50 {
                let killed = stack.redis().inject(Fault::Kill).await.unwrap();
                // Nobody is told that it is there now.
                assert!(queue.push(&job(number)).await.is_err());
                killed.heal().await.unwrap();
            }
            let give_up = Instant::now() + DEADLINE;
            loop {
                match queue.push(&job(number)).await {
                    Ok(id) => break assert!(pushed.insert(id), "{id} was given out twice"),
                    Err(error) => assert!(Instant::now() < give_up, "{error}"),
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        let give_up = Instant::now() + DEADLINE;
        loop {
            if let Ok(stats) = queue.stats().await
                && stats.ready + stats.scheduled + stats.leased == 0
            {
                assert_eq!(stats.dead, 0);
                // A push whose answer got lost may have happened.
                assert!(stats.completed >= JOBS as i64, "{stats:?}");
                break;
            }
            assert!(Instant::now() < give_up, "the queue did not come to rest");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(pushed.is_subset(&done.lock().unwrap()));
        assert!(working.drain(DEADLINE).await);
    }
}
