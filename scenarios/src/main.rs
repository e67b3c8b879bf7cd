//! The `seaworthy` command.

use std::{alloc::System, process::ExitCode};

use seaworthy_telemetry::profiles::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// Counts allocations, for profiles of the shop, which this program is too.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    seaworthy_scenarios::cli::main()
}
