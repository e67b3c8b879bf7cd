//! Which statements ran, from both sides of a Postgres connection.
//!
//! Source: the chapter "Message Flow" of the Postgres documentation.

mod pipeline;

use std::{collections::HashMap, sync::Arc};

use self::pipeline::{Asked, Pipeline};
use super::{
    Excerpt, Outcome, Statement, Tap, What,
    listening::{Lost, Notes, Talk},
    parameters,
    splitter::{Splitter, Whole},
};
use crate::{
    Stream,
    protocol::{
        bounds,
        postgres::{is_startup, text_at},
    },
};

/// Bytes of a message beside its SQL: its type, its length, and the name of a statement.
const BESIDE: usize = 256;
/// Prepared statements and portals that are remembered of a connection, each.
const MAX_NAMES: usize = 4096;
/// The types of parameters that are remembered of a statement.
const MAX_TYPES: usize = 256;
const HEADER: usize = 5;

#[derive(Debug)]
pub(super) struct PostgresTalk {
    requests: Splitter,
    answers: Splitter,
    conversation: Conversation,
}

#[derive(Debug)]
struct Conversation {
    tap: Tap,
    statements: HashMap<Box<[u8]>, Arc<Prepared>>,
    portals: HashMap<Box<[u8]>, Portal>,
    pipeline: Pipeline,
}

#[derive(Debug)]
struct Prepared {
    sql: Excerpt,
    types: Vec<u32>,
}

#[derive(Debug)]
struct Portal {
    prepared: Arc<Prepared>,
    parameters: Option<Arc<[Option<Excerpt>]>>,
    /// The entry of an Execute, which further ones go on with.
    run: Option<u64>,
}

impl PostgresTalk {
    pub(super) fn new(tap: &Tap) -> Self {
        let [requests, answers] = bounds(tap.protocol());
        let limit = tap.excerpt + BESIDE;
        PostgresTalk {
            requests: Splitter::new(requests, limit),
            answers: Splitter::new(answers, limit),
            conversation: Conversation {
                tap: tap.clone(),
                statements: HashMap::new(),
                portals: HashMap::new(),
                pipeline: Pipeline::default(),
            },
        }
    }
}

impl Talk for PostgresTalk {
    fn saw(&mut self, stream: Stream, mut bytes: &[u8], notes: &Notes<'_>) -> Result<(), Lost> {
        let PostgresTalk { requests, answers, conversation } = self;
        match stream {
            Stream::Upstream => {
                while let Some(asked) = requests.next(&mut bytes, |whole| conversation.asked(whole, notes))? {
                    asked?;
                }
            }
            Stream::Downstream => {
                while answers.next(&mut bytes, |whole| conversation.answered(whole, notes))?.is_some() {}
            }
        }
        Ok(())
    }

    fn settle(&mut self, outcome: &Outcome, notes: &Notes<'_>) {
        self.conversation.pipeline.settle(outcome, notes);
    }
}

impl Conversation {
    /// A message of the client.
    fn asked(&mut self, whole: Whole<'_>, notes: &Notes<'_>) -> Result<(), Lost> {
        let Whole { head, length } = whole;
        // The startup message has its length where others have their type, which is no zero.
        let (Some(&tag @ 1..), Some(body)) = (head.first(), head.get(HEADER..)) else {
            if is_startup(head) {
                self.pipeline.begin();
            }
            return Ok(());
        };
        let rest = length - HEADER as u64;
        let (first, behind) = text_at(body);
        match tag {
            b'Q' => {
                let sql = self.sql(body, rest);
                let number = notes.push(Stream::Upstream, statement(sql, false, None, Outcome::Pending));
                self.pipeline.ask(Asked::Query(number), notes)?;
                self.pipeline.close(pipeline::By::Query);
            }
            b'P' => {
                let sql = self.sql(behind, rest - (body.len() - behind.len()) as u64);
                let types = text_at(behind).1.get(2..).unwrap_or_default().as_chunks::<4>().0;
                let types = types.iter().take(MAX_TYPES).map(|number| u32::from_be_bytes(*number)).collect();
                let prepared = Arc::new(Prepared { sql, types });
                remember(&mut self.statements, first, prepared.clone());
                self.pipeline.ask(Asked::Parse(prepared.sql.clone()), notes)?;
            }
            b'B' => {
                let (name, values) = text_at(behind);
                let unknown = || Prepared {
                    sql: "(a statement that was not seen being prepared)".into(),
                    types: vec![],
                };
                let prepared = self.statements.get(name).cloned().unwrap_or_else(|| Arc::new(unknown()));
                let parameters =
                    self.tap.parameters.then(|| parameters::read(values, &prepared.types, self.tap.excerpt));
                self.pipeline.ask(Asked::Bind(prepared.sql.clone()), notes)?;
                remember(&mut self.portals, first, Portal { prepared, parameters, run: None });
            }
            b'E' => self.execute(first, notes)?,
            b'D' => self.pipeline.ask(Asked::Describe, notes)?,
            b'C' => {
                let name = text_at(first.get(1..).unwrap_or_default()).0;
                match first.first() {
                    Some(b'S') => drop(self.statements.remove(name)),
                    _ => drop(self.portals.remove(name)),
                }
                self.pipeline.ask(Asked::Close, notes)?;
            }
            b'F' => {
                self.pipeline.ask(Asked::Call, notes)?;
                self.pipeline.close(pipeline::By::Query);
            }
            b'S' => self.pipeline.sync()?,
            b'c' | b'f' => self.pipeline.copy_ended(),
            _ => {}
        }
        Ok(())
    }

