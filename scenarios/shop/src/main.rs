//! The shop as a program of its own.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    seaworthy_shop::run_command(std::env::args_os()).await
}
