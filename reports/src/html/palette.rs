//! The page's style, with the colours of its pictures in both themes.

use plotters::style::RGBColor;

use crate::plot::{
    FAILED, FAULT, INK, LINE, MAX, OK, P50, P95, P99, SERVICES, SHADE, SOFT, TIMED_OUT, UNKNOWN,
};

const STYLE: &str = include_str!("style.css");
const DARK: &str = include_str!("dark.css");

/// The pictures' colours, each by the name of the page's colour that takes its place.
const PICTURES: [(RGBColor, &str); 13] = [
    (INK, "ink"),
    (SOFT, "soft"),
    (LINE, "line"),
    (FAULT, "fault"),
    (SHADE, "shade"),
    (P50, "p50"),
    (P95, "p95"),
    (P99, "p99"),
    (MAX, "max"),
    (OK, "ok"),
    (FAILED, "failed"),
    (UNKNOWN, "maybe"),
    (TIMED_OUT, "late"),
];

/// The colours of services on a dark ground, in their order.
const DARK_SERVICES: [&str; 6] = ["#63a9d4", "#f0965a", "#67c39a", "#b094d8", "#d3b654", "#e08caa"];

pub(super) fn style() -> String {
    let mut dark_services = String::new();
    for (number, colour) in DARK_SERVICES.iter().enumerate() {
        dark_services.push_str(&format!("--service-{number}: {colour};\n"));
    }
    let dark = format!("{DARK}{dark_services}");
    let themes = format!(
        "@media screen and (prefers-color-scheme: dark) {{ :root:not([data-theme=light]) {{\n{dark}}} }}\n\
         @media screen {{ :root[data-theme=dark] {{\n{dark}}} }}\n"
    );
    let mut style = STYLE.replace("/* DARK */\n", &themes);
    for (colour, name) in PICTURES {
        rule(&mut style, colour, &format!("var(--{name})"));
    }
    for (number, colour) in SERVICES.into_iter().enumerate() {
        rule(&mut style, colour, &format!("var(--service-{number}, {})", hex(colour)));
    }
    style
}

fn rule(style: &mut String, colour: RGBColor, becomes: &str) {
    let hex = hex(colour);
    style.push_str(&format!(
        ".plot [fill=\"{hex}\"] {{ fill: {becomes}; }}\n.plot [stroke=\"{hex}\"] {{ stroke: {becomes}; }}\n"
    ));
}

/// As plotters writes it.
fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02X}{green:02X}{blue:02X}")
}
