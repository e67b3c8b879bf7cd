//! The server `seaworthy-fault-proxy`: a drop-in for Toxiproxy's, for clients in any language.

mod server;

fn main() -> std::process::ExitCode {
    server::main()
}
