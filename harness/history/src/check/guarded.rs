//! Checks that may fail themselves.

use std::{any::Any, error::Error, future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use seaworthy_reports::{Check, Verdict};
use tokio::{task::spawn_blocking, time::timeout};

/// Runs a check. If it fails itself, panics or takes too long, the verdict is unknown, with the reason: a check that has crashed says nothing.
///
/// ```
/// use std::time::Duration;
/// use seaworthy_history::check;
/// use seaworthy_reports::{Check, Verdict};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let rows: Result<u64, &str> = Err("connection refused");
/// let check = check::guarded("no row is orphaned", Duration::from_secs(5), async {
///     Ok::<Check, &str>(check::none("no row is orphaned", &vec!["a row".to_owned(); rows? as usize]))
/// })
/// .await;
/// assert_eq!((check.verdict, check.detail.as_str()), (Verdict::Unknown, "the check failed: connection refused"));
/// # });
/// ```
pub async fn guarded<E: Into<Box<dyn Error + Send + Sync>>>(
    name: &str,
    within: Duration,
    check: impl Future<Output = Result<Check, E>>,
) -> Check {
    let why = match timeout(within, AssertUnwindSafe(check).catch_unwind()).await {
        Ok(Ok(Ok(check))) => return check,
        Ok(Ok(Err(error))) => format!("the check failed: {}", chain(&*error.into())),
        Ok(Err(panic)) => format!("the check panicked: {}", said(&*panic)),
        Err(_) => format!("the check was not over after {within:?}"),
    };
    Check::new(name, Verdict::Unknown, why)
}

/// As [`guarded`], of a check that computes and does not wait. It runs on a thread of its own; one that is not over in time can't be stopped, and
/// goes on there without anybody to hear it.
pub async fn guarded_blocking(
    name: &str,
    within: Duration,
    check: impl FnOnce() -> Check + Send + 'static,
) -> Check {
    // A panic on that thread comes back as an error, which holds what it said.
    guarded(name, within, async {
        match spawn_blocking(check).await {
            Ok(check) => Ok(check),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(error),
            },
        }
    })
    .await
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_check_that_crashes_is_unknown() {
        let second = Duration::from_secs(1);
        let good = async { Ok::<_, String>(Check::new("it", Verdict::Held, "seen")) };
        assert_eq!(guarded("it", second, good).await.verdict, Verdict::Held);
        let failed = async { Err::<Check, _>("no connection") };
        assert_eq!(guarded("it", second, failed).await.detail, "the check failed: no connection");
        let panics = async { panic!("index out of bounds") };
        assert_eq!(
            guarded::<String>("it", second, panics).await.detail,
            "the check panicked: index out of bounds"
        );
        let hangs = std::future::pending::<Result<Check, String>>();
        let check = guarded("it", Duration::from_millis(20), hangs).await;
        assert_eq!(
            (check.verdict, check.detail.as_str()),
            (Verdict::Unknown, "the check was not over after 20ms")
        );
    }

    #[tokio::test]
    async fn a_check_that_computes_too_long_or_panics_is_unknown() {
        let soon = Duration::from_millis(20);
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let hangs = move || {
            let _ = stopped.recv();
            Check::new("it", Verdict::Held, "seen")
        };
        assert_eq!(guarded_blocking("it", soon, hangs).await.detail, "the check was not over after 20ms");
        drop(stop);
        let minute = Duration::from_secs(60);
        let check = guarded_blocking("it", minute, || panic!("out of bounds")).await;
        assert_eq!(check.detail, "the check panicked: out of bounds");
        let good = guarded_blocking("it", minute, || Check::new("it", Verdict::Held, "seen")).await;
        assert_eq!(good.verdict, Verdict::Held);
    }

    #[tokio::test]
    async fn why_a_check_failed_is_told_to_the_root() {
        #[derive(Debug)]
        struct Query(std::io::Error);
        impl std::fmt::Display for Query {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the query failed")
            }
        }
        impl Error for Query {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        let failed = async { Err::<Check, _>(Query(std::io::Error::other("connection refused"))) };
        let check = guarded("it", Duration::from_secs(1), failed).await;
        assert_eq!(check.detail, "the check failed: the query failed: connection refused");
    }
}