    fn execute(&mut self, name: &[u8], notes: &Notes<'_>) -> Result<(), Lost> {
        let Some(portal) = self.portals.get_mut(name) else {
            let sql = "(a cursor of the session)".into();
            let number = notes.push(Stream::Upstream, statement(sql, true, None, Outcome::Pending));
            return self.pipeline.run(number, None, notes);
        };
        let prepared = portal.prepared.clone();
        let number = *portal.run.get_or_insert_with(|| {
            let (sql, parameters) = (prepared.sql.clone(), portal.parameters.clone());
            notes.push(Stream::Upstream, statement(sql, true, parameters, Outcome::Pending))
        });
        self.pipeline.run(number, Some(prepared.sql.clone()), notes)
    }

    /// A message of the server.
    fn answered(&mut self, whole: Whole<'_>, notes: &Notes<'_>) {
        let Whole { head, length } = whole;
        let (Some(&tag), Some(body)) = (head.first(), head.get(HEADER..)) else { return };
        let pipeline = &mut self.pipeline;
        match tag {
            b'D' => pipeline.row(),
            b'C' => {
                let tag = text_at(body).0;
                let tag = Excerpt::of(tag, tag.len() as u64, self.tap.excerpt);
                pipeline.done(&tag, notes);
            }
            b'I' => pipeline.done(&Excerpt::default(), notes),
            b's' => pipeline.suspended(notes),
            b'1' => pipeline.passed(|asked| matches!(asked, Asked::Parse(_)), notes),
            b'2' => pipeline.passed(|asked| matches!(asked, Asked::Bind(_)), notes),
            b'3' => pipeline.passed(|asked| matches!(asked, Asked::Close), notes),
            b'n' | b'T' => pipeline.described(notes),
            b'V' => pipeline.passed(|asked| matches!(asked, Asked::Call), notes),
            b'G' | b'W' => pipeline.copy_began(),
            b'E' => {
                let (code, message) = error(body, length - HEADER as u64, self.tap.excerpt);
                pipeline.failed(code, message, notes);
            }
            b'Z' => pipeline.ready(notes),
            _ => {}
        }
    }

    /// The text at the start of what is there of a message, of which so many bytes follow.
    fn sql(&self, body: &[u8], rest: u64) -> Excerpt {
        let text = text_at(body).0;
        // Without its end, the text goes on to the end of the message.
        let whole = if text.len() < body.len() { text.len() as u64 } else { rest.saturating_sub(1) };
        Excerpt::of(text, whole.max(text.len() as u64), self.tap.excerpt)
    }
}

fn statement(
    sql: Excerpt,
    prepared: bool,
    parameters: Option<Arc<[Option<Excerpt>]>>,
    outcome: Outcome,
) -> What {
    What::Statement(Statement { sql, prepared, parameters, outcome, rows: 0, took: None })
}

/// The SQLSTATE and the message of an ErrorResponse: fields of a letter and a text each.
fn error(body: &[u8], rest: u64, limit: usize) -> (Excerpt, Excerpt) {
    let (mut code, mut message) = (Excerpt::default(), Excerpt::default());
    let mut fields = body;
    while let Some((&kind @ 1.., field)) = fields.split_first() {
        let (text, behind) = text_at(field);
        let is_open = behind.is_empty() && text.len() == field.len();
        let missing = if is_open { rest.saturating_sub(body.len() as u64) } else { 0 };
        let excerpt = || Excerpt::of(text, text.len() as u64 + missing, limit);
        match kind {
            b'C' => code = excerpt(),
            b'M' => message = excerpt(),
            _ => {}
        }
        fields = behind;
    }
    (code, message)
}

fn remember<T>(known: &mut HashMap<Box<[u8]>, T>, name: &[u8], value: T) {
    if known.len() < MAX_NAMES || known.contains_key(name) {
        known.insert(name.into(), value);
    }
}
