//! Faults of the network as sentences: they do what they say, and heal in whatever way the test ends.

use std::time::{Duration, Instant};

use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use seaworthy_harness::{App, Error, ProviderChoice, Redis, Stack};

const DEADLINE: Duration = Duration::from_secs(20);

async fn stack() -> Stack {
    let provider = ProviderChoice::from_env().unwrap();
    Stack::builder().provider(provider).redis(Redis::new()).start().await.unwrap()
}

async fn connect(stack: &Stack) -> redis::RedisResult<MultiplexedConnection> {
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(5)))
        .set_response_timeout(Some(Duration::from_secs(5)));
    let client = redis::Client::open(stack.redis().url())?;
    client.get_multiplexed_async_connection_with_config(&settings).await
}

async fn ping(connection: &mut MultiplexedConnection) -> Duration {
    let began = Instant::now();
    redis::cmd("PING").query_async::<()>(connection).await.unwrap();
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_latency_is_there_for_its_time_and_no_longer() {
    let stack = stack().await;
    let mut connection = connect(&stack).await.unwrap();
    let ms = Duration::from_millis;
    let slow = stack.redis().faults().latency(ms(200)).jitter(ms(50)).for_secs(1).await.unwrap();
    assert!(ping(&mut connection).await >= ms(150));
    let give_up = Instant::now() + DEADLINE;
    while !slow.is_healed() {
        assert!(Instant::now() < give_up);
        ping(&mut connection).await;
    }
    assert!(stack.redis().proxy().unwrap().toxics().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_heals_when_its_guard_is_dropped_and_when_the_test_panics() {
    let stack = stack().await;
    let down = stack.redis().faults().down().inject().await.unwrap();
    assert!(connect(&stack).await.is_err());
    drop(down);
    assert!(connect(&stack).await.is_ok());
    let service = stack.redis();
    let panicking = tokio::spawn(async move {
        let _reset = service.faults().reset().inject().await.unwrap();
        panic!("a test fails")
    });
    assert!(panicking.await.unwrap_err().is_panic());
    assert!(connect(&stack).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_faults_are_on_at_once_and_each_heals_alone() {
    let stack = stack().await;
    let (faults, ms) = (|| stack.redis().faults(), Duration::from_millis);
    let one = faults().latency(ms(100)).inject().await.unwrap();
    let two = faults().latency(ms(100)).on_requests().inject().await.unwrap();
    let none = faults().limit_data(0).toxicity(0.0).inject().await.unwrap();
    let mut connection = connect(&stack).await.unwrap();
    assert!(ping(&mut connection).await >= ms(200));
    one.heal().await.unwrap();
    assert_eq!(stack.redis().proxy().unwrap().toxics().len(), 2);
    drop((two, none));
    assert!(stack.redis().proxy().unwrap().toxics().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_can_not_be_set_is_an_error() {
    let stack = stack().await;
    let wrong = stack.redis().faults().latency(Duration::ZERO).toxicity(2.0).inject().await;
    assert!(matches!(wrong, Err(Error::Proxy(_))), "{wrong:?}");
    let worker = App::worker("/bin/sh", "here").args(["-c", "echo here; exec cat"]);
    let worker = stack.start_app("worker", worker).await.unwrap();
    let nowhere = worker.faults().down().inject().await;
    assert!(matches!(nowhere, Err(Error::Unsupported { .. })), "{nowhere:?}");
}
