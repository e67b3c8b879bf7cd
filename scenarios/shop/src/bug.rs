//! Bugs that can be planted, to prove that the scenarios find them.

/// A mistake that services really make. Only a build with the feature `planted-bugs` can have one, chosen by the
/// environment variable `SHOP_BUG`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The answer goes out before the order is committed.
    AcknowledgeBeforeCommit,
    /// A fulfilment is recorded in one transaction and its job completed in another, without looking at the lease.
    NoFencing,
    /// A change is published once, to whoever listens just then.
    PublishOnce,
    /// A job that failed is not tried again.
    NoRetry,
    /// A server that is told to stop closes every connection at once.
    DropOnRestart,
}

impl Bug {
    /// The bug's name in `SHOP_BUG`.
    pub fn name(self) -> &'static str {
        match self {
            Bug::AcknowledgeBeforeCommit => "acknowledge-before-commit",
            Bug::NoFencing => "no-fencing",
            Bug::PublishOnce => "publish-once",
            Bug::NoRetry => "no-retry",
            Bug::DropOnRestart => "drop-on-restart",
        }
    }

    /// Whether this process has the bug.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn is_planted(self) -> bool {
        std::env::var("SHOP_BUG").is_ok_and(|name| name == self.name())
    }

    /// Whether this process has the bug: it was built without any.
    #[cfg(not(feature = "planted-bugs"))]
    pub(crate) const fn is_planted(self) -> bool {
        false
    }
}
