//! Prometheus' own checks.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

/// Runs `promtool` with these arguments, and fails with what it says unless it finds nothing wrong. Where it is not installed, prints a
/// line, or fails if `SEAWORTHY_REQUIRE_PROMTOOL` is set.
pub(crate) fn accepts(args: &[&str], input: Option<&str>) {
    let mut command = Command::new("promtool");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        assert!(std::env::var_os("SEAWORTHY_REQUIRE_PROMTOOL").is_none(), "promtool is not installed");
        eprintln!("skipped: promtool is not installed (Debian: apt-get install prometheus)");
        return;
    };
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.unwrap_or_default().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let quiet = input.is_none() || said.trim().is_empty();
    assert!(output.status.success() && quiet, "promtool {}: {said}", args.join(" "));
}
