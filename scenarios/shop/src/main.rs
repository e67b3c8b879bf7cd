//! The shop as a program of its own.

use std::{alloc::System, process::ExitCode};

use seaworthy_telemetry::profiles::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// Counts allocations, for profiles of the running shop.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[tokio::main]
async fn main() -> ExitCode {
    seaworthy_shop::run_command(std::env::args_os()).await
}
