//! Faults of a Toxiproxy server: the same sentences, for a team that has one already.

use std::{collections::HashMap, time::Duration};

use seaworthy_fault_proxy::{Stream, Toxic, ToxicKind};
use serde_json::json;
use tokio::time::timeout;
use toxiproxy_rust::{client::Client, proxy::Proxy, toxic::ToxicPack};

use crate::{
    Error,
    network::{Faults, Target},
};

/// How long the server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A Toxiproxy server, driven through `toxiproxy_rust`. That client passes over what the server refuses; here every fault is read back,
/// and one that is not as it was asked for is an error.
///
/// ```no_run
/// use std::time::Duration;
/// use seaworthy_harness::toxiproxy::Toxiproxy;
///
/// # async fn example() -> Result<(), seaworthy_harness::Error> {
/// let server = Toxiproxy::at("127.0.0.1:8474");
/// server.create("redis", "127.0.0.1:26379", "127.0.0.1:6379").await?;
/// let slow = server.faults("redis").latency(Duration::from_millis(200)).inject().await?;
/// slow.heal().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Toxiproxy {
    address: String,
}

impl Toxiproxy {
    /// The server whose API is at this `host:port`.
    pub fn at(address: impl Into<String>) -> Self {
        Toxiproxy { address: address.into() }
    }

    /// Makes a proxy, or points the one of this name somewhere else.
    ///
    /// # Errors
    ///
    /// [`Error::Toxiproxy`].
    pub async fn create(&self, name: &str, listen: &str, upstream: &str) -> Result<(), Error> {
        let body = json!([{ "name": name, "listen": listen, "upstream": upstream, "enabled": true }]);
        self.ask(reqwest::Method::POST, "/populate", Some(body)).await.map(drop)
    }

    /// The faults of the proxy of this name.
    pub fn faults(&self, proxy: &str) -> Faults {
        let target = ToxiproxyProxy { server: self.clone(), name: proxy.to_owned() };
        Faults::of(proxy.to_owned(), Target::Toxiproxy(target))
    }

    /// What `toxiproxy_rust` can't do.
    async fn ask(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<serde_json::Value>,
    ) -> Result<String, Error> {
        let url = format!("http://{}{path}", self.address);
        let mut request = reqwest::Client::new().request(method, url).timeout(PATIENCE);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|error| self.failed(error))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| self.failed(error))?;
        if status.is_success() { Ok(text) } else { Err(self.failed(format!("{status}: {}", text.trim()))) }
    }

    fn failed(&self, why: impl ToString) -> Error {
        Error::Toxiproxy { address: self.address.clone(), why: why.to_string() }
    }

    /// Runs the blocking client where it may block. It panics when the server is away.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Client) -> Result<T, String> + Send + 'static,
    ) -> Result<T, Error> {
        let address = self.address.clone();
        let running = tokio::task::spawn_blocking(move || work(Client::new(address)));
        match timeout(PATIENCE, running).await {
            Ok(Ok(outcome)) => outcome.map_err(|error| self.failed(error)),
            Ok(Err(_)) => Err(self.failed("it can't be reached")),
            Err(_) => Err(self.failed(format!("no answer within {PATIENCE:?}"))),
        }
    }
}

/// One proxy of a Toxiproxy server.
#[derive(Debug, Clone)]
pub(crate) struct ToxiproxyProxy {
    server: Toxiproxy,
    name: String,
}

impl ToxiproxyProxy {
    /// Adds a toxic, makes sure that it is there as it was meant, and returns its name.
    pub(crate) async fn add(&self, toxic: Toxic) -> Result<String, Error> {
        let (name, wanted) = (self.name.clone(), toxic.clone());
        if matches!(toxic.kind(), ToxicKind::ResetPeer { .. }) {
            let body =
                json!({ "type": "reset_peer", "stream": toxic.stream().as_str(), "toxicity": toxic.share() });
            self.server.ask(reqwest::Method::POST, &format!("/proxies/{name}/toxics"), Some(body)).await?;
            return Ok(format!("reset_peer_{}", toxic.stream().as_str()));
        }
        let attributes = attributes(&toxic).map_err(|why| self.server.failed(why))?;
        let asked = attributes.clone();
        self.server
            .blocking(move |client| {
                let proxy = client.find_proxy(&name)?;
                let name = wanted.name();
                if proxy.toxics()?.iter().any(|other| other.name == name) {
                    return Err(format!("{name} is on already"));
                }
                set(&proxy, &wanted, &asked);
                let there = proxy.toxics()?.into_iter().find(|other| other.name == name);
                let there = there.ok_or_else(|| format!("it did not take {name}"))?;
                is_as_asked(&there, &wanted, &asked)?;
                Ok(name)
            })
            .await
    }

