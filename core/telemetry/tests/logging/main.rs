//! The logging pipeline, from the event to what arrives at the other end.

mod canaries;
mod collect;
#[cfg(feature = "otlp")]
mod collector;
mod files;
mod installed;
mod pipeline;
mod redaction;
mod settings;
mod sockets;
