//! What must be alike for two processes to share a stack.

use std::env;

use crate::{digest::digest, provider::ProviderChoice};

/// Grows when the files by which the users of a stack agree change, so that different releases keep to themselves.
const LAYOUT: u32 = 1;

/// The settings from which a stack's services follow.
const SETTINGS: [&str; 9] = [
    "SEAWORTHY_DIR",
    "SEAWORTHY_POSTGRES",
    "SEAWORTHY_REDIS",
    "SEAWORTHY_POSTGRES_IMAGE",
    "SEAWORTHY_REDIS_IMAGE",
    "SEAWORTHY_POSTGRES_URL",
    "SEAWORTHY_REDIS_URL",
    "SEAWORTHY_EXTERNAL",
    "DOCKER_HOST",
];

/// A configuration of a shared stack.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    pub(crate) choice: ProviderChoice,
    /// Tells apart stacks that are alike otherwise.
    pub(crate) name: String,
}

impl Configuration {
    /// A name for it: equal configurations have equal ones.
    pub(crate) fn key(&self) -> String {
        let mut parts = vec![env!("CARGO_PKG_VERSION").to_owned(), LAYOUT.to_string()];
        parts.push(format!("{:?}", self.choice));
        parts.push(self.name.clone());
        parts.extend(SETTINGS.map(|name| env::var(name).unwrap_or_default()));
        digest(parts.iter().map(String::as_bytes))
    }
}
