//! The wish that a play ends before its time.

use tokio::sync::watch;

/// Ends plays before their time, from anywhere. Cheap to clone; all clones are the same wish.
#[derive(Debug, Clone)]
pub struct Interrupt {
    why: watch::Sender<Option<String>>,
}

impl Default for Interrupt {
    fn default() -> Self {
        Interrupt { why: watch::Sender::new(None) }
    }
}

impl Interrupt {
    /// Every play that has this wish ends now: its faults are healed, its services end, and its record says why.
    pub fn now(&self, why: impl Into<String>) {
        self.why.send_replace(Some(why.into()));
    }

    /// Why plays are to end, if they are.
    pub fn why(&self) -> Option<String> {
        self.why.borrow().clone()
    }

    /// Waits until plays are to end.
    pub async fn wait(&self) -> String {
        let mut wish = self.why.subscribe();
        // The sender lives as long as we do.
        wish.wait_for(Option::is_some).await.ok().and_then(|why| why.clone()).unwrap_or_default()
    }
}
