//! How latencies are spread.

use plotters::{
    element::{PathElement, Rectangle, Text},
    style::{Color, text_anchor::HPos},
};

use super::{
    GUTTER, LINE, MAX, NORMAL, OK, P50, P95, P99, SOFT, WIDTH, bold, latency_label, millis, picture, text,
    text_width,
};
use crate::{operations::Latencies, words};

const HEIGHT: u32 = 250;
/// Where the bars begin and stand, from above.
const TOP: i32 = 62;
const GROUND: i32 = HEIGHT as i32 - 30;
const RIGHT: i32 = WIDTH as i32 - 24;
const BARS: usize = 80;

/// Bars over latencies, each as wide as the others on a logarithmic axis, with the quantiles marked.
pub(crate) fn histogram(latencies: &Latencies) -> String {
    let least = latencies.buckets().next().map_or(1.0, |(latency, _)| millis(latency)).max(0.01);
    let most = latencies.max().map_or(1.0, millis).max(0.01);
    let (low, mut high) = (10_f64.powf(least.log10().floor()), 10_f64.powf((most * 1.01).log10().ceil()));
    if high / low < 100.0 {
        high = low * 100.0;
    }
    let place = |ms: f64| ((ms.max(low) / low).log10() / (high / low).log10()).clamp(0.0, 1.0);
    let mut bars = [0_u64; BARS];
    for (latency, times) in latencies.buckets() {
        let bar = (place(millis(latency)) * BARS as f64) as usize;
        let bar = &mut bars[bar.min(BARS - 1)];
        *bar = bar.saturating_add(times);
    }
    let tallest = bars.iter().copied().max().unwrap_or(1).max(1);
    let left = GUTTER as i32;
    let wide = f64::from(RIGHT - left);
    let x = |share: f64| left + (share * wide).round() as i32;
    picture(HEIGHT, |area| {
        for (share, count) in [(0.0, 0), (0.5, tallest / 2), (1.0, tallest)] {
            let y = GROUND - (share * f64::from(GROUND - TOP)) as i32;
            area.draw(&PathElement::new([(left, y), (RIGHT, y)], LINE))?;
            area.draw(&Text::new(words::count(count), (left - 10, y), text(NORMAL, SOFT, HPos::Right)))?;
        }
        let mut mark = low;
        while mark <= high * 1.001 {
            area.draw(&Text::new(
                latency_label(mark),
                (x(place(mark)), GROUND + 18),
                text(NORMAL, SOFT, HPos::Center),
            ))?;
            mark *= 10.0;
        }
        for (number, count) in bars.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            let height = (count as f64 / tallest as f64 * f64::from(GROUND - TOP)).max(1.5) as i32;
            let (from, to) = (number as f64 / BARS as f64, (number + 1) as f64 / BARS as f64);
            area.draw(&Rectangle::new([(x(from) + 1, GROUND - height), (x(to) - 1, GROUND)], OK.filled()))?;
        }
        // Names in rows, so that marks that lie close together don't hide each other.
        let mut row_ends = [0_i32; 3];
        for (share, name, colour) in
            [(0.5, "p50", P50), (0.95, "p95", P95), (0.99, "p99", P99), (1.0, "max", MAX)]
        {
            let Some(latency) = latencies.quantile(share) else { continue };
            let at = x(place(millis(latency)));
            let words = format!("{name} {}", words::latency(latency));
            let width = (text_width(&words, NORMAL) * 1.15) as i32 + 16;
            let row = row_ends.iter().position(|end| *end <= at).unwrap_or(row_ends.len() - 1);
            row_ends[row] = at + width;
            let y = 10 + 17 * row as i32;
            area.draw(&PathElement::new([(at, y - 6), (at, GROUND)], colour.stroke_width(1)))?;
            let (start, side) =
                if at + width > WIDTH as i32 { (at - 5, HPos::Right) } else { (at + 5, HPos::Left) };
            area.draw(&Text::new(words, (start, y), bold(NORMAL, colour, side)))?;
        }
        Ok(())
    })
}
