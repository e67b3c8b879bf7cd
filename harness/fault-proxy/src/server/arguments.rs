//! The command line, as Toxiproxy's server takes it.

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgAction, Parser};
use seaworthy_fault_proxy::api::MAX_DECISIONS;

/// Toxiproxy's flags also work with one dash, as everything written in Go takes them.
const FLAGS: [&str; 7] = ["host", "port", "config", "seed", "proxy-metrics", "runtime-metrics", "version"];

/// A TCP proxy that injects faults, driven over HTTP by Toxiproxy's clients.
#[derive(Debug, Parser)]
#[command(
    name = "seaworthy-fault-proxy",
    disable_version_flag = true,
    after_help = "The environment variable LOG_LEVEL is one of trace, debug, info (the default), warn, error and disabled."
)]
pub(super) struct Arguments {
    /// The host that the API listens on. Whoever reaches it can open ports on this machine.
    #[arg(long, default_value = "localhost")]
    pub(super) host: String,
    /// The port that the API listens on; 0 means any free one.
    #[arg(long, default_value_t = 8474)]
    pub(super) port: u16,
    /// A JSON file of proxies that are there from the start, with their toxics.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The seed of all random decisions; without it, one of the moment, which the log tells.
    #[arg(long, value_parser = seed, allow_negative_numbers = true)]
    pub(super) seed: Option<u64>,
    /// Keep so many random decisions for `GET /decisions`, 100000 at most.
    #[arg(
        long,
        value_name = "LIMIT",
        default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(..=MAX_DECISIONS as i64)
    )]
    pub(super) decisions: u32,
    /// Serve the bytes that each proxy moved under /metrics.
    #[arg(
        long,
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value_t = false
    )]
    pub(super) proxy_metrics: bool,
    /// Serve memory, CPU time and open files of the process under /metrics.
    #[arg(
        long,
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        default_value_t = false
    )]
    pub(super) runtime_metrics: bool,
    /// Print the version.
    #[arg(long, short = 'V')]
    pub(super) version: bool,
}

impl Arguments {
    /// Reads the command line. The error is also what `--help` prints.
    pub(super) fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Arguments::try_parse_from(arguments.into_iter().map(with_two_dashes))
    }
}

fn with_two_dashes(argument: OsString) -> OsString {
    let text = argument.to_string_lossy();
    let flag = text.strip_prefix('-').map(|rest| rest.split('=').next().unwrap_or_default());
    match flag {
        Some(flag) if FLAGS.contains(&flag) => OsString::from(format!("-{text}")),
        _ => argument,
    }
}

/// Toxiproxy's seeds have a sign; each is one of ours.
fn seed(text: &str) -> Result<u64, String> {
    let signed = text.parse::<i64>().map(|seed| seed as u64);
    signed.or_else(|_| text.parse()).map_err(|_| "a whole number of 64 bits is needed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_as_go_reads_them() {
        #[track_caller]
        fn check(line: &str, host: &str, port: u16, seed: Option<u64>, proxy: bool, runtime: bool) {
            let words = std::iter::once("x").chain(line.split_whitespace()).map(OsString::from);
            let read = Arguments::read(words).unwrap();
            let got = (read.host.as_str(), read.port, read.seed, read.proxy_metrics, read.runtime_metrics);
            assert_eq!(got, (host, port, seed, proxy, runtime), "{line}");
        }
        check("", "localhost", 8474, None, false, false);
        check("--host 0.0.0.0 --port 1", "0.0.0.0", 1, None, false, false);
        check("-host=0.0.0.0 -port 1", "0.0.0.0", 1, None, false, false);
        check("-proxy-metrics -runtime-metrics", "localhost", 8474, None, true, true);
        check("--proxy-metrics=true -runtime-metrics=false", "localhost", 8474, None, true, false);
        check("--seed 7", "localhost", 8474, Some(7), false, false);
        check("-seed -1", "localhost", 8474, Some(u64::MAX), false, false);
        check("--seed=18446744073709551615", "localhost", 8474, Some(u64::MAX), false, false);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in ["--port 65536", "--port x", "--seed 1.5", "--prot 1", "--decisions 100001", "8474"] {
            let words = std::iter::once("x").chain(line.split_whitespace()).map(OsString::from);
            assert_eq!(Arguments::read(words).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
