//! Checking linearizability, beside the checkers that a Rust team would find: histories of a register, four clients.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use seaworthy_benches::registers::{Shape, linearizable, ours, stateright, todc};
use seaworthy_history::Operation;

/// Whether a history is linearizable, as somebody sees it.
type Judge = fn(&[Operation]) -> bool;

fn judging(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("linearizability");
    group.sample_size(10);
    let judges: [(&str, Judge, usize); 3] =
        [("seaworthy", ours, 10_000), ("todc-utils", todc, 1_000), ("stateright", stateright, 20)];
    for operations in [20, 1_000, 10_000] {
        let shape = Shape { clients: 4, each: operations / 4, values: 5, lost: 0.0 };
        let history = linearizable(7, shape);
        // A peer that would take minutes is left out of the larger sizes.
        for (name, judge, _) in judges.iter().filter(|(.., most)| operations <= *most) {
            group.bench_with_input(BenchmarkId::new(*name, operations), &history, |bencher, history| {
                bencher.iter(|| assert!(judge(black_box(history))));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, judging);
criterion_main!(benches);
