//! The file of proxies that are there from the start, in Toxiproxy's format: a JSON list of what `POST /proxies` takes.
//!
//! Beyond Toxiproxy's, each proxy can have `toxics`.
//!
//! ```
//! use seaworthy_fault_proxy::config;
//!
//! let proxies = config::parse(r#"[
//!     {"name": "redis", "listen": "127.0.0.1:16379", "upstream": "127.0.0.1:6379",
//!      "toxics": [{"type": "latency", "attributes": {"latency": 5}}]}
//! ]"#)?;
//! assert_eq!(proxies.len(), 1);
//!
//! let error = config::parse("[\n  {\"name\": \"redis\"}\n]").unwrap_err();
//! assert_eq!(error.to_string(), "line 2: missing required field: upstream at proxy 1");
//! # Ok::<(), config::Error>(())
//! ```

use std::{collections::HashSet, io, path::Path};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{ProxyConfig, api};

/// The largest file, in bytes.
pub const MAX_FILE: u64 = 1024 * 1024;

/// Why a file of proxies can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file can't be read.
    #[error("{0}")]
    Read(#[from] io::Error),
    /// The file is too large.
    #[error("the file is {0} bytes long; at most {MAX_FILE} are allowed")]
    TooLarge(u64),
    /// It does not describe proxies.
    #[error("line {line}: {why}")]
    Content {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there.
        why: String,
    },
}

/// Reads a file of proxies.
///
/// # Errors
///
/// Those of [`parse`], and when the file can't be read.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<ProxyConfig>, Error> {
    let length = std::fs::metadata(&path)?.len();
    if length > MAX_FILE {
        return Err(Error::TooLarge(length));
    }
    parse(&std::fs::read_to_string(path)?)
}

/// Reads proxies from the text of such a file.
///
/// # Errors
///
/// When the text is not JSON, a proxy or a toxic is not right, or a name is there twice.
pub fn parse(text: &str) -> Result<Vec<ProxyConfig>, Error> {
    let proxies: Option<Vec<&RawValue>> = serde_json::from_str(text).map_err(|error| Error::Content {
        line: error.line(),
        why: match error.classify() {
            serde_json::error::Category::Data => "a list of proxies is needed".to_owned(),
            _ => error.to_string(),
        },
    })?;
    let mut configs: Vec<ProxyConfig> = Vec::new();
    let mut names = HashSet::new();
    for (index, raw) in proxies.unwrap_or_default().into_iter().enumerate() {
        let config = serde_json::from_str(raw.get())
            .map_err(|error| error.to_string())
            .and_then(|value| api::config(value).map_err(|refusal| refusal.text().to_owned()))
            .map_err(|why| Error::Content {
                line: line_of(text, culprit(raw)),
                why: format!("{why} at proxy {}", index + 1),
            })?;
        if !names.insert(config.name.clone()) {
            let why = format!("there is a proxy named `{}` already at proxy {}", config.name, index + 1);
            return Err(Error::Content { line: line_of(text, raw), why });
        }
        configs.push(config);
    }
    Ok(configs)
}

/// The first toxic that is not right by itself, or the proxy where that is not it.
fn culprit(proxy: &RawValue) -> &RawValue {
    #[derive(Deserialize)]
    struct Toxics<'a> {
        #[serde(borrow)]
        toxics: Option<Vec<&'a RawValue>>,
    }
    let toxics =
        serde_json::from_str(proxy.get()).ok().and_then(|Toxics { toxics }| toxics).unwrap_or_default();
    let broken = toxics
        .into_iter()
        .find(|toxic| serde_json::from_str(toxic.get()).is_ok_and(|value| api::toxic(value).is_err()));
    broken.unwrap_or(proxy)
}

/// The line on which a part of the text begins, counted from 1.
fn line_of(text: &str, part: &RawValue) -> usize {
    let offset = (part.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}
