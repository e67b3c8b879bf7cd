//! Toxiproxy's HTTP API in front of a set of [`Proxies`].
//!
//! [`serve`] listens on an address of your choice; keep it on the loopback interface, since whoever reaches the
//! API can open ports on this machine. Routes, fields, defaults, statuses and error texts are those of
//! Toxiproxy 2, so its clients work unchanged. Toxics other than those of [`ToxicKind`] are refused with
//! `invalid toxic type`.

use std::{io, net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{Error, Proxies, Proxy, ProxyConfig, Stream, Toxic, ToxicKind};

/// The largest request body, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// A running API. Dropping it stops the API; the proxies stay.
#[derive(Debug)]
pub struct Api {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Api {
    /// The address that the API listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Serves the API for these proxies on `address`; port 0 means any free one.
///
/// # Errors
///
/// When the address can't be listened on.
pub async fn serve(proxies: Proxies, address: SocketAddr) -> io::Result<Api> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(async move {
        let _ = axum::serve(listener, router(proxies)).await;
    });
    Ok(Api { address, serving })
}

/// The API's routes, for a server of your own.
pub fn router(proxies: Proxies) -> Router {
    Router::new()
        .route("/version", get(version))
        .route("/proxies", get(list_proxies).post(create_proxy))
        .route(
            "/proxies/{proxy}",
            get(show_proxy).post(update_proxy).patch(update_proxy).delete(delete_proxy),
        )
        .route("/proxies/{proxy}/toxics", get(list_toxics).post(create_toxic))
        .route(
            "/proxies/{proxy}/toxics/{toxic}",
            get(show_toxic).post(update_toxic).patch(update_toxic).delete(delete_toxic),
        )
        .route("/populate", post(populate))
        .route("/reset", post(reset))
        .layer(axum::middleware::from_fn(refuse_browsers))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(proxies)
}

type Answer = Result<Response, Refusal>;

async fn version() -> impl IntoResponse {
    let body = format!("{{\"version\": \"{}\"}}\n", env!("CARGO_PKG_VERSION"));
    ([(header::CONTENT_TYPE, "application/json;charset=utf-8")], body)
}

async fn list_proxies(State(proxies): State<Proxies>) -> Answer {
    let shown = proxies.list().into_iter().map(|proxy| (proxy.name().to_owned(), show(&proxy)));
    Ok(respond(StatusCode::OK, &shown.collect::<serde_json::Map<_, _>>()))
}

async fn create_proxy(State(proxies): State<Proxies>, body: Bytes) -> Answer {
    let wanted: ProxyBody = parse(&body)?;
    let proxy = proxies.create(wanted.config()?).await?;
    Ok(respond(StatusCode::CREATED, &show(&proxy)))
}

async fn show_proxy(State(proxies): State<Proxies>, Path(name): Path<String>) -> Answer {
    Ok(respond(StatusCode::OK, &show(&proxies.get(&name)?)))
}

async fn update_proxy(State(proxies): State<Proxies>, Path(name): Path<String>, body: Bytes) -> Answer {
    let wanted: ProxyBody = parse(&body)?;
    let mut proxy = proxies.get(&name)?;
    let moves = wanted.listen.as_ref().is_some_and(|listen| *listen != proxy.listen().to_string());
    if moves {
        let toxics = proxy.toxics();
        let config = ProxyConfig {
            name: name.clone(),
            listen: wanted.listen.unwrap_or_default(),
            upstream: wanted.upstream.unwrap_or_else(|| proxy.upstream()),
            enabled: wanted.enabled.unwrap_or_else(|| proxy.is_enabled()),
        };
        proxies.delete(&name).await?;
        proxy = proxies.create(config).await?;
        toxics.into_iter().try_for_each(|toxic| proxy.add_toxic(toxic))?;
        return Ok(respond(StatusCode::OK, &show(&proxy)));
    }
    if let Some(upstream) = wanted.upstream
        && upstream != proxy.upstream()
    {
        proxy.set_upstream(upstream);
        proxy.close_connections();
    }
    match wanted.enabled {
        Some(true) => proxy.enable()?,
        Some(false) => proxy.disable().await,
        None => {}
    }
    Ok(respond(StatusCode::OK, &show(&proxy)))
}

async fn delete_proxy(State(proxies): State<Proxies>, Path(name): Path<String>) -> Answer {
    proxies.delete(&name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn list_toxics(State(proxies): State<Proxies>, Path(name): Path<String>) -> Answer {
    let toxics: Vec<_> = proxies.get(&name)?.toxics().iter().map(ToxicBody::of).collect();
    Ok(respond(StatusCode::OK, &toxics))
}

async fn create_toxic(State(proxies): State<Proxies>, Path(name): Path<String>, body: Bytes) -> Answer {
    let proxy = proxies.get(&name)?;
    let toxic = parse::<ToxicBody>(&body)?.toxic()?;
    proxy.add_toxic(toxic.clone())?;
    Ok(respond(StatusCode::OK, &ToxicBody::of(&toxic)))
}

async fn show_toxic(State(proxies): State<Proxies>, Path((name, toxic)): Path<(String, String)>) -> Answer {
    Ok(respond(StatusCode::OK, &ToxicBody::of(&proxies.get(&name)?.toxic(&toxic)?)))
}

async fn update_toxic(
    State(proxies): State<Proxies>,
    Path((name, toxic)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let proxy = proxies.get(&name)?;
    let old = proxy.toxic(&toxic)?;
    let new = parse::<ToxicBody>(&body)?.merged_into(&old)?;
    proxy.update_toxic(new.clone())?;
    Ok(respond(StatusCode::OK, &ToxicBody::of(&new)))
}

async fn delete_toxic(State(proxies): State<Proxies>, Path((name, toxic)): Path<(String, String)>) -> Answer {
    proxies.get(&name)?.remove_toxic(&toxic)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Creates the proxies that are missing and replaces those whose addresses differ; a proxy whose addresses match
/// stays as it is, `enabled` included.
async fn populate(State(proxies): State<Proxies>, body: Bytes) -> Answer {
    let wanted: Vec<ProxyBody> = parse(&body)?;
    let mut shown = Vec::new();
    for (at, wanted) in wanted.into_iter().enumerate() {
        let config = wanted.config().map_err(|refusal| refusal.at_proxy(at + 1))?;
        let existing = proxies.get(&config.name).ok();
        let proxy = match existing {
            Some(old) if old.upstream() == config.upstream && old.listen().to_string() == config.listen => {
                old
            }
            Some(old) => {
                proxies.delete(old.name()).await?;
                proxies.create(config).await?
            }
            None => proxies.create(config).await?,
        };
        shown.push(show(&proxy));
    }
    Ok(respond(StatusCode::CREATED, &json!({ "proxies": shown })))
}

async fn reset(State(proxies): State<Proxies>) -> Answer {
    proxies.reset()?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A page in a browser must not be able to reach into the test machine's network through us.
async fn refuse_browsers(
    headers: HeaderMap,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    let agent = headers.get(header::USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
    if agent.starts_with(b"Mozilla/") {
        return StatusCode::FORBIDDEN.into_response();
    }
    next.run(request).await
}

#[derive(Debug, Deserialize)]
struct ProxyBody {
    name: Option<String>,
    listen: Option<String>,
    upstream: Option<String>,
    enabled: Option<bool>,
}

impl ProxyBody {
    fn config(self) -> Result<ProxyConfig, Refusal> {
        let present = |value: Option<String>| value.filter(|value| !value.is_empty());
        let name = present(self.name).ok_or_else(|| Refusal::missing("name"))?;
        let upstream = present(self.upstream).ok_or_else(|| Refusal::missing("upstream"))?;
        let mut config = ProxyConfig::new(name, upstream);
        if let Some(listen) = present(self.listen) {
            config = config.listen(listen);
        }
        Ok(if self.enabled == Some(false) { config.disabled() } else { config })
    }
}

fn show(proxy: &Proxy) -> serde_json::Value {
    json!({
        "name": proxy.name(),
        "listen": proxy.listen().to_string(),
        "upstream": proxy.upstream(),
        "enabled": proxy.is_enabled(),
        "toxics": proxy.toxics().iter().map(ToxicBody::of).collect::<Vec<_>>(),
    })
}

#[derive(Debug, Serialize, Deserialize)]
struct ToxicBody {
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    stream: Option<String>,
    toxicity: Option<f64>,
    #[serde(default)]
    attributes: Attributes,
}

/// The attributes of every kind of toxic, in milliseconds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Attributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    latency: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jitter: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
}

impl ToxicBody {
    fn of(toxic: &Toxic) -> Self {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).ok();
        let attributes = match *toxic.kind() {
            ToxicKind::Latency { latency, jitter } => {
                Attributes { latency: millis(latency), jitter: millis(jitter), timeout: None }
            }
            ToxicKind::Timeout { timeout } | ToxicKind::ResetPeer { timeout } => {
                Attributes { timeout: millis(timeout), ..Attributes::default() }
            }
            _ => Attributes::default(),
        };
        ToxicBody {
            name: Some(toxic.name()),
            kind: Some(toxic.kind().type_name().to_owned()),
            stream: Some(toxic.stream().as_str().to_owned()),
            toxicity: Some(toxic.share()),
            attributes,
        }
    }

    fn toxic(&self) -> Result<Toxic, Refusal> {
        let stream = match self.stream.as_deref().unwrap_or("downstream").to_ascii_lowercase().as_str() {
            "upstream" => Stream::Upstream,
            "downstream" => Stream::Downstream,
            _ => return Err(Refusal::bad("stream was invalid, can be either upstream or downstream")),
        };
        let toxic = Toxic::new(self.kind()?).on(stream).toxicity(self.toxicity.unwrap_or(1.0));
        Ok(match self.name.as_deref() {
            None | Some("") => toxic,
            Some(name) => toxic.named(name),
        })
    }

    fn kind(&self) -> Result<ToxicKind, Refusal> {
        let millis = |value: Option<u64>| Duration::from_millis(value.unwrap_or(0));
        let Attributes { latency, jitter, timeout } = self.attributes;
        match self.kind.as_deref() {
            Some("latency") => Ok(ToxicKind::Latency { latency: millis(latency), jitter: millis(jitter) }),
            Some("timeout") => Ok(ToxicKind::Timeout { timeout: millis(timeout) }),
            Some("reset_peer") => Ok(ToxicKind::ResetPeer { timeout: millis(timeout) }),
            Some("noop") => Ok(ToxicKind::Noop),
            _ => Err(Refusal::bad("invalid toxic type")),
        }
    }

    /// An update keeps the name, the type and the stream, and every attribute that it does not mention.
    fn merged_into(self, old: &Toxic) -> Result<Toxic, Refusal> {
        let mut merged = ToxicBody::of(old);
        let (new, old) = (self.attributes, &mut merged.attributes);
        old.latency = new.latency.or(old.latency);
        old.jitter = new.jitter.or(old.jitter);
        old.timeout = new.timeout.or(old.timeout);
        merged.toxicity = self.toxicity.or(merged.toxicity);
        merged.toxic()
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::bad(&format!("bad request body: {error}")))
}

fn respond(status: StatusCode, body: &impl Serialize) -> Response {
    (status, axum::Json(body)).into_response()
}

/// An answer that says why a request was refused, in Toxiproxy's form.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    text: String,
}

impl Refusal {
    fn bad(text: &str) -> Self {
        Refusal { status: StatusCode::BAD_REQUEST, text: text.to_owned() }
    }

    fn missing(field: &str) -> Self {
        Refusal::bad(&format!("missing required field: {field}"))
    }

    fn at_proxy(mut self, number: usize) -> Self {
        self.text = format!("{} at proxy {number}", self.text);
        self
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let (status, text) = match &error {
            Error::ProxyNotFound(_) => (StatusCode::NOT_FOUND, "proxy not found".to_owned()),
            Error::ToxicNotFound { .. } => (StatusCode::NOT_FOUND, "toxic not found".to_owned()),
            Error::ProxyExists(_) => (StatusCode::CONFLICT, "proxy already exists".to_owned()),
            Error::ToxicExists { .. } => (StatusCode::CONFLICT, "toxic already exists".to_owned()),
            Error::Toxicity(_) | Error::Attribute { .. } => {
                (StatusCode::BAD_REQUEST, format!("bad request body: {error}"))
            }
            Error::Listen { .. } => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        };
        Refusal { status, text }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = format!("{}\n", json!({ "error": self.text, "status": self.status.as_u16() }));
        (self.status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
    }
}
