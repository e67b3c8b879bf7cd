//! What was asked of the server and not answered yet.
//!
//! Answers come in cycles: one is what the server sends up to and with a ReadyForQuery, and a Query, a Sync and a FunctionCall end one
//! each. An error ends the rest of its cycle.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{super::entry::What, statement};
use crate::{
    Stream,
    recording::{
        Excerpt, Outcome,
        listening::{Lost, Notes},
    },
};

/// Messages of a connection that wait for their answers.
const MAX_WAITING: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Pipeline {
    cycles: VecDeque<Cycle>,
    /// Over all cycles, with one for each cycle.
    waiting: usize,
    /// The server takes the data of a COPY, and disregards a Sync until that is over.
    takes_copy: bool,
}

#[derive(Debug, Default)]
struct Cycle {
    items: VecDeque<Item>,
    closed: Option<By>,
    failed: bool,
}

/// What ended the client's part of a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Query,
    Sync,
}

#[derive(Debug)]
struct Item {
    asked: Asked,
    at: Instant,
    rows: u64,
    /// A statement of a simple query has been carried out, and another one may follow.
    answered: bool,
}

/// What the client asked for; statements with the numbers of their entries.
#[derive(Debug)]
pub(super) enum Asked {
    Parse(Excerpt),
    Bind(Excerpt),
    Describe,
    Close,
    Call,
    Run(u64, Option<Excerpt>),
    Query(u64),
}

impl Asked {
    fn entry(&self) -> Option<u64> {
        match self {
            Asked::Run(number, _) | Asked::Query(number) => Some(*number),
            _ => None,
        }
    }
}

impl Pipeline {
    /// The connection begins: what the server says up to its first ReadyForQuery is a cycle, too.
    pub(super) fn begin(&mut self) {
        self.cycles.clear();
        self.cycles.push_back(Cycle { closed: Some(By::Query), ..Cycle::default() });
        self.waiting = 1;
    }

    pub(super) fn ask(&mut self, asked: Asked, notes: &Notes<'_>) -> Result<(), Lost> {
        let item = Item { asked, at: notes.now, rows: 0, answered: false };
        let cycle = self.open()?;
        if cycle.failed {
            // The server passes over it.
            item.end(&Outcome::Skipped, notes);
        } else {
            cycle.items.push_back(item);
            self.waiting += 1;
        }
        Ok(())
    }

    pub(super) fn run(&mut self, number: u64, sql: Option<Excerpt>, notes: &Notes<'_>) -> Result<(), Lost> {
        self.ask(Asked::Run(number, sql), notes)
    }

    pub(super) fn sync(&mut self) -> Result<(), Lost> {
        if !self.takes_copy {
            self.open()?;
            self.close(By::Sync);
        }
        Ok(())
    }

    /// The client's part of the cycle is over.
    pub(super) fn close(&mut self, by: By) {
        if let Some(cycle) = self.cycles.back_mut() {
            cycle.closed = Some(by);
        }
    }

    pub(super) fn copy_began(&mut self) {
        self.takes_copy = true;
        let Some(cycle) = self.cycles.front_mut() else { return };
        // A Sync that was sent with the COPY is disregarded.
        if cycle.closed == Some(By::Sync) {
            cycle.closed = None;
            while self.cycles.len() > 1 {
                let Some(behind) = self.cycles.remove(1) else { break };
                self.waiting = self.waiting.saturating_sub(1);
                self.cycles[0].items.extend(behind.items);
                self.cycles[0].closed = behind.closed;
            }
        }
    }

    pub(super) fn copy_ended(&mut self) {
        self.takes_copy = false;
    }

    pub(super) fn row(&mut self) {
        if let Some(item) = self.cycles.front_mut().and_then(|cycle| cycle.items.front_mut()) {
            item.rows += 1;
        }
    }

    /// A statement came to its end.
    pub(super) fn done(&mut self, tag: &Excerpt, notes: &Notes<'_>) {
        self.takes_copy = false;
        let outcome = Outcome::Done { tag: tag.clone() };
        match self.cycles.front_mut().and_then(|cycle| cycle.items.front_mut()) {
            Some(item) if matches!(item.asked, Asked::Query(_)) => {
                item.answered = true;
                item.end(&outcome, notes);
            }
            _ => {
                if let Some(item) = self.take(|asked| matches!(asked, Asked::Run(..)), notes) {
                    item.end(&outcome, notes);
                }
            }
        }
    }

    /// A portal gave as many rows as it was asked for.
    pub(super) fn suspended(&mut self, notes: &Notes<'_>) {
        if let Some(item) = self.take(|asked| matches!(asked, Asked::Run(..)), notes) {
            item.end(&Outcome::Done { tag: Excerpt::default() }, notes);
        }
    }

