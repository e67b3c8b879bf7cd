//! Families whose number of series is bounded.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    encoding::{EncodeLabel as _, EncodeLabelSet, LabelSetEncoder},
    metrics::family::Family,
};

/// The most series of a family; what would be one more counts as `other`.
pub const MAX_SERIES: usize = 200;
/// The longest value of a label, in characters.
pub const MAX_LABEL: usize = 64;

/// Names and values of the labels of a series.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Labels<const N: usize> {
    names: [&'static str; N],
    values: [Cow<'static, str>; N],
}

impl<const N: usize> Labels<N> {
    pub(crate) fn new(names: [&'static str; N], values: [&str; N]) -> Self {
        Labels { names, values: values.map(|value| Cow::Owned(tidy(value))) }
    }

    fn other(names: [&'static str; N]) -> Self {
        Labels { names, values: [const { Cow::Borrowed("other") }; N] }
    }
}

impl<const N: usize> EncodeLabelSet for Labels<N> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, value) in self.names.iter().zip(&self.values) {
            (*name, value.as_ref()).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

fn tidy(value: &str) -> String {
    let visible = value.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c });
    visible.take(MAX_LABEL).collect()
}

/// A family of metrics with these labels, of which there are at most [`MAX_SERIES`] and one.
#[derive(Debug, Clone)]
pub struct Bounded<M, const N: usize> {
    names: [&'static str; N],
    family: Family<Labels<N>, M, fn() -> M>,
    /// How many series there are; held while one is made.
    series: Arc<Mutex<usize>>,
}

impl<M: Clone, const N: usize> Bounded<M, N> {
    /// A family without series; `make` makes the metric of a new one.
    pub fn new(names: [&'static str; N], make: fn() -> M) -> Self {
        Bounded { names, family: Family::new_with_constructor(make), series: Arc::default() }
    }

    /// The metric of the series with these values, or that of `other` when there are too many.
    pub fn get(&self, values: [&str; N]) -> M {
        let labels = Labels::new(self.names, values);
        if let Some(metric) = self.known(&labels) {
            return metric;
        }
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if *series >= MAX_SERIES {
            return self
                .known(&labels)
                .unwrap_or_else(|| self.family.get_or_create_owned(&Labels::other(self.names)));
        }
        *series += usize::from(self.known(&labels).is_none());
        self.family.get_or_create_owned(&labels)
    }

    fn known(&self, labels: &Labels<N>) -> Option<M> {
        self.family.get(labels).map(|metric| metric.clone())
    }

    /// The family, to register it.
    pub fn family(&self) -> Family<Labels<N>, M, fn() -> M> {
        self.family.clone()
    }
}
