//! Reports that are posted to an address.

use super::{Report, Reporter, ReporterError};

/// Posts each report as JSON to an address: a chat's incoming webhook, an incident tool, a collector of one's own.
#[derive(Debug, Clone)]
pub struct Webhook {
    client: reqwest::Client,
    url: String,
    authorization: Option<String>,
}

impl Webhook {
    /// Posts to this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Webhook { client: reqwest::Client::new(), url: url.into(), authorization: None }
    }

    /// Sends this `Authorization` header, for example `Bearer …`.
    pub fn authorization(mut self, value: impl Into<String>) -> Self {
        self.authorization = Some(value.into());
        self
    }
}

#[async_trait::async_trait]
impl Reporter for Webhook {
    fn name(&self) -> &str {
        "webhook"
    }

    async fn report(&self, report: &Report) -> Result<(), ReporterError> {
        // The error's text would name the address, and some webhooks have their secret in it.
        let refused = |error: reqwest::Error| ReporterError::Refused(error.without_url().to_string());
        let mut request = self.client.post(&self.url).json(report);
        if let Some(value) = &self.authorization {
            request = request.header("authorization", value);
        }
        let answer = request.send().await.map_err(refused)?;
        answer.error_for_status().map_err(refused)?;
        Ok(())
    }
}
