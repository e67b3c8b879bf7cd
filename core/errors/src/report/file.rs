//! Reports as lines of a file.

use std::path::PathBuf;

use tokio::{fs::OpenOptions, io::AsyncWriteExt as _};

use super::{Report, Reporter, ReporterError};

/// Appends each report to a file, as a line of JSON. The file is opened anew for each, so that it can be rotated by renaming it.
#[derive(Debug, Clone)]
pub struct JsonLines {
    path: PathBuf,
}

impl JsonLines {
    /// Appends to this file, which is made if it is not there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        JsonLines { path: path.into() }
    }
}

#[async_trait::async_trait]
impl Reporter for JsonLines {
    fn name(&self) -> &str {
        "file"
    }

    async fn report(&self, report: &Report) -> Result<(), ReporterError> {
        let fail = |source| ReporterError::File { path: self.path.display().to_string(), source };
        let mut line =
            serde_json::to_vec(report).map_err(|error| ReporterError::Refused(error.to_string()))?;
        line.push(b'\n');
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path).await.map_err(fail)?;
        // In one write, so that lines of several processes don't mix.
        file.write_all(&line).await.map_err(fail)?;
        file.flush().await.map_err(fail)
    }
}
