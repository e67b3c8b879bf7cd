//! Faults, latency and rate over time, one above the other.

use std::time::Duration;

use plotters::{
    chart::{ChartBuilder, ChartContext},
    coord::{
        Shift,
        combinators::{IntoLogRange, LogCoord},
        types::RangedCoordf64,
    },
    drawing::DrawingArea,
    element::{Circle, PathElement, Rectangle, Text},
    prelude::{Cartesian2d, SVGBackend},
    style::{Color, RGBColor, text_anchor::HPos},
};

use super::{
    Area, Drawn, FAULT, GUTTER, LINE, MARGIN, MAX, NORMAL, P50, P95, P99, SHADE, SMALL, SOFT, WIDTH, bold,
    colour_of, latency_label, millis, picture_of, seconds_label, text, text_width, time_marks,
};
use crate::{
    operations::{OutcomeKind, Slice},
    record::{FaultWindow, ScenarioRecord},
};

const LANE: u32 = 22;
/// Services with a lane of their own; faults of the others share the last one.
const MOST_LANES: usize = 8;
const LATENCY: u32 = 236;
const RATE: u32 = 118;
const FOOT: u32 = 26;

/// The ends of the axes. Runs that are compared share them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// Pixels from left to right.
    width: u32,
    seconds: f64,
    /// Milliseconds, powers of ten.
    latency: (f64, f64),
    rate: f64,
}

impl Scale {
    pub(crate) fn of<'a>(records: impl IntoIterator<Item = &'a ScenarioRecord>) -> Self {
        let mut scale = Scale { width: WIDTH, seconds: 1.0, latency: (1.0, 10.0), rate: 1.0 };
        for record in records {
            let healed = record.faults.iter().map(|fault| fault.to).max().unwrap_or_default();
            scale.seconds = scale.seconds.max(record.operations.end().max(healed).as_secs_f64());
            for slice in record.operations.for_drawing() {
                let latencies = &slice.tally.latencies;
                let low = latencies.quantile(0.5).map_or(1.0, millis).max(0.01);
                let high = latencies.max().map_or(1.0, millis).max(0.01);
                scale.latency.0 = scale.latency.0.min(10_f64.powf(low.log10().floor()));
                scale.latency.1 = scale.latency.1.max(10_f64.powf((high * 1.05).log10().ceil()));
                scale.rate = scale.rate.max(rate(&slice, slice.tally.counts.total()));
            }
        }
        scale
    }
}

impl Scale {
    /// The same axes in a picture that has room beside another one.
    pub(crate) fn narrow(self) -> Self {
        Scale { width: 540, ..self }
    }

    /// The end of the axis of time.
    pub(super) fn seconds(&self) -> f64 {
        self.seconds
    }
}

/// Faults, latency and rate of a scenario.
pub(crate) fn overview(record: &ScenarioRecord, scale: &Scale) -> String {
    let lanes = lanes(&record.faults);
    let lanes_height = if lanes.is_empty() { 0 } else { LANE * lanes.len() as u32 + 10 };
    picture_of(scale.width, lanes_height + LATENCY + RATE + FOOT, |area| {
        let slices = record.operations.for_drawing();
        let (top, rest) = area.split_vertically(lanes_height);
        let (middle, bottom) = rest.split_vertically(LATENCY);
        if !lanes.is_empty() {
            draw_lanes(&top, record, &lanes, scale)?;
        }
        draw_latency(&middle, record, &slices, scale)?;
        draw_rate(&bottom, record, &slices, scale)
    })
}

/// The services that had faults, in the order of their first.
fn lanes(faults: &[FaultWindow]) -> Vec<&str> {
    let mut lanes: Vec<&str> = Vec::new();
    for fault in faults {
        if !lanes.contains(&fault.target.as_str()) && lanes.len() < MOST_LANES {
            lanes.push(&fault.target);
        }
    }
    lanes
}

