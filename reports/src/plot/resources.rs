//! What services used over time: one picture per resource, one line per service.

use plotters::{
    element::{PathElement, Rectangle, Text},
    style::{Color, text_anchor::HPos},
};

use super::{
    GUTTER, LINE, NORMAL, SERVICES, SHADE, SOFT, Scale, WIDTH, bold, overview::nice, picture, seconds_label,
    text, time_marks,
};
use crate::{
    record::ScenarioRecord,
    resources::{Series, Unit},
    words,
};

const HEIGHT: u32 = 200;
const TOP: i32 = 12;
const GROUND: i32 = HEIGHT as i32 - 28;
/// Room for the names of services on the right.
const RIGHT: i32 = WIDTH as i32 - 128;

/// Lines of one resource. All of the series have the same unit.
pub(crate) fn resource(record: &ScenarioRecord, series: &[&Series]) -> String {
    let unit = series.first().map_or(Unit::Count, |series| series.unit);
    let end = series.iter().flat_map(|series| series.points()).map(|(at, _)| at.as_secs_f64());
    let end = end.fold(Scale::of([record]).seconds(), f64::max);
    let peak = series.iter().map(|series| series.peak()).fold(0.0, f64::max);
    let top = top_of(peak, unit);
    let left = GUTTER as i32;
    let x = |at: f64| left + ((at / end).clamp(0.0, 1.0) * f64::from(RIGHT - left)).round() as i32;
    let y = |value: f64| GROUND - ((value / top).clamp(0.0, 1.0) * f64::from(GROUND - TOP)).round() as i32;
    picture(HEIGHT, |area| {
        for fault in &record.faults {
            let corners = [(x(fault.from.as_secs_f64()), TOP), (x(fault.to.as_secs_f64()), GROUND)];
            area.draw(&Rectangle::new(corners, SHADE.filled()))?;
        }
        for mark in [0.0, top / 2.0, top] {
            area.draw(&PathElement::new([(left, y(mark)), (RIGHT, y(mark))], LINE))?;
            area.draw(&Text::new(
                words::value(mark, unit),
                (left - 10, y(mark)),
                text(NORMAL, SOFT, HPos::Right),
            ))?;
        }
        for mark in time_marks(0.0, end, 10) {
            area.draw(&Text::new(
                seconds_label(mark, 0.0, end),
                (x(mark), GROUND + 16),
                text(NORMAL, SOFT, HPos::Center),
            ))?;
        }
        let mut names = Vec::new();
        for (series, colour) in series.iter().zip(SERVICES.iter().cycle()) {
            let line: Vec<_> =
                series.points().iter().map(|(at, value)| (x(at.as_secs_f64()), y(*value))).collect();
            let Some(last) = line.last() else { continue };
            names.push((last.1, crate::text::bounded(&series.service, 15), *colour));
            area.draw(&PathElement::new(line, colour.stroke_width(2)))?;
        }
        names.sort_by_key(|(y, ..)| *y);
        // From below, so that many lines near the ground push their names up and not out of the picture.
        let mut free = GROUND;
        for (y, name, colour) in names.into_iter().rev() {
            let y = y.min(free);
            area.draw(&Text::new(name, (RIGHT + 10, y), bold(NORMAL, colour, HPos::Left)))?;
            free = y - 15;
        }
        Ok(())
    })
}

/// The upper end of the axis: a round number of its unit.
fn top_of(peak: f64, unit: Unit) -> f64 {
    match unit {
        Unit::Bytes => {
            let scale = 1024_f64.powf((peak.max(1.0).log2() / 10.0).floor());
            nice(peak.max(1.0) / scale) * scale
        }
        Unit::Count => nice(peak.max(2.0)),
        Unit::Share | Unit::Seconds => nice(peak.max(0.01)),
    }
}