    /// The rows to come were described: of a Describe, or ahead of a simple query's rows.
    pub(super) fn described(&mut self, notes: &Notes<'_>) {
        let front = self.cycles.front().and_then(|cycle| cycle.items.front());
        if !front.is_some_and(|item| matches!(item.asked, Asked::Query(_))) {
            self.passed(|asked| matches!(asked, Asked::Describe), notes);
        }
    }

    /// Something that is no statement was carried out.
    pub(super) fn passed(&mut self, is_it: impl Fn(&Asked) -> bool, notes: &Notes<'_>) {
        drop(self.take(is_it, notes));
    }

    /// The server reported an error.
    pub(super) fn failed(&mut self, sqlstate: Excerpt, message: Excerpt, notes: &Notes<'_>) {
        self.takes_copy = false;
        let Some((cycle, item)) =
            self.cycles.front_mut().and_then(|cycle| cycle.items.pop_front().map(|item| (cycle, item)))
        else {
            notes.push(Stream::Downstream, What::Error { sqlstate, message });
            return;
        };
        self.waiting = self.waiting.saturating_sub(1 + cycle.items.len());
        cycle.failed = true;
        let failed = Outcome::Failed { code: sqlstate, message };
        let mut rest = std::mem::take(&mut cycle.items);
        match &item.asked {
            Asked::Run(..) | Asked::Query(_) => item.end(&failed, notes),
            Asked::Parse(sql) | Asked::Bind(sql) => {
                let is_its = |item: &Item| matches!(&item.asked, Asked::Run(_, Some(run)) if run == sql);
                // Its Execute has an entry, if it was sent in the same go.
                match rest.iter().position(is_its).and_then(|at| rest.remove(at)) {
                    Some(run) => Item { at: item.at, ..run }.end(&failed, notes),
                    None => {
                        let number = notes
                            .push(Stream::Upstream, statement(sql.clone(), true, None, Outcome::Pending));
                        Item { asked: Asked::Run(number, None), ..item }.end(&failed, notes);
                    }
                }
            }
            Asked::Describe | Asked::Close | Asked::Call => {
                if let Outcome::Failed { code: sqlstate, message } = failed {
                    notes.push(Stream::Downstream, What::Error { sqlstate, message });
                }
            }
        }
        for item in rest {
            item.end(&Outcome::Skipped, notes);
        }
    }

    /// The server is ready for the next cycle.
    pub(super) fn ready(&mut self, notes: &Notes<'_>) {
        self.takes_copy = false;
        let Some(cycle) = self.cycles.pop_front_if(|cycle| cycle.closed.is_some()) else { return };
        self.waiting = self.waiting.saturating_sub(1 + cycle.items.len());
        for item in cycle.items {
            if !item.answered {
                item.end(&Outcome::NoAnswer, notes);
            }
        }
    }

    /// What was not answered until now will not be.
    pub(super) fn settle(&mut self, outcome: &Outcome, notes: &Notes<'_>) {
        self.waiting = 0;
        for cycle in std::mem::take(&mut self.cycles) {
            for item in cycle.items {
                item.end(outcome, notes);
            }
        }
    }

    /// The cycle that the client is in.
    fn open(&mut self) -> Result<&mut Cycle, Lost> {
        if self.waiting >= MAX_WAITING {
            return Err(Lost::Because("more than 65,536 messages wait for their answers"));
        }
        if self.cycles.back().is_none_or(|cycle| cycle.closed.is_some()) {
            self.cycles.push_back(Cycle::default());
            self.waiting += 1;
        }
        Ok(self.cycles.back_mut().expect("it was just put there"))
    }

    /// Takes what an answer is for. What came before it and has no answer was lost on the way.
    fn take(&mut self, is_it: impl Fn(&Asked) -> bool, notes: &Notes<'_>) -> Option<Item> {
        let cycle = self.cycles.front_mut()?;
        let at = cycle.items.iter().position(|item| is_it(&item.asked))?;
        self.waiting = self.waiting.saturating_sub(at + 1);
        for lost in cycle.items.drain(..at) {
            lost.end(&Outcome::NoAnswer, notes);
        }
        cycle.items.pop_front()
    }
}

impl Item {
    /// Says what became of it, if it is a statement.
    fn end(&self, outcome: &Outcome, notes: &Notes<'_>) {
        let Some(number) = self.asked.entry() else { return };
        let took = notes.now.saturating_duration_since(self.at);
        notes.log.change(number, |what| {
            let What::Statement(statement) = what else { return };
            // A simple query goes on from its beginning; a portal is run in parts.
            let before = match self.asked {
                Asked::Query(_) => Duration::ZERO,
                _ => statement.took.unwrap_or_default(),
            };
            statement.took = Some(before + took);
            statement.rows = match self.asked {
                Asked::Query(_) => self.rows,
                _ => statement.rows + self.rows,
            };
            statement.outcome = outcome.clone();
        });
    }
}
