//! The queue's command line as a program of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    seaworthy_queue_command::main()
}
