//! Proxies as JSON.

use serde::Serialize;
use serde_json::Value;

use super::{
    fields::{Fields, elements, first_value},
    refusal::Refusal,
    toxics::{self, ToxicBody},
};
use crate::{Proxy, ProxyChange, ProxyConfig};

/// A proxy as clients see it.
#[derive(Debug, Serialize)]
pub(super) struct ProxyBody {
    name: String,
    listen: String,
    upstream: String,
    enabled: bool,
    toxics: Vec<ToxicBody>,
}

impl ProxyBody {
    pub(super) fn of(proxy: &Proxy) -> Self {
        ProxyBody {
            name: proxy.name().to_owned(),
            listen: proxy.listen_text(),
            upstream: proxy.upstream(),
            enabled: proxy.is_enabled(),
            toxics: ToxicBody::all_of(proxy),
        }
    }
}

/// Reads the body that creates a proxy.
pub(super) fn new(body: &[u8]) -> Result<ProxyConfig, Refusal> {
    config(first_value(body)?)
}

/// Reads the body that populates. Everything is looked at before anything is made.
pub(super) fn list(body: &[u8]) -> Result<Vec<ProxyConfig>, Refusal> {
    let wanted = elements(first_value(body)?, "the body")?;
    let at = |(index, value)| config(value).map_err(|refusal: Refusal| refusal.at("proxy", index + 1));
    wanted.into_iter().enumerate().map(at).collect()
}

/// Reads a proxy that shall be made.
pub(crate) fn config(value: Value) -> Result<ProxyConfig, Refusal> {
    let fields = Fields::of(value, "a proxy")?;
    let (name, listen, upstream, enabled) = known(&fields)?;
    let present = |text: Option<String>| text.filter(|text| !text.is_empty());
    let name = present(name).ok_or_else(|| Refusal::missing("name"))?;
    let upstream = present(upstream).ok_or_else(|| Refusal::missing("upstream"))?;
    let mut config = ProxyConfig::new(name, upstream);
    if let Some(listen) = present(listen) {
        config = config.listen(listen);
    }
    if enabled == Some(false) {
        config = config.disabled();
    }
    for (index, toxic) in fields.list("toxics")?.into_iter().enumerate() {
        config = config.toxic(toxics::new(toxic).map_err(|refusal| refusal.at("toxic", index + 1))?);
    }
    config.check().map_err(Refusal::from)?;
    Ok(config)
}

/// Reads the body that changes a proxy. Its name and its toxics do not change this way.
pub(super) fn change(body: &[u8]) -> Result<ProxyChange, Refusal> {
    let (_, listen, upstream, enabled) = known(&Fields::of(first_value(body)?, "a proxy")?)?;
    if upstream.as_deref() == Some("") {
        return Err(Refusal::missing("upstream"));
    }
    Ok(ProxyChange { listen, upstream, enabled })
}

type Known = (Option<String>, Option<String>, Option<String>, Option<bool>);

fn known(fields: &Fields) -> Result<Known, Refusal> {
    let text = |name| fields.text(name).map(|text| text.map(str::to_owned));
    Ok((text("name")?, text("listen")?, text("upstream")?, fields.flag("enabled")?))
}
