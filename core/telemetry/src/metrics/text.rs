//! From OpenMetrics to Prometheus' older text format.

use std::fmt::Write as _;

/// The same page in the text format 0.0.4, which has no units, no exemplars and no end mark, and where a counter's family is called as its
/// series are, with `_total`.
pub(super) fn to_prometheus(open_metrics: &str) -> String {
    let mut page = String::with_capacity(open_metrics.len());
    let mut help: Option<(&str, &str)> = None;
    for line in open_metrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, text)) = help.take().filter(|(described, _)| *described == name) {
                let _ = writeln!(page, "# HELP {name}{suffix} {text}");
            }
            let kind = if kind == "unknown" { "untyped" } else { kind };
            let _ = writeln!(page, "# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with('#') {
            page.push_str(without_exemplar(line));
            page.push('\n');
        }
    }
    page
}

/// A sample's line up to its exemplar, which begins after ` # ` outside of quotes.
fn without_exemplar(line: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'#' if !quoted => return line[..at].trim_end(),
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_rewritten_line_by_line() {
        let page = "# HELP hits Hits.\n# TYPE hits counter\nhits_total{path=\"a\\\" # {\"} 3 # {trace_id=\"1\"} 1.0\n\
                    # HELP size_bytes Size.\n# TYPE size_bytes gauge\n# UNIT size_bytes bytes\nsize_bytes 7\n# EOF\n";
        insta::assert_snapshot!(to_prometheus(page), @r##"
        # HELP hits_total Hits.
        # TYPE hits_total counter
        hits_total{path="a\" # {"} 3
        # HELP size_bytes Size.
        # TYPE size_bytes gauge
        size_bytes 7
        "##);
    }
}
