//! Faults that end with the test.

use std::{
    sync::{PoisonError, mpsc},
    time::Duration,
};

use super::{Env, home::spawn};
use crate::{Faults, NetworkFault, Sentence, Toxic};

/// How long a fault may take to be on.
const PATIENCE: Duration = Duration::from_secs(10);

/// The faults that the network to one of a test's services can have. Unlike [`Faults`] they need no guard: what is on heals when its time is over, and when
/// the test ends.
///
/// ```no_run
/// # fn example(env: seaworthy_harness::Env) {
/// # let ms = std::time::Duration::from_millis;
/// env.postgres_faults().latency(ms(200)).jitter(ms(50)).for_secs(1);
/// env.redis_faults().down().to_the_end();
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct EnvFaults {
    env: Env,
    faults: Faults,
}

/// A fault that is being described; nothing happens before [`for_time`](Self::for_time) or [`to_the_end`](Self::to_the_end).
#[derive(Debug, Clone)]
#[must_use = "nothing happens before it is said for how long"]
pub struct Injection {
    env: Env,
    sentence: Sentence,
}

impl EnvFaults {
    pub(super) fn new(env: Env, faults: Faults) -> Self {
        EnvFaults { env, faults }
    }

    /// Answers take longer.
    pub fn latency(self, latency: Duration) -> Injection {
        self.say(|faults| faults.latency(latency))
    }

    /// Answers come at this many kilobytes (1000 bytes) a second; 0 stalls them.
    pub fn bandwidth(self, kilobytes_per_second: u64) -> Injection {
        self.say(|faults| faults.bandwidth(kilobytes_per_second))
    }

    /// Answers are swallowed, and the connection closes after this time; zero means never.
    pub fn timeout(self, timeout: Duration) -> Injection {
        self.say(|faults| faults.timeout(timeout))
    }

    /// Connections are reset (TCP RST): the live ones and the new ones.
    pub fn reset(self) -> Injection {
        self.say(Faults::reset)
    }

    /// Connections are refused, and the live ones are closed.
    pub fn down(self) -> Injection {
        self.say(Faults::down)
    }

    /// Any toxic of the fault proxy.
    pub fn toxic(self, toxic: impl Into<Toxic>) -> Injection {
        self.say(|faults| faults.toxic(toxic))
    }

    fn say(self, say: impl FnOnce(Faults) -> Sentence) -> Injection {
        Injection { sentence: say(self.faults), env: self.env }
    }
}

impl Injection {
    /// A latency varies by up to this much.
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.sentence = self.sentence.jitter(jitter);
        self
    }

    /// It is the requests that have the fault, not the answers.
    pub fn on_requests(mut self) -> Self {
        self.sentence = self.sentence.on_requests();
        self
    }

    /// Only this share of the connections has it, between 0 and 1; which ones, the seed decides.
    pub fn toxicity(mut self, share: f64) -> Self {
        self.sentence = self.sentence.toxicity(share);
        self
    }

    /// Injects the fault, and heals it after this many seconds. It is on when this returns.
    ///
    /// # Panics
    ///
    /// When the fault can't be injected: a test must not go on without it.
    #[track_caller]
    pub fn for_secs(self, seconds: u64) {
        self.for_time(Duration::from_secs(seconds));
    }

    /// Injects the fault, and heals it after this time. It is on when this returns.
    ///
    /// # Panics
    ///
    /// When the fault can't be injected.
    #[track_caller]
    pub fn for_time(self, time: Duration) {
        let Injection { env, sentence } = self;
        inject(&env, async move { sentence.for_time(time).await });
    }

    /// Injects the fault until the test ends. It is on when this returns.
    ///
    /// # Panics
    ///
    /// When the fault can't be injected.
    #[track_caller]
    pub fn to_the_end(self) {
        let Injection { env, sentence } = self;
        inject(&env, async move { sentence.inject().await });
    }
}

/// Waits here, for some microseconds: the fault proxy and what injects the fault have threads of their own.
#[track_caller]
fn inject(env: &Env, fault: impl Future<Output = Result<NetworkFault, crate::Error>> + Send + 'static) {
    let (done, on) = mpsc::channel();
    spawn(async move { done.send(fault.await) });
    match on.recv_timeout(PATIENCE) {
        Ok(Ok(fault)) => env.inner.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault),
        Ok(Err(error)) => panic!("{error}"),
        Err(_) => panic!("the fault was not on within {PATIENCE:?}"),
    }
}
