//! Reports as lines of the log.

use super::{Report, Reporter, ReporterError};

/// Writes each report as a line of the log, through `tracing`: errors that are the service's fault at the level ERROR, others at WARN.
#[derive(Debug, Clone, Copy, Default)]
pub struct Log;

#[async_trait::async_trait]
impl Reporter for Log {
    fn name(&self) -> &str {
        "log"
    }

    async fn report(&self, report: &Report) -> Result<(), ReporterError> {
        let error = report.sources.join(": ");
        let (code, count, location) = (report.code, report.count, report.location.as_str());
        let fingerprint = report.fingerprint.to_string();
        if report.status >= 500 {
            tracing::error!(code, count, location, fingerprint, error, "{}", report.public);
        } else {
            tracing::warn!(code, count, location, fingerprint, error, "{}", report.public);
        }
        Ok(())
    }
}
