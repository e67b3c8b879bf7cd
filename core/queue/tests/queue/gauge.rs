//! How many handlers of a key run at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

/// How many run at once, and how many did at most.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    now: Mutex<HashMap<String, (i64, i64)>>,
}

impl Gauge {
    pub(crate) fn enter(self: &Arc<Self>, key: &str) -> Inside {
        let mut all = self.now.lock().unwrap();
        let (now, most) = all.entry(key.to_owned()).or_default();
        *now += 1;
        *most = (*most).max(*now);
        Inside { gauge: self.clone(), key: key.to_owned() }
    }

    pub(crate) fn most(&self) -> HashMap<String, i64> {
        self.now.lock().unwrap().iter().map(|(key, (_, most))| (key.clone(), *most)).collect()
    }
}

/// A handler that runs; also one that is stopped leaves.
pub(crate) struct Inside {
    gauge: Arc<Gauge>,
    key: String,
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.gauge.now.lock().unwrap().get_mut(&self.key).unwrap().0 -= 1;
    }
}
