//! SQL in tokens, as far as it takes to tell literals from the rest. Postgres' rules:
//! <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>

/// A piece of SQL. What is opened and never closed is taken for a literal: it could be anything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Token<'a> {
    Word(&'a str),
    Quoted(&'a str),
    Parameter(&'a str),
    Literal,
    Symbol(&'a str),
}

impl<'a> Token<'a> {
    /// What is shown for it.
    pub(crate) fn text(self) -> &'a str {
        match self {
            Token::Word(text) | Token::Quoted(text) | Token::Parameter(text) | Token::Symbol(text) => text,
            Token::Literal => "?",
        }
    }
}

/// The tokens of a statement, each with whether space or a comment came before it.
pub(crate) struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(sql: &'a str) -> Self {
        Tokens { rest: sql }
    }

    /// Passes space and comments; says whether there was any.
    fn space(&mut self) -> bool {
        let before = self.rest.len();
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.starts_with("--") {
                self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
            } else if self.rest.starts_with("/*") {
                self.rest = &self.rest[comment(self.rest)..];
            } else {
                return self.rest.len() < before;
            }
        }
    }

    /// Takes so many bytes off the front.
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = (bool, Token<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let spaced = self.space();
        let bytes = self.rest.as_bytes();
        let first = *bytes.first()?;
        let second = bytes.get(1).copied().unwrap_or(b' ');
        let token = match first {
            b'\'' => self.literal(0, false),
            b'e' | b'E' if second == b'\'' => self.literal(1, true),
            b'b' | b'B' | b'x' | b'X' | b'n' | b'N' if second == b'\'' => self.literal(1, false),
            b'"' => match closed(bytes, b'"', false) {
                Some(length) => Token::Quoted(self.take(length)),
                None => self.unclosed(),
            },
            b'$' if second.is_ascii_digit() => {
                let digits = bytes[1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                Token::Parameter(self.take(1 + digits))
            }
            b'$' => self.dollar(),
            b'0'..=b'9' => self.number(),
            b'.' if second.is_ascii_digit() => self.number(),
            _ if in_word(first) => {
                let length = bytes.iter().take_while(|byte| in_word(**byte) || **byte == b'$').count();
                Token::Word(self.take(length))
            }
            _ => Token::Symbol(self.take(1)),
        };
        Some((spaced, token))
    }
}

impl<'a> Tokens<'a> {
    fn literal(&mut self, prefix: usize, escapes: bool) -> Token<'a> {
        match closed(&self.rest.as_bytes()[prefix..], b'\'', escapes) {
            Some(length) => {
                self.take(prefix + length);
                Token::Literal
            }
            None => self.unclosed(),
        }
    }

    fn unclosed(&mut self) -> Token<'a> {
        self.rest = "";
        Token::Literal
    }

    /// `$tag$ anything $tag$`, or a lone dollar sign.
    fn dollar(&mut self) -> Token<'a> {
        let tag = self.rest.bytes().skip(1).take_while(|byte| in_word(*byte)).count() + 2;
        if self.rest.as_bytes().get(tag - 1) != Some(&b'$') {
            return Token::Symbol(self.take(1));
        }
        let tag = self.take(tag);
        match self.rest.find(tag) {
            Some(at) => {
                self.take(at + tag.len());
                Token::Literal
            }
            None => self.unclosed(),
        }
    }

    fn number(&mut self) -> Token<'a> {
        let bytes = self.rest.as_bytes();
        let decimal = !bytes.starts_with(b"0x") && !bytes.starts_with(b"0X");
        let mut length = 1;
        while let Some(byte) = bytes.get(length) {
            let sign = matches!(byte, b'+' | b'-') && decimal && matches!(bytes[length - 1], b'e' | b'E');
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || sign) {
                break;
            }
            length += 1;
        }
        self.take(length);
        Token::Literal
    }
}

/// Bytes past ASCII are letters.
fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The length of what begins with a quote, with both of its quotes; a doubled quote does not close it.
fn closed(bytes: &[u8], quote: u8, escapes: bool) -> Option<usize> {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        if *byte == b'\\' && escapes {
            at += 2;
        } else if *byte != quote {
            at += 1;
        } else if bytes.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return Some(at + 1);
        }
    }
    None
}

/// The length of a comment, which can hold others.
fn comment(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (2, 1);
    while depth > 0 && at < bytes.len() {
        match &bytes[at..bytes.len().min(at + 2)] {
            b"/*" => (at, depth) = (at + 2, depth + 1),
            b"*/" => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    if depth > 0 { bytes.len() } else { at }
}
