//! What is asked for whenever the page is: the process and its log.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::counter::ConstCounter,
    registry::Unit,
};

use super::gauge;
use crate::{logging, process};

#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(usage) = process::usage() else { return Ok(()) };
        let mut add = |name, help, unit: Option<Unit>, metric: &dyn EncodeMetricDyn| {
            metric.encode_into(&mut encoder, name, help, unit.as_ref())
        };
        add(
            "process_cpu",
            "Processor time of the process.",
            Some(Unit::Seconds),
            &ConstCounter::new(usage.cpu.as_secs_f64()),
        )?;
        add(
            "process_resident_memory",
            "Memory that the process has in use.",
            Some(Unit::Bytes),
            &gauge(usage.resident_memory as f64),
        )?;
        add(
            "process_virtual_memory",
            "Address space of the process.",
            Some(Unit::Bytes),
            &gauge(usage.virtual_memory as f64),
        )?;
        add("process_open_fds", "Open file handles.", None, &gauge(usage.open_files as f64))?;
        add("process_max_fds", "How many file handles may be open.", None, &gauge(usage.max_files as f64))?;
        add("process_threads", "Threads of the process.", None, &gauge(usage.threads as f64))?;
        add(
            "process_start_time",
            "When the process started, since the Unix epoch.",
            Some(Unit::Seconds),
            &gauge(usage.started.as_secs_f64()),
        )
    }
}

#[derive(Debug)]
pub(super) struct LogLines;

impl Collector for LogLines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let lines = logging::counters();
        let mut add =
            |name, help, count: u64| ConstCounter::new(count).encode_into(&mut encoder, name, help, None);
        add(
            "log_lines_dropped",
            "Lines of the log for which there was no room in its queue.",
            lines.dropped,
        )?;
        add("log_lines_failed", "Lines of the log that its destination did not take.", lines.failed)?;
        add("log_lines_sampled_out", "Lines of the log that sampling left out.", lines.sampled_out)
    }
}

/// A metric together with its descriptor.
trait EncodeMetricDyn {
    fn encode_into(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
    ) -> fmt::Result;
}

impl<M: EncodeMetric> EncodeMetricDyn for M {
    fn encode_into(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
    ) -> fmt::Result {
        self.encode(encoder.encode_descriptor(name, help, unit, self.metric_type())?)
    }
}
