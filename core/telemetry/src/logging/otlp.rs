//! OpenTelemetry logs over HTTP, as JSON (OTLP 1.x).

use std::{
    fmt::Display,
    io,
    time::{Duration, UNIX_EPOCH},
};

use reqwest::{StatusCode, header, redirect};
use serde_json::{Value as Json, json};
use tokio::runtime::Runtime;
use tracing::Level;

use super::{
    line::{Field, Line, Value},
    sink::{Failure, Sink},
};
use crate::settings;

/// How long the collector may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long lines wait for others.
const LINGER: Duration = Duration::from_millis(500);

/// The longest wait that a collector can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(20);

/// The most of an answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 10;

pub(super) struct Otlp {
    settings: settings::Otlp,
    url: String,
    service: String,
    client: Option<Client>,
}

struct Client {
    http: reqwest::Client,
    runtime: Runtime,
}

impl Client {
    fn new() -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error: io::Error| error.to_string())?;
        // Headers hold credentials: they go to nobody else.
        let http = reqwest::Client::builder().timeout(TIMEOUT).redirect(redirect::Policy::none()).build();
        Ok(Client { http: http.map_err(|error| with_causes(&error))?, runtime })
    }
}

impl Otlp {
    pub(super) fn new(settings: &settings::Otlp, service: &str) -> Self {
        let base = settings.endpoint.trim_end_matches('/');
        let url = if base.ends_with("/v1/logs") { base.to_owned() } else { format!("{base}/v1/logs") };
        Otlp { settings: settings.clone(), url, service: service.to_owned(), client: None }
    }
}

impl Sink for Otlp {
    fn linger(&self) -> Duration {
        LINGER
    }

    fn write(&mut self, lines: &[Line]) -> Result<(), Failure> {
        let lost = |reason: &dyn Display| Failure::lost(lines.len(), reason);
        // Made here, on the writer's thread: whoever starts logging may be in a runtime already.
        let client = match &mut self.client {
            Some(client) => client,
            empty => empty.insert(Client::new().map_err(|error| lost(&error))?),
        };
        let body = body(lines, &self.service).to_string();
        let mut request =
            client.http.post(&self.url).header(header::CONTENT_TYPE, "application/json").body(body);
        for (name, value) in &self.settings.headers {
            request = request.header(name, value);
        }
        client.runtime.block_on(async {
            let mut response = match request.send().await {
                Ok(response) => response,
                Err(error) if error.is_builder() => return Err(lost(&with_causes(&error))),
                Err(error) => return Err(Failure::retry(lines.len(), Duration::ZERO, with_causes(&error))),
            };
            let status = response.status();
            let reason = format!("the collector at {} answers {status}", self.url);
            if matches!(status.as_u16(), 429 | 502..=504) {
                let seconds = response
                    .headers()
                    .get(header::RETRY_AFTER)
                    .and_then(|value| value.to_str().ok()?.parse().ok());
                let after = Duration::from_secs(seconds.unwrap_or(0)).min(MAX_RETRY_AFTER);
                return Err(Failure::retry(lines.len(), after, reason));
            }
            if status != StatusCode::OK && !status.is_success() {
                return Err(lost(&reason));
            }
            let mut answer = Vec::new();
            while let Ok(Some(chunk)) = response.chunk().await
                && answer.len() + chunk.len() <= MAX_ANSWER
            {
                answer.extend_from_slice(&chunk);
            }
            match rejected(&answer) {
                0 => Ok(()),
                some => Err(Failure::lost(
                    some.min(lines.len()),
                    format!("the collector at {} rejects lines", self.url),
                )),
            }
        })
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// How many lines the collector did not take, by its answer.
fn rejected(answer: &[u8]) -> usize {
    let answer: Json = serde_json::from_slice(answer).unwrap_or_default();
    let rejected = &answer["partialSuccess"]["rejectedLogRecords"];
    // 64-bit numbers are texts in this JSON.
    let number = rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok());
    number.unwrap_or(0) as usize
}

fn body(lines: &[Line], service: &str) -> Json {
    let records: Vec<Json> = lines.iter().map(record).collect();
    json!({ "resourceLogs": [{
        "resource": { "attributes": [text("service.name", service)] },
        "scopeLogs": [{
            "scope": { "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") },
            "logRecords": records,
        }],
    }] })
}

fn record(line: &Line) -> Json {
    let nanos = line.time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string();
    let severity = match line.level {
        Level::ERROR => 17,
        Level::WARN => 13,
        Level::INFO => 9,
        Level::DEBUG => 5,
        _ => 1,
    };
    let mut attributes: Vec<Json> = vec![text("code.namespace", &line.target)];
    if let Some((file, number)) = line.file.as_ref().zip(line.line) {
        attributes.push(text("code.file.path", file));
        attributes.push(json!({ "key": "code.line.number", "value": { "intValue": number.to_string() } }));
    }
    attributes.extend(line.fields.iter().map(|field| attribute("", field)));
    for span in &line.spans {
        let prefix = format!("{}.", span.name);
        attributes.extend(span.fields.iter().map(|field| attribute(&prefix, field)));
    }
    if line.left_out > 0 {
        attributes
            .push(json!({ "key": "fields_left_out", "value": { "intValue": line.left_out.to_string() } }));
    }
    let mut record = json!({
        "timeUnixNano": nanos,
        "observedTimeUnixNano": nanos,
        "severityNumber": severity,
        "severityText": line.level.as_str(),
        "body": { "stringValue": line.message },
    });
    if let Some(ids) = &line.ids {
        record["traceId"] = ids.trace_id.as_str().into();
        record["spanId"] = ids.span_id.as_str().into();
        record["flags"] = u8::from(ids.sampled).into();
        attributes.push(text("request_id", &ids.request_id));
    }
    record["attributes"] = attributes.into();
    record
}

fn text(key: &str, value: &str) -> Json {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// A span's fields have its name before theirs, so that none passes for the event's.
fn attribute(prefix: &str, field: &Field) -> Json {
    let value = match &field.value {
        Value::Text(text) => json!({ "stringValue": text }),
        Value::Integer(number) => json!({ "intValue": number.to_string() }),
        Value::Unsigned(number) if *number > i64::MAX as u64 => json!({ "stringValue": number.to_string() }),
        Value::Unsigned(number) => json!({ "intValue": number.to_string() }),
        Value::Float(number) if !number.is_finite() => json!({ "stringValue": number.to_string() }),
        Value::Float(number) => json!({ "doubleValue": number }),
        Value::Bool(flag) => json!({ "boolValue": flag }),
    };
    json!({ "key": format!("{prefix}{}", field.name), "value": value })
}
