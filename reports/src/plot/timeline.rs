//! Operations around a violation, each a bar from its intended start to its end.

use std::time::Duration;

use plotters::{
    element::{Circle, PathElement, Rectangle, Text},
    style::{Color, text_anchor::HPos},
};

use super::{
    Drawn, FAULT, INK, LINE, NORMAL, SHADE, SMALL, SOFT, TIMED_OUT, WIDTH, bold, colour_of, picture,
    seconds_label, text, text_width, time_marks,
};
use crate::{
    focus::{Focus, SingleOperation},
    operations::OutcomeKind,
    record::{Check, ScenarioRecord},
};

const ROW: i32 = 17;
const MOST_ROWS: usize = 36;
const TOP: i32 = 34;
const LEFT: i32 = 176;
const RIGHT: i32 = WIDTH as i32 - 24;

/// The operations that the check is about, and others around them, with the faults that were on.
pub(crate) fn timeline(record: &ScenarioRecord, check: &Check, focus: Focus) -> String {
    let rows = rows(record, check, focus);
    let ground = TOP + ROW * rows.len() as i32 + 6;
    let (from, to) = (focus.from.as_secs_f64(), focus.to.as_secs_f64());
    let x = |at: Duration| {
        let share = ((at.as_secs_f64() - from) / (to - from).max(1e-6)).clamp(0.0, 1.0);
        LEFT + (share * f64::from(RIGHT - LEFT)).round() as i32
    };
    picture((ground + 28) as u32, |area| {
        let mut named = 0;
        for fault in record.faults.iter().filter(|fault| focus.meets(fault.from, fault.to)) {
            let (start, end) = (x(fault.from), x(fault.to).max(x(fault.from) + 2));
            area.draw(&Rectangle::new([(start, TOP), (end, ground)], SHADE.filled()))?;
            let name = format!("{} {}", fault.target, fault.fault);
            let width = text_width(&name, SMALL) as i32;
            if start >= named && start + width <= WIDTH as i32 {
                area.draw(&Text::new(name, (start, TOP - 10), bold(SMALL, FAULT, HPos::Left)))?;
                named = start + width + 12;
            }
        }
        for mark in time_marks(from, to, 10) {
            let at = x(Duration::from_secs_f64(mark.max(0.0)));
            area.draw(&PathElement::new([(at, TOP), (at, ground)], LINE))?;
            area.draw(&Text::new(
                seconds_label(mark, from, to),
                (at, ground + 16),
                text(NORMAL, SOFT, HPos::Center),
            ))?;
        }
        for (number, single) in rows.iter().enumerate() {
            let y = TOP + ROW * number as i32 + ROW / 2 + 3;
            row(area, single, check.concerns(single), y, (x(single.at), x(single.at + single.latency)))?;
        }
        for moment in check.moments.iter().filter(|moment| focus.meets(**moment, **moment)) {
            let at = x(*moment);
            area.draw(&PathElement::new([(at, TOP - 2), (at, ground)], TIMED_OUT.stroke_width(1)))?;
            area.draw(&Circle::new((at, TOP - 2), 3, TIMED_OUT.filled()))?;
        }
        Ok(())
    })
}

fn row(
    area: &super::Area<'_>,
    single: &SingleOperation,
    concerned: bool,
    y: i32,
    (from, to): (i32, i32),
) -> Drawn {
    let label = crate::text::bounded(if single.key.is_empty() { &single.kind } else { &single.key }, 20);
    let style = if concerned { bold(SMALL, INK, HPos::Right) } else { text(SMALL, SOFT, HPos::Right) };
    area.draw(&Text::new(label, (LEFT - 12, y), style))?;
    let colour = colour_of(single.outcome);
    let thick = if concerned { 4 } else { 2 };
    area.draw(&Rectangle::new([(from, y - thick), (to.max(from + 2), y + thick)], colour.filled()))?;
    // Not yet at the end of the time that is shown.
    if to >= RIGHT {
        return Ok(());
    }
    // How it ended, for those who don't see the colour: a dot, a ring, or a cross for no answer.
    match single.outcome {
        OutcomeKind::Ok => area.draw(&Circle::new((to, y), thick, colour.filled()))?,
        OutcomeKind::Failed | OutcomeKind::Unknown => {
            area.draw(&Circle::new((to, y), 5, colour.stroke_width(2)))?
        }
        OutcomeKind::TimedOut => {
            area.draw(&PathElement::new([(to - 4, y - 5), (to + 4, y + 5)], colour.stroke_width(2)))?;
            area.draw(&PathElement::new([(to - 4, y + 5), (to + 4, y - 5)], colour.stroke_width(2)))?;
        }
    }
    Ok(())
}

/// Those that the check is about first, then those that did not succeed, then others; in the order of time.
fn rows<'a>(record: &'a ScenarioRecord, check: &Check, focus: Focus) -> Vec<&'a SingleOperation> {
    let mut rows = record.operations_in(focus);
    rows.sort_by_key(|single| (!check.concerns(single), single.outcome == OutcomeKind::Ok));
    rows.truncate(MOST_ROWS);
    rows.sort_by_key(|single| single.at);
    rows
}