    pub(crate) async fn remove(&self, toxic: &str) -> Result<(), Error> {
        let path = format!("/proxies/{}/toxics/{toxic}", self.name);
        self.server.ask(reqwest::Method::DELETE, &path, None).await.map(drop)
    }

    pub(crate) async fn set_enabled(&self, enabled: bool) -> Result<(), Error> {
        let name = self.name.clone();
        self.server
            .blocking(move |client| {
                let proxy = client.find_proxy(&name)?;
                if enabled {
                    proxy.enable()?
                } else {
                    proxy.disable()?
                }
                let all = client.all()?;
                let is = all.get(&name).map(|proxy| proxy.proxy_pack.enabled);
                if is == Some(enabled) { Ok(()) } else { Err(format!("it did not change {name}")) }
            })
            .await
    }

    /// [`remove`](Self::remove), for a drop, which can't wait as a future does.
    pub(crate) fn remove_now(&self, toxic: &str) {
        let (proxy, toxic) = (self.clone(), toxic.to_owned());
        finish(async move { proxy.remove(&toxic).await });
    }

    /// Enables the proxy, for a drop.
    pub(crate) fn enable_now(&self) {
        let proxy = self.clone();
        finish(async move { proxy.set_enabled(true).await });
    }
}

/// Runs to its end on a thread of its own, since the caller's runtime may be the one that is being dropped.
fn finish(work: impl Future<Output = Result<(), Error>> + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
            let _ = runtime.block_on(work);
        }
    });
    let _ = thread.join();
}

/// The attributes on the wire, for the toxics that Toxiproxy has.
fn attributes(toxic: &Toxic) -> Result<HashMap<String, u32>, String> {
    let number = |value: u128| {
        u32::try_from(value).map_err(|_| format!("{value} is more than Toxiproxy's client takes"))
    };
    let ms = |time: Duration| number(time.as_millis());
    let pairs: Vec<(&str, u32)> = match *toxic.kind() {
        ToxicKind::Latency { latency, jitter } => vec![("latency", ms(latency)?), ("jitter", ms(jitter)?)],
        ToxicKind::Bandwidth { rate } => vec![("rate", number(rate.into())?)],
        ToxicKind::SlowClose { delay } => vec![("delay", ms(delay)?)],
        ToxicKind::Timeout { timeout } => vec![("timeout", ms(timeout)?)],
        ToxicKind::LimitData { bytes } => vec![("bytes", number(bytes.into())?)],
        ToxicKind::Slicer { average_size, size_variation, delay } => vec![
            ("average_size", number(average_size.into())?),
            ("size_variation", number(size_variation.into())?),
            ("delay", number(delay.as_micros())?),
        ],
        _ => return Err(format!("it has no toxic `{}`; the embedded proxy does", toxic.kind().type_name())),
    };
    Ok(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn set(proxy: &Proxy, toxic: &Toxic, attributes: &HashMap<String, u32>) {
    let stream = match toxic.stream() {
        Stream::Upstream => "upstream".to_owned(),
        Stream::Downstream => "downstream".to_owned(),
    };
    let (of, share) = (|name: &str| attributes[name], toxic.share() as f32);
    match toxic.kind() {
        ToxicKind::Latency { .. } => proxy.with_latency(stream, of("latency"), of("jitter"), share),
        ToxicKind::Bandwidth { .. } => proxy.with_bandwidth(stream, of("rate"), share),
        ToxicKind::SlowClose { .. } => proxy.with_slow_close(stream, of("delay"), share),
        ToxicKind::Timeout { .. } => proxy.with_timeout(stream, of("timeout"), share),
        ToxicKind::LimitData { .. } => proxy.with_limit_data(stream, of("bytes"), share),
        _ => proxy.with_slicer(stream, of("average_size"), of("size_variation"), of("delay"), share),
    };
}

fn is_as_asked(there: &ToxicPack, toxic: &Toxic, attributes: &HashMap<String, u32>) -> Result<(), String> {
    const CLOSE: f32 = 1e-6;
    let same = there.stream == toxic.stream().as_str()
        && (there.toxicity - toxic.share() as f32).abs() < CLOSE
        && attributes.iter().all(|(name, value)| there.attributes.get(name) == Some(value));
    if same { Ok(()) } else { Err(format!("{} is not as it was asked for: {there:?}", there.name)) }
}
