//! The server's side: replies of RESP 2 and 3, and how those to failed commands are replaced.

use bytes::Bytes;

use super::{
    super::{Advance, Foreign, Look, Plan, Protocol},
    Line, MAX_BULK, Next,
};
use crate::When;

const DEFAULT_ERROR: &str = "ERR injected fault";
const MAX_DEPTH: usize = 32;

#[derive(Debug)]
pub(in crate::protocol) struct Replies {
    next: Next,
    /// Values that are still to come, for each aggregate that is open.
    open: Vec<u64>,
    /// Answers that were looked at.
    replies: u64,
    plan: Plan,
    error: Bytes,
}

impl Replies {
    pub(in crate::protocol) fn new(plan: Plan, error: Option<&str>) -> Self {
        let error = format!("-{}\r\n", error.unwrap_or(DEFAULT_ERROR)).into();
        Replies { next: Next::default(), open: Vec::new(), replies: 0, plan, error }
    }

    fn line(&mut self, line: &Line) -> Result<bool, Foreign> {
        let count = match line.kind() {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => return Ok(self.value_ends()),
            b'$' | b'!' | b'=' => match line.number()? {
                MAX_BULK.. => return Err(Foreign),
                length @ 0.. => {
                    self.next = Next::Body(length.unsigned_abs() + 2);
                    return Ok(false);
                }
                _ => return Ok(self.value_ends()),
            },
            b'*' | b'~' | b'>' => line.number()?,
            b'%' => line.number()?.saturating_mul(2),
            // An attribute comes ahead of the value that it is about.
            b'|' => line.number()?.saturating_mul(2).saturating_add(1),
            _ => return Err(Foreign),
        };
        if count <= 0 {
            return Ok(self.value_ends());
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Foreign);
        }
        self.open.push(count.unsigned_abs());
        Ok(false)
    }

    /// A value has ended; gives whether the reply has.
    fn value_ends(&mut self) -> bool {
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return false;
            }
            self.open.pop();
        }
        true
    }
}

impl Protocol for Replies {
    fn advance(&mut self, bytes: &[u8]) -> Result<Advance, Foreign> {
        let mut used = 0;
        while used < bytes.len() {
            let complete = match &mut self.next {
                Next::Line(line) => {
                    let (taken, ended) = line.take(&bytes[used..]);
                    used += taken;
                    if !ended {
                        break;
                    }
                    let line = std::mem::take(line);
                    self.line(&line)?
                }
                Next::Body(left) => {
                    let taken = (*left).min((bytes.len() - used) as u64);
                    *left -= taken;
                    used += taken as usize;
                    if *left > 0 {
                        break;
                    }
                    self.next = Next::default();
                    self.value_ends()
                }
            };
            if complete {
                return Ok(Advance { used, complete });
            }
        }
        Ok(Advance { used, complete: false })
    }

    fn head(&self) -> usize {
        1
    }

    fn look(&mut self, head: &[u8]) -> Look {
        // A push answers nothing.
        if head.first() == Some(&b'>') {
            return Look::Other;
        }
        let number = self.replies;
        self.replies += 1;
        if self.plan.next(number) != Some((number, 0)) {
            return Look::Other;
        }
        self.plan.done();
        Look::Instead(self.error.clone())
    }

    fn fail(&mut self, _when: When) -> Option<Bytes> {
        None
    }

    fn is_at_rest(&self) -> bool {
        self.plan.is_empty()
    }
}
