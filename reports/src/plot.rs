//! Latency over time, as SVG.

use std::time::Duration;

use plotters::{
    chart::ChartBuilder,
    coord::combinators::IntoLogRange,
    drawing::IntoDrawingArea,
    element::{Circle, Rectangle, Text},
    prelude::{LineSeries, SVGBackend},
    style::{Color, IntoFont, RGBColor, ShapeStyle},
};

use crate::record::{OutcomeKind, ScenarioRecord};

const SIZE: (u32, u32) = (960, 300);
/// Colours that can be read on white and on black, and told apart by those who don't see red and green.
const OK: RGBColor = RGBColor(42, 120, 190);
const FAILED: RGBColor = RGBColor(222, 128, 24);
const TIMED_OUT: RGBColor = RGBColor(205, 50, 60);
const FAULT: RGBColor = RGBColor(205, 50, 60);
const LINE: RGBColor = RGBColor(128, 132, 140);
/// The plot's lower and upper ends unless an operation took longer, in milliseconds.
const FLOOR_MS: f64 = 0.5;
const CEILING_MS: f64 = 1000.0;

impl ScenarioRecord {
    /// Latency over time, as an SVG picture of its own: every operation is a dot, a line follows the median of each slice of
    /// time, and the times of faults are shaded.
    pub fn to_svg(&self) -> String {
        let mut svg = String::new();
        if let Err(error) = draw(self, &mut svg) {
            // Drawing into a string fails for no reason that we know; a report without its plot is still a report.
            return format!("<svg xmlns=\"http://www.w3.org/2000/svg\"><text y=\"20\">{error}</text></svg>");
        }
        svg
    }
}

fn draw(scenario: &ScenarioRecord, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let end = scenario.samples.iter().map(|sample| sample.at + sample.latency);
    let end = end.chain(scenario.faults.iter().map(|fault| fault.to)).max().unwrap_or(Duration::from_secs(1));
    let end = end.as_secs_f64().max(1.0);
    let slowest =
        scenario.samples.iter().map(|sample| millis(sample.latency)).fold(CEILING_MS, f64::max) * 1.5;

    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .margin_right(16)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..end, (FLOOR_MS..slowest).log_scale())?;
    let label = ("sans-serif", 13).into_font().color(&LINE);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(LINE.mix(0.0))
        .bold_line_style(LINE.mix(0.3))
        .axis_style(LINE)
        .label_style(label.clone())
        .axis_desc_style(label.clone())
        .x_desc("seconds from the start")
        .y_desc("latency (ms)")
        .x_labels(12)
        .y_labels(5)
        .draw()?;

    for fault in &scenario.faults {
        let (from, to) = (fault.from.as_secs_f64(), fault.to.as_secs_f64());
        let shade = Rectangle::new([(from, FLOOR_MS), (to, slowest)], FAULT.mix(0.14).filled());
        chart.draw_series([shade])?;
    }
    // Rows, so that the names of windows that follow each other closely don't cover each other.
    for (number, fault) in scenario.faults.iter().enumerate() {
        const ROWS: usize = 4;
        let height = slowest / 1.45_f64.powi(i32::try_from(number % ROWS)? + 1);
        let style = ("sans-serif", 12).into_font().color(&FAULT);
        let name = format!("{} {}", fault.target, fault.fault);
        chart.draw_series([Text::new(name, (fault.from.as_secs_f64() + 0.04, height), style)])?;
    }

    for (kind, colour) in [
        (OutcomeKind::Ok, OK),
        (OutcomeKind::Failed, FAILED),
        (OutcomeKind::Unknown, FAILED),
        (OutcomeKind::TimedOut, TIMED_OUT),
    ] {
        let dots = scenario.samples.iter().filter(|sample| sample.outcome == kind);
        let style = ShapeStyle::from(colour.mix(0.55)).filled();
        chart.draw_series(dots.map(|sample| {
            Circle::new((sample.at.as_secs_f64(), millis(sample.latency).max(FLOOR_MS)), 2, style)
        }))?;
    }
    chart.draw_series(LineSeries::new(medians(scenario, end), OK.stroke_width(2)))?;
    area.present()?;
    Ok(())
}

/// The median latency of each of 60 slices of time that have any operation.
fn medians(scenario: &ScenarioRecord, end: f64) -> Vec<(f64, f64)> {
    const SLICES: usize = 60;
    let mut slices = vec![Vec::new(); SLICES];
    for sample in &scenario.samples {
        let slice = (sample.at.as_secs_f64() / end * SLICES as f64) as usize;
        slices[slice.min(SLICES - 1)].push(millis(sample.latency));
    }
    let width = end / SLICES as f64;
    let points = slices.into_iter().enumerate().filter_map(|(number, mut slice)| {
        slice.sort_by(f64::total_cmp);
        let median = slice.get(slice.len() / 2)?;
        Some(((number as f64 + 0.5) * width, median.max(FLOOR_MS)))
    });
    points.collect()
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
