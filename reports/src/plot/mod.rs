//! Pictures as SVG. Their colours are those of paper; the page gives each of them another one in the dark, by its value.

mod histogram;
mod overview;
mod resources;
mod timeline;
mod trend;

use std::time::Duration;

use plotters::{
    coord::Shift,
    drawing::{DrawingArea, IntoDrawingArea},
    prelude::SVGBackend,
    style::{
        FontStyle, IntoFont, RGBColor, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

pub(crate) use histogram::histogram;
pub(crate) use overview::{Scale, overview};
pub(crate) use resources::resource;
pub(crate) use timeline::timeline;
pub(crate) use trend::trend;

use crate::{
    operations::OutcomeKind,
    record::{Run, ScenarioRecord},
};

pub(crate) const INK: RGBColor = RGBColor(0x33, 0x41, 0x50);
pub(crate) const SOFT: RGBColor = RGBColor(0x5D, 0x6B, 0x7A);
pub(crate) const LINE: RGBColor = RGBColor(0xDD, 0xE3, 0xE8);
pub(crate) const FAULT: RGBColor = RGBColor(0xA8, 0x5B, 0x4B);
pub(crate) const SHADE: RGBColor = RGBColor(0xF6, 0xE9, 0xE4);
/// Quantiles from the middle to the end: one hue, and the last ones stand out.
pub(crate) const P50: RGBColor = RGBColor(0x1B, 0x4F, 0x72);
pub(crate) const P95: RGBColor = RGBColor(0x24, 0x79, 0x9D);
pub(crate) const P99: RGBColor = RGBColor(0xB5, 0x52, 0x0F);
pub(crate) const MAX: RGBColor = RGBColor(0x64, 0x73, 0x82);
/// Outcomes, told apart also by those who don't see red and green.
pub(crate) const OK: RGBColor = RGBColor(0x3A, 0x7C, 0xA5);
pub(crate) const FAILED: RGBColor = RGBColor(0xE0, 0x9F, 0x3E);
pub(crate) const UNKNOWN: RGBColor = RGBColor(0x8E, 0x6C, 0xB8);
pub(crate) const TIMED_OUT: RGBColor = RGBColor(0xC0, 0x39, 0x3B);
/// One per service.
pub(crate) const SERVICES: [RGBColor; 6] = [
    RGBColor(0x35, 0x76, 0x9E),
    RGBColor(0xB5, 0x52, 0x10),
    RGBColor(0x33, 0x7A, 0x5A),
    RGBColor(0x7E, 0x5C, 0xAB),
    RGBColor(0x7F, 0x68, 0x15),
    RGBColor(0xA8, 0x4E, 0x70),
];

/// Pixels of every picture's width. Its text is of the size of the page's small print when the page is as wide as a desk's screen.
pub(crate) const WIDTH: u32 = 960;
/// Room for the labels on the left.
pub(crate) const GUTTER: u32 = 92;
/// Room for the names of lines on the right.
pub(crate) const MARGIN: u32 = 52;

/// Sizes of text, as plotters counts them: some 13 and 12 pixels.
const NORMAL: u32 = 16;
const SMALL: u32 = 15;

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(crate) type Drawn = Result<(), Box<dyn std::error::Error>>;

impl ScenarioRecord {
    /// Faults, latency and rate over time, as an SVG picture of its own.
    pub fn to_svg(&self) -> String {
        let run = Run { scenarios: vec![self.clone()], ..Run::default() }.as_logged();
        run.scenarios.iter().map(|record| overview(record, &Scale::of([record]))).collect()
    }
}

/// A picture of this height. Drawing into a string fails for no reason that we know; a report without a picture is still a report.
fn picture(height: u32, draw: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    picture_of(WIDTH, height, draw)
}

fn picture_of(width: u32, height: u32, draw: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        draw(&area).and_then(|()| Ok(area.present()?))
    };
    match drawn {
        Ok(()) => shorter(&svg),
        Err(_) => {
            "<svg xmlns=\"http://www.w3.org/2000/svg\"><text y=\"20\">no picture</text></svg>".to_owned()
        }
    }
}

/// Without what says nothing: full opacity, and the ends of lines.
fn shorter(svg: &str) -> String {
    svg.replace(" opacity=\"1\"", "").replace("\"/>\n<", "\"/><").replace(">\n", ">").replace("\n<", "<")
}

fn text(size: u32, colour: RGBColor, horizontal: HPos) -> TextStyle<'static> {
    let style = ("sans-serif", size).into_font().color(&colour);
    style.pos(Pos::new(horizontal, VPos::Center))
}

fn bold(size: u32, colour: RGBColor, horizontal: HPos) -> TextStyle<'static> {
    let style = ("sans-serif", size, FontStyle::Bold).into_font().color(&colour);
    style.pos(Pos::new(horizontal, VPos::Center))
}

pub(crate) fn colour_of(outcome: OutcomeKind) -> RGBColor {
    match outcome {
        OutcomeKind::Ok => OK,
        OutcomeKind::Failed => FAILED,
        OutcomeKind::Unknown => UNKNOWN,
        OutcomeKind::TimedOut => TIMED_OUT,
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Milliseconds at a power of ten, as a short label.
fn latency_label(ms: f64) -> String {
    if ms >= 999.5 {
        format!("{} s", (ms / 1e3 * 100.0).round() / 100.0)
    } else {
        format!("{} ms", (ms * 1e3).round() / 1e3)
    }
}

/// Seconds of a scenario, as a short label of an axis whose marks lie in this span.
fn seconds_label(seconds: f64, from: f64, to: f64) -> String {
    let whole = seconds.round() as u64;
    match to {
        _ if to - from < 8.0 && to < 300.0 => format!("{} s", (seconds * 10.0).round() / 10.0),
        _ if to < 300.0 => format!("{whole} s"),
        _ if to < 7_200.0 => format!("{}:{:02}", whole / 60, whole % 60),
        _ if to - from < 600.0 => format!("{}:{:02}:{:02}", whole / 3_600, whole / 60 % 60, whole % 60),
        _ => format!("{}:{:02} h", whole / 3_600, whole / 60 % 60),
    }
}

/// Marks on an axis of time up to here: round numbers, about this many.
fn time_marks(from: f64, to: f64, most: usize) -> Vec<f64> {
    let steps =
        [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0];
    let span = to - from;
    let longer = (0..).map(|power| 7_200.0 * 2.0_f64.powi(power));
    let step =
        steps.into_iter().chain(longer.take(40)).find(|step| span / step <= most as f64).unwrap_or(span);
    let first = (from / step).ceil();
    (0..=most).map(|number| (first + number as f64) * step).filter(|mark| *mark <= to).collect()
}

/// How wide a text is, about, in pixels.
fn text_width(text: &str, size: u32) -> f64 {
    text.chars().count() as f64 * f64::from(size) * 0.47
}
