//! The `seaworthy` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    seaworthy_scenarios::cli::main()
}
