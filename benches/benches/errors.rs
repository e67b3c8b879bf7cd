//! What an error costs: made, given one piece of context, and dropped, beside anyhow's. Once without and once with `RUST_BACKTRACE`, which
//! many services have on.

use std::{env, hint::black_box, process::Command};

use criterion::Criterion;
use seaworthy_errors::{Error, http_codes};

/// Set in the processes that measure: the standard library reads `RUST_BACKTRACE` once per process.
const MEASURE: &str = "SEAWORTHY_BENCH_ERRORS";

fn main() {
    if env::var_os(MEASURE).is_some() {
        let mut criterion = Criterion::default().configure_from_args();
        measure(&mut criterion);
        criterion.final_summary();
        return;
    }
    for backtrace in ["0", "1"] {
        let program = env::current_exe().expect("a program has a path");
        let status = Command::new(program)
            .args(env::args_os().skip(1))
            .env("RUST_BACKTRACE", backtrace)
            .env(MEASURE, "1")
            .status()
            .expect("a program can start itself");
        assert!(status.success(), "{status}");
    }
}

fn measure(criterion: &mut Criterion) {
    let backtrace = env::var("RUST_BACKTRACE").unwrap_or_default();
    let mut group = criterion.benchmark_group(format!("error with context, RUST_BACKTRACE={backtrace}"));
    group.bench_function("seaworthy", |bencher| {
        bencher
            .iter(|| drop(black_box(Error::new(&http_codes::UNAVAILABLE).with("order", black_box(42_u64)))));
    });
    group.bench_function("seaworthy, a client's fault", |bencher| {
        bencher.iter(|| drop(black_box(Error::new(&http_codes::NOT_FOUND).with("order", black_box(42_u64)))));
    });
    group.bench_function("anyhow", |bencher| {
        bencher.iter(|| {
            drop(black_box(anyhow::anyhow!("not available").context(black_box("placing an order"))))
        });
    });
    group.finish();
}
