//! One scenario over many runs.

use std::time::Duration;

use plotters::{
    element::{Circle, PathElement, Rectangle, Text},
    style::{Color, text_anchor::HPos},
};

use super::{
    GUTTER, LINE, NORMAL, OK, P50, P99, SOFT, TIMED_OUT, UNKNOWN, WIDTH, bold, latency_label, millis,
    picture, text,
};
use crate::record::Verdict;

const HEIGHT: u32 = 200;
const TOP: i32 = 12;
const GROUND: i32 = HEIGHT as i32 - 44;
const RIGHT: i32 = WIDTH as i32 - 52;

/// What is drawn of one run: its verdict, unless it was skipped, p50 and p99.
pub(crate) type Point = (Option<Verdict>, Option<Duration>, Option<Duration>);

/// p50 and p99 of run after run, above a strip of their verdicts.
pub(crate) fn trend(points: &[Point]) -> String {
    let latencies = points
        .iter()
        .flat_map(|(_, p50, p99)| [*p50, *p99])
        .flatten()
        .map(|latency| millis(latency).max(0.01));
    let (least, most) =
        latencies.fold((1.0_f64, 10.0_f64), |(least, most), ms| (least.min(ms), most.max(ms)));
    let (low, high) = (10_f64.powf(least.log10().floor()), 10_f64.powf((most * 0.999).log10().ceil()));
    let left = GUTTER as i32;
    let step = f64::from(RIGHT - left) / points.len().max(1) as f64;
    let x = |number: usize| left + ((number as f64 + 0.5) * step).round() as i32;
    let y = |latency: Duration| {
        let share = (millis(latency).clamp(low, high) / low).log10() / (high / low).log10();
        GROUND - (share * f64::from(GROUND - TOP)).round() as i32
    };
    picture(HEIGHT, |area| {
        let mut mark = low;
        while mark <= high * 1.001 {
            let at = y(Duration::from_secs_f64(mark / 1e3));
            area.draw(&PathElement::new([(left, at), (RIGHT, at)], LINE))?;
            area.draw(&Text::new(latency_label(mark), (left - 10, at), text(NORMAL, SOFT, HPos::Right)))?;
            mark *= 10.0;
        }
        let p50s = points.iter().map(|(_, p50, _)| *p50);
        let p99s = points.iter().map(|(_, _, p99)| *p99);
        let mut free = GROUND;
        for (latencies, name, colour) in
            [(p50s.collect::<Vec<_>>(), "p50", P50), (p99s.collect(), "p99", P99)]
        {
            let line = latencies
                .into_iter()
                .enumerate()
                .filter_map(|(number, latency)| Some((x(number), y(latency?))));
            let line: Vec<_> = line.collect();
            let Some(last) = line.last().copied() else { continue };
            let at = last.1.min(free);
            area.draw(&Text::new(name, (RIGHT + 10, at), bold(NORMAL, colour, HPos::Left)))?;
            free = at - 15;
            for dot in &line {
                area.draw(&Circle::new(*dot, if points.len() > 80 { 2 } else { 3 }, colour.filled()))?;
            }
            area.draw(&PathElement::new(line, colour.stroke_width(2)))?;
        }
        area.draw(&Text::new("verdict", (left - 10, GROUND + 24), text(NORMAL, SOFT, HPos::Right)))?;
        for (number, (verdict, ..)) in points.iter().enumerate() {
            let half = ((step / 2.0 - 1.0).clamp(1.0, 9.0)) as i32;
            // The worse, the taller: not by colour alone.
            let (colour, tall) = match verdict {
                Some(Verdict::Held) => (OK, 3),
                Some(Verdict::Unknown) => (UNKNOWN, 6),
                Some(Verdict::Violated) => (TIMED_OUT, 10),
                None => (LINE, 1),
            };
            let corners = [(x(number) - half, GROUND + 24 - tall), (x(number) + half, GROUND + 24 + tall)];
            area.draw(&Rectangle::new(corners, colour.filled()))?;
        }
        Ok(())
    })
}
