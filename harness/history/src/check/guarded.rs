//! Checks that may fail themselves.

use std::{any::Any, error::Error, future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use seaworthy_reports::{Check, Verdict};
use tokio::time::timeout;

/// Runs a check. If it fails itself, panics or takes too long, the verdict is unknown, with the reason: a check that has crashed says nothing.
pub async fn guarded<E: Into<Box<dyn Error + Send + Sync>>>(
    name: &str,
    within: Duration,
    check: impl Future<Output = Result<Check, E>>,
) -> Check {
    let why = match timeout(within, AssertUnwindSafe(check).catch_unwind()).await {
        Ok(Ok(Ok(check))) => return check,
        Ok(Ok(Err(error))) => format!("the check failed: {}", error.into()),
        Ok(Err(panic)) => format!("the check panicked: {}", said(&*panic)),
        Err(_) => format!("the check was not over after {within:?}"),
    };
    Check::new(name, Verdict::Unknown, why)
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
}
