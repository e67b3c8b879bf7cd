//! Scenarios: load and faults on real services, checks of what must hold, and the record of it all.
//!
//! A [`Scenario`] has a name, the faults that a seed gives, and a function that sails through them: it starts the services, sends load and looks
//! at what is true in the end. [`Play`] plays it once and leaves a record, whatever happens: an error, a panic, a deadline or an
//! interruption ends a scenario as one that could not be judged, which is never held.
//!
//! ```
//! use std::time::Duration;
//! use seaworthy_harness::{
//!     BoxError, Fault, Play, Profile, Redis, Scenario, Stack, Storm, Voyage, Workload, check, reports::Verdict,
//! };
//!
//! const fn ms(ms: u64) -> Duration {
//!     Duration::from_millis(ms)
//! }
//! let counting = Scenario::new("counting", "A counter is counted up while Redis goes away.")
//!     .storm(Storm::over(ms(300)).hazard("redis", Fault::Reset, 1).events(1..=2).lasting(ms(20)..=ms(60)))
//!     .sail(|voyage: Voyage| async move {
//!         let stack = voyage.start(Stack::builder().redis(Redis::new())).await?;
//!         let client = redis::Client::open(stack.redis().url())?;
//!         let load = voyage.workload(Profile::constant(100.0, voyage.schedule().end() + ms(100)));
//!         let load = load.operation("count", 1, move |_| {
//!             let client = client.clone();
//!             async move {
//!                 let mut connection = client.get_multiplexed_async_connection().await?;
//!                 redis::cmd("INCR").arg("counter").query_async::<u64>(&mut connection).await
//!             }
//!         });
//!         voyage.sail(&load).await?;
//!         let mut direct = redis::Client::open(stack.redis().direct_url())?.get_multiplexed_async_connection().await?;
//!         let counted: u64 = redis::cmd("GET").arg("counter").query_async(&mut direct).await?;
//!         let counts = voyage.history().counts();
//!         voyage.check(check::at_least("every count that was acknowledged is there", counted, counts.ok));
//!         Ok::<_, BoxError>(())
//!     });
//!
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! let played = Play::new(7).of(&counting).await?;
//! assert_eq!(played.record.verdict(), Verdict::Held, "{}", played.text());
//! # Ok::<_, seaworthy_harness::Error>(())
//! # }).unwrap();
//! ```

mod interrupt;
mod logs;
mod news;
mod play;
mod scenario;
mod voyage;

pub use interrupt::Interrupt;
pub use news::{News, Progress};
pub use play::{Play, Played};
pub use scenario::{BoxError, Scenario};
pub use voyage::{OwnFault, Voyage};
