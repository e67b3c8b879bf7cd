//! A flame graph: each function is as wide as its share of the samples, above the function that called it.

use std::{collections::BTreeMap, fmt::Write as _};

use super::cpu::CpuProfile;

/// In pixels: the whole graph, a row, and the margin around.
const WIDTH: f64 = 1200.0;
const ROW: usize = 17;
const MARGIN: usize = 8;
/// What is narrower is left out: nobody could see it.
const MIN_WIDTH: f64 = 0.3;
/// About how wide a letter is.
const LETTER: f64 = 6.6;
const STYLE: &str =
    "text{font:11px monospace;pointer-events:none}rect{stroke:#fff;stroke-width:.5}rect:hover{stroke:#000}";

/// A function as called from those above it.
#[derive(Default)]
struct Node<'a> {
    samples: u64,
    callees: BTreeMap<&'a str, Node<'a>>,
}

impl Node<'_> {
    fn depth(&self) -> usize {
        1 + self.callees.values().map(Node::depth).max().unwrap_or(0)
    }
}

/// Draws the graph, as an SVG whose tooltips say the whole names and shares. The outermost function is at the top.
pub(super) fn draw(profile: &CpuProfile) -> String {
    let mut root = Node::default();
    for (stack, count) in &profile.stacks {
        root.samples += count;
        let mut node = &mut root;
        let names =
            std::iter::once(stack.thread.as_str()).chain(stack.frames.iter().map(|frame| &*frame.function));
        for name in names {
            node = node.callees.entry(name).or_default();
            node.samples += count;
        }
    }
    let title = format!(
        "{} samples in {} s, at {} a second of processor time",
        root.samples,
        profile.time.as_secs_f64(),
        profile.frequency
    );
    let (width, height) = (WIDTH as usize + 2 * MARGIN, (root.depth() + 1) * ROW + 2 * MARGIN);
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"><style>{STYLE}</style>"#
    );
    let (x, y) = (MARGIN as f64, MARGIN);
    // Writing to a string can't fail.
    _ = writeln!(svg, r#"<text x="{x}" y="{}">{title}</text>"#, y + 12);
    if root.samples > 0 {
        draw_node(&mut svg, "all", &root, root.samples, x, y + ROW);
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_node(svg: &mut String, name: &str, node: &Node<'_>, all: u64, x: f64, y: usize) {
    let width = WIDTH * node.samples as f64 / all as f64;
    if width < MIN_WIDTH {
        return;
    }
    let share = 100.0 * node.samples as f64 / all as f64;
    let (full, hue) = (escaped(name), hue(name));
    let letters = (width / LETTER) as usize;
    let shown: String = if name.chars().count() <= letters {
        name.to_owned()
    } else if letters > 3 {
        name.chars().take(letters - 1).chain(['…']).collect()
    } else {
        String::new()
    };
    // Writing to a string can't fail.
    _ = writeln!(
        svg,
        r#"<g><title>{full} ({} samples, {share:.1}%)</title><rect x="{x:.2}" y="{y}" width="{width:.2}" height="{ROW}" fill="hsl({hue},85%,68%)"/><text x="{:.2}" y="{}">{}</text></g>"#,
        node.samples,
        x + 2.0,
        y + 12,
        escaped(&shown)
    );
    let mut left = x;
    for (name, callee) in &node.callees {
        draw_node(svg, name, callee, all, left, y + ROW);
        left += WIDTH * callee.samples as f64 / all as f64;
    }
}

/// Warm, and the same for a function wherever it is.
fn hue(name: &str) -> u32 {
    name.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into())) % 55
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::profiles::cpu::{Frame, Stack};

    fn profile(stacks: &[(&[&str], u64)]) -> CpuProfile {
        let frame = |name: &&str| Frame { function: (*name).into(), file: String::new(), line: 1 };
        let stack =
            |names: &[&str]| Stack { thread: "worker".into(), frames: names.iter().map(frame).collect() };
        let stacks = stacks.iter().map(|(names, count)| (stack(names), *count)).collect();
        CpuProfile { stacks, began: SystemTime::now(), time: Duration::from_secs(2), frequency: 99 }
    }

    #[test]
    fn a_function_is_as_wide_as_its_share_of_the_samples() {
        let svg = draw(&profile(&[(&["main", "Vec<u8>::sort"], 3), (&["main", "wait & see"], 1)]));
        let boxes: Vec<_> = svg.lines().filter(|line| line.starts_with("<g>")).collect();
        let of =
            |title: &str| boxes.iter().find(|line| line.contains(title)).unwrap_or_else(|| panic!("{svg}"));
        assert_eq!(boxes.len(), 5);
        assert!(of("main (4 samples, 100.0%)").contains(r#"x="8.00" y="59" width="1200.00""#), "{svg}");
        assert!(
            of("Vec&lt;u8&gt;::sort (3 samples, 75.0%)").contains(r#"x="8.00" y="76" width="900.00""#),
            "{svg}"
        );
        assert!(
            of("wait &amp; see (1 samples, 25.0%)").contains(r#"x="908.00" y="76" width="300.00""#),
            "{svg}"
        );
    }

    #[test]
    fn no_samples_are_a_graph_that_says_so() {
        let svg = draw(&profile(&[]));
        assert!(
            svg.contains("0 samples in 2 s") && svg.ends_with("</svg>\n") && !svg.contains("<rect "),
            "{svg}"
        );
    }
}
