//! Histories of registers that are made up, for those who judge histories: seaworthy's checker and its peers.

use std::time::Duration;

use rand::{Rng, RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;
use seaworthy_history::{
    Operation, Outcome,
    check::{self, Register, SearchLimits},
};
use stateright::semantics::{
    ConsistencyTester as _, LinearizabilityTester,
    register::{Register as PeerRegister, RegisterOp, RegisterRet},
};
use todc_utils::{
    Action, History, WGLChecker,
    specifications::register::{RegisterOperation, RegisterSpecification},
};

/// What a history is like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Clients, each of which does one thing after the other.
    pub clients: u64,
    /// Operations of each of them.
    pub each: usize,
    /// Values that are written, from 1 on.
    pub values: u64,
    /// The share of operations that have no answer.
    pub lost: f64,
}

/// A history of a register that is linearizable: each operation takes effect at a moment between its beginning and its end. A lost write may take effect after
/// its client gave up, or never. The register has 0 in the beginning.
pub fn linearizable(seed: u64, shape: Shape) -> Vec<Operation> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut moments: Vec<(u64, Operation)> = Vec::new();
    for client in 0..shape.clients {
        let mut now = random.random_range(0..10);
        let mut process = client * 1_000;
        for _ in 0..shape.each {
            let (begin, effect) = (now, now + random.random_range(1..10));
            let end = effect + random.random_range(1..10);
            now = end + random.random_range(1..6);
            let lost = random.random_bool(shape.lost);
            // A client goes on under another number when it does not know.
            let operation = |kind: &str| Operation::new(kind, "x", micros(begin)).by(process);
            let operation = if random.random_bool(0.5) {
                operation("write").asking(random.random_range(1..=shape.values))
            } else {
                operation("read")
            };
            let (effect, outcome) = match (lost, random.random_range(0..3)) {
                (false, _) => (effect, Outcome::Ok),
                (true, 0) => (u64::MAX, Outcome::TimedOut),
                (true, _) => (effect + random.random_range(0..40), Outcome::TimedOut),
            };
            moments.push((effect, operation.ended(micros(end), outcome)));
            // A client goes on under another number when it does not know.
            process += u64::from(lost);
        }
    }
    moments.sort_by_key(|(effect, _)| *effect);
    let mut value = 0_u64;
    for (effect, operation) in &mut moments {
        match operation.kind.as_str() {
            "write" if *effect < u64::MAX => value = operation.input.as_u64().unwrap_or_default(),
            "read" if operation.outcome == Outcome::Ok => operation.output = value.into(),
            _ => {}
        }
    }
    let mut operations: Vec<Operation> = moments.into_iter().map(|(_, operation)| operation).collect();
    operations.sort_by_key(|operation| operation.invoked);
    operations
}

/// With another value in one of the reads: mostly not linearizable any more.
pub fn disturb(operations: &mut [Operation], seed: u64, shape: Shape) {
    let mut random = ChaCha8Rng::seed_from_u64(!seed);
    let mut reads: Vec<&mut Operation> = operations
        .iter_mut()
        .filter(|operation| operation.kind == "read" && operation.outcome == Outcome::Ok)
        .collect();
    if !reads.is_empty() {
        let read = (random.next_u64() % reads.len() as u64) as usize;
        reads[read].output = random.random_range(0..=shape.values).into();
    }
}

const fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

/// The beginnings and ends in the order of time: what begins comes first.
fn events(operations: &[Operation]) -> Vec<(Duration, bool, &Operation)> {
    let begins = operations.iter().map(|operation| (operation.invoked, false, operation));
    let ends = operations.iter().filter(|operation| operation.outcome == Outcome::Ok);
    let ends = ends.map(|operation| (operation.ended, true, operation));
    let mut events: Vec<_> = begins.chain(ends).collect();
    events.sort_by_key(|(at, ends, _)| (*at, *ends));
    events
}

/// Our verdict.
pub fn ours(operations: &[Operation]) -> bool {
    // The peers' registers have 0 in the beginning, and ours null.
    let first =
        Operation::new("write", "x", Duration::ZERO).by(u64::MAX).asking(0).answered(Duration::ZERO, ());
    let later = operations.iter().cloned().map(|mut operation| {
        operation.invoked += micros(1);
        operation.ended += micros(1);
        operation
    });
    let operations: Vec<Operation> = [first].into_iter().chain(later).collect();
    let check = check::linearizable_operations("register", &operations, &Register, SearchLimits::default());
    check.verdict == seaworthy_harness::reports::Verdict::Held
}

/// The verdict of stateright's tester.
///
/// # Panics
///
/// When a client does two things at once.
pub fn stateright(operations: &[Operation]) -> bool {
    let mut tester = LinearizabilityTester::new(PeerRegister(0_u64));
    for (_, ends, operation) in events(operations) {
        let told = if ends {
            let ret = match operation.output.as_u64() {
                Some(value) if operation.kind == "read" => RegisterRet::ReadOk(value),
                _ => RegisterRet::WriteOk,
            };
            tester.on_return(operation.process, ret).map(drop)
        } else {
            let op = match operation.input.as_u64() {
                Some(value) => RegisterOp::Write(value),
                None => RegisterOp::Read,
            };
            tester.on_invoke(operation.process, op).map(drop)
        };
        told.expect("clients do one thing at a time");
    }
    tester.is_consistent()
}

/// The verdict of todc-utils' checker. It knows no lost answers: each write without one is tried as one that takes part, at any time until the end, and as one
/// that does not.
pub fn todc(operations: &[Operation]) -> bool {
    let lost: Vec<&Operation> = operations
        .iter()
        .filter(|operation| operation.kind == "write" && operation.outcome != Outcome::Ok)
        .collect();
    let end = operations.iter().map(|operation| operation.ended).max().unwrap_or_default() + micros(1_000);
    (0..1_u64 << lost.len()).any(|chosen| {
        let takes_part = |operation: &Operation| {
            operation.outcome == Outcome::Ok
                || lost.iter().position(|lost| *lost == operation).is_some_and(|at| chosen >> at & 1 == 1)
        };
        let taking_part = operations.iter().filter(|operation| takes_part(operation)).cloned();
        let ended = taking_part.map(|operation| {
            let ended = if operation.outcome == Outcome::Ok { operation.ended } else { end };
            operation.ended(ended, Outcome::Ok)
        });
        let operations: Vec<Operation> = ended.collect();
        operations.is_empty() || complete(&operations)
    })
}

fn complete(operations: &[Operation]) -> bool {
    let mut places: Vec<u64> = operations.iter().map(|operation| operation.process).collect();
    places.sort_unstable();
    let actions = events(operations).into_iter().map(|(_, ends, operation)| {
        let what = match operation.input.as_u64() {
            Some(value) => RegisterOperation::Write(value),
            None => RegisterOperation::Read(operation.output.as_u64()),
        };
        let process = places.partition_point(|other| *other < operation.process);
        (process, if ends { Action::Response(what) } else { Action::Call(what) })
    });
    WGLChecker::<RegisterSpecification<u64>>::is_linearizable(History::from_actions(actions.collect()))
}