fn draw_lanes(area: &Area<'_>, record: &ScenarioRecord, lanes: &[&str], scale: &Scale) -> Drawn {
    let x = |at: Duration| {
        let wide = f64::from(scale.width - GUTTER - MARGIN);
        (f64::from(GUTTER) + at.as_secs_f64() / scale.seconds * wide).round() as i32
    };
    for (number, lane) in lanes.iter().enumerate() {
        let last = number + 1 == MOST_LANES;
        let mine: Vec<&FaultWindow> = record
            .faults
            .iter()
            .filter(|fault| fault.target == *lane || (last && !lanes.contains(&fault.target.as_str())))
            .collect();
        let (top, bottom) = ((LANE * number as u32 + 4) as i32, (LANE * (number as u32 + 1)) as i32);
        let middle = (top + bottom) / 2;
        let name = crate::text::bounded(lane, 13);
        area.draw(&Text::new(name, (GUTTER as i32 - 10, middle), text(NORMAL, SOFT, HPos::Right)))?;
        area.draw(&PathElement::new(
            [(x(Duration::ZERO), middle), ((scale.width - MARGIN) as i32, middle)],
            LINE,
        ))?;
        for (place, fault) in mine.iter().enumerate() {
            let (from, to) = (x(fault.from), x(fault.to).max(x(fault.from) + 3));
            area.draw(&Rectangle::new([(from, top + 2), (to, bottom - 2)], FAULT.filled()))?;
            // Its name where there is room: beside it, before the next one begins.
            let width = text_width(&fault.fault, SMALL) as i32 + 8;
            let free = mine.get(place + 1).map_or((scale.width - 4) as i32, |next| x(next.from));
            if to + width <= free {
                area.draw(&Text::new(fault.fault.clone(), (to + 6, middle), bold(SMALL, FAULT, HPos::Left)))?;
            }
        }
    }
    Ok(())
}

type Latency<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, LogCoord<f64>>>;

fn draw_latency(area: &Area<'_>, record: &ScenarioRecord, slices: &[Slice], scale: &Scale) -> Drawn {
    let (low, high) = scale.latency;
    let mut chart = ChartBuilder::on(area)
        .margin_top(8)
        .margin_bottom(10)
        .margin_left(GUTTER as i32)
        .margin_right(MARGIN as i32)
        .build_cartesian_2d(0.0..scale.seconds, (low..high).log_scale())?;
    shade(&mut chart, &record.faults, (low, high))?;
    let mut mark = low;
    while mark <= high * 1.001 {
        chart.draw_series([PathElement::new([(0.0, mark), (scale.seconds, mark)], LINE)])?;
        let (x, y) = chart.backend_coord(&(0.0, mark));
        label(area, latency_label(mark), (x - 10, y), SOFT, HPos::Right)?;
        mark *= 10.0;
    }
    let mut names = Vec::new();
    // Where a slice has few operations these lie on each other: p99's halo still shows below p95, and the dots of the maximum above both.
    for (share, name, colour, width) in
        [(0.99, "p99", P99, 2), (0.95, "p95", P95, 2), (0.5, "p50", P50, 2), (1.0, "max", MAX, 0)]
    {
        let mut line: Vec<(f64, f64)> = Vec::new();
        let mut ended = Duration::ZERO;
        for slice in slices {
            let Some(latency) = slice.tally.latencies.quantile(share) else { continue };
            // No line across a time in which nothing was done.
            if slice.at > ended + slice.lasts {
                draw_line(&mut chart, &mut line, colour, width)?;
            }
            ended = slice.at + slice.lasts;
            let middle = (slice.at + slice.lasts / 2).as_secs_f64().min(scale.seconds);
            line.push((middle, millis(latency).clamp(low, high)));
        }
        if let Some(last) = line.last() {
            names.push((chart.backend_coord(last).1, name, colour));
        }
        draw_line(&mut chart, &mut line, colour, width)?;
    }
    // From top to bottom, each at its line's end, or just below the one before.
    names.sort_by_key(|(y, ..)| *y);
    let highest = area.get_pixel_range().1.start + 12;
    let mut free = highest;
    for (y, name, colour) in names {
        let y = y.max(free);
        label_bold(area, name, ((scale.width - MARGIN) as i32 + 8, y), colour)?;
        free = y + 15;
    }
    Ok(())
}

