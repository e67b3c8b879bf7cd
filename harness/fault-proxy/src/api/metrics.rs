//! The bytes that each proxy moved, in Prometheus' text format and under Toxiproxy's names.

use std::fmt::Write as _;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};

use super::settings::Settings;
use crate::{Proxies, Proxy, Stream, Traffic};

type Reading = fn(&Traffic) -> u64;

const COUNTERS: [(&str, &str, Reading); 2] = [
    ("toxiproxy_proxy_received_bytes_total", "Bytes that came from the sender on this stream.", |traffic| {
        traffic.received
    }),
    ("toxiproxy_proxy_sent_bytes_total", "Bytes that the receiver was sent on this stream.", |traffic| {
        traffic.sent
    }),
];

pub(super) fn answer(proxies: &Proxies, settings: &Settings) -> Response {
    let mut text = String::new();
    if settings.proxy_metrics {
        text += &traffic(&proxies.list());
    }
    if let Some(more) = settings.more_metrics {
        text += &more();
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

fn traffic(proxies: &[Proxy]) -> String {
    let mut text = String::new();
    for (name, help, read) in COUNTERS {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
        for proxy in proxies {
            for stream in [Stream::Downstream, Stream::Upstream] {
                let _ = writeln!(
                    text,
                    r#"{name}{{direction="{}",listener="{}",proxy="{}",upstream="{}"}} {}"#,
                    stream.as_str(),
                    escaped(&proxy.listen_text()),
                    escaped(proxy.name()),
                    escaped(&proxy.upstream()),
                    read(&proxy.traffic(stream)),
                );
            }
        }
    }
    text
}

fn escaped(label: &str) -> String {
    label.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}