/// The points as a line of this width, or as dots when it has none.
fn draw_line(chart: &mut Latency<'_>, line: &mut Vec<(f64, f64)>, colour: RGBColor, width: u32) -> Drawn {
    let line = std::mem::take(line);
    if width == 0 {
        chart.draw_series(line.into_iter().map(|point| Circle::new(point, 3, colour.filled())))?;
    } else if let [alone] = line[..] {
        chart.draw_series([Circle::new(alone, width + 1, colour.filled())])?;
    } else if line.len() > 1 {
        if colour == P99 {
            chart.draw_series([PathElement::new(line.clone(), P99.mix(0.28).stroke_width(8))])?;
        }
        chart.draw_series([PathElement::new(line, colour.stroke_width(width))])?;
    }
    Ok(())
}

fn draw_rate(area: &Area<'_>, record: &ScenarioRecord, slices: &[Slice], scale: &Scale) -> Drawn {
    let top = nice(scale.rate);
    let mut chart = ChartBuilder::on(area)
        .margin_top(8)
        .margin_bottom(FOOT as i32)
        .margin_left(GUTTER as i32)
        .margin_right(MARGIN as i32)
        .build_cartesian_2d(0.0..scale.seconds, 0.0..top)?;
    for fault in &record.faults {
        let (from, to) = (fault.from.as_secs_f64(), fault.to.as_secs_f64());
        chart.draw_series([Rectangle::new([(from, 0.0), (to, top)], SHADE.filled())])?;
    }
    for mark in [0.0, top / 2.0, top] {
        chart.draw_series([PathElement::new([(0.0, mark), (scale.seconds, mark)], LINE)])?;
        let (x, y) = chart.backend_coord(&(0.0, mark));
        let rate = (mark * 100.0).round() / 100.0;
        label(area, format!("{rate}/s"), (x - 10, y), SOFT, HPos::Right)?;
    }
    for slice in slices {
        let (from, lasts) = (slice.at.as_secs_f64(), slice.lasts.as_secs_f64());
        let mut base = 0.0;
        for outcome in OutcomeKind::ALL {
            let height = rate(slice, slice.tally.counts.of(outcome));
            if height > 0.0 {
                let corners =
                    [(from + lasts * 0.08, base), ((from + lasts * 0.92).min(scale.seconds), base + height)];
                chart.draw_series([Rectangle::new(corners, colour_of(outcome).filled())])?;
                base += height;
            }
        }
    }
    for mark in time_marks(0.0, scale.seconds, scale.width as usize / 90) {
        let (x, y) = chart.backend_coord(&(mark, 0.0));
        label(area, seconds_label(mark, 0.0, scale.seconds), (x, y + 16), SOFT, HPos::Center)?;
    }
    Ok(())
}

fn shade(chart: &mut Latency<'_>, faults: &[FaultWindow], (low, high): (f64, f64)) -> Drawn {
    for fault in faults {
        let (from, to) = (fault.from.as_secs_f64(), fault.to.as_secs_f64());
        chart.draw_series([Rectangle::new([(from, low), (to, high)], SHADE.filled())])?;
    }
    Ok(())
}

/// A label at a place of the whole picture, drawn on one of its parts.
fn label(area: &Area<'_>, words: String, at: (i32, i32), colour: RGBColor, side: HPos) -> Drawn {
    area.draw(&Text::new(words, within(area, at), text(NORMAL, colour, side)))?;
    Ok(())
}

fn label_bold(area: &Area<'_>, words: &str, at: (i32, i32), colour: RGBColor) -> Drawn {
    area.draw(&Text::new(words.to_owned(), within(area, at), bold(NORMAL, colour, HPos::Left)))?;
    Ok(())
}

fn within(area: &DrawingArea<SVGBackend<'_>, Shift>, (x, y): (i32, i32)) -> (i32, i32) {
    let (left, top) = area.get_pixel_range();
    (x - left.start, y - top.start)
}

/// So many in this slice, per second.
fn rate(slice: &Slice, times: u64) -> f64 {
    times as f64 / slice.lasts.as_secs_f64().max(1e-6)
}

/// The next number above that is read easily.
pub(super) fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    let steps = [1.0, 1.2, 1.6, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= value * 0.999_999).unwrap_or(10.0);
    step * power
}
