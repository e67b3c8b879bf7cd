//! One walk over a text, which finds all that is to be hidden.

use std::borrow::Cow;

use super::{HIDDEN, is_secret_name, patterns, sql, urls, values};

/// How often a text is gone over until nothing changes any more. Two times is the rule.
const MAX_WALKS: usize = 5;

/// What the text is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mode<'a> {
    /// A statement: literals are hidden from the first character on.
    pub(super) sql: bool,
    /// Whether random characters are hidden.
    pub(super) random: bool,
    /// Ids that look random, and may be shown.
    pub(super) ids: &'a [&'a str],
}

impl Mode<'_> {
    pub(super) const FREE: Mode<'static> = Mode { sql: false, random: true, ids: &[] };
}

/// Walks until nothing changes, so that a scrubbed text stays as it is. A text that does not come to rest is hidden as a whole.
pub(super) fn scrub<'a>(text: &'a str, mode: &Mode<'_>) -> Cow<'a, str> {
    let Some(mut scrubbed) = Walk::over(text, mode) else { return Cow::Borrowed(text) };
    for _ in 1..MAX_WALKS {
        match Walk::over(&scrubbed, mode) {
            Some(again) => scrubbed = again,
            None => return Cow::Owned(scrubbed),
        }
    }
    Cow::Borrowed(HIDDEN)
}

struct Walk<'a> {
    text: &'a str,
    bytes: &'a [u8],
    mode: &'a Mode<'a>,
    out: String,
    /// Up to where the text is in `out`.
    copied: usize,
    in_statement: bool,
    url_end: usize,
    runs: Runs,
}

/// Where the runs of characters end that go on over several words, kept so that no run is read twice.
#[derive(Default)]
struct Runs {
    name: usize,
    local: usize,
    base64: usize,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}

fn run_end(bytes: &[u8], known: &mut usize, at: usize, others: &[u8]) -> usize {
    if *known <= at {
        *known = at + bytes[at..].iter().take_while(|byte| is_word(**byte) || others.contains(byte)).count();
    }
    *known
}

impl<'a> Walk<'a> {
    /// The text with what is to be hidden hidden, or `None` if it stays as it is.
    fn over(text: &'a str, mode: &'a Mode<'a>) -> Option<String> {
        let mut walk = Walk {
            text,
            bytes: text.as_bytes(),
            mode,
            out: String::new(),
            copied: 0,
            in_statement: mode.sql,
            url_end: 0,
            runs: Runs::default(),
        };
        let mut at = 0;
        while at < walk.bytes.len() {
            at = walk.step(at);
        }
        if walk.copied == 0 {
            return None;
        }
        walk.out.push_str(&text[walk.copied..]);
        Some(walk.out).filter(|out| out != text)
    }

    /// Hides this part.
    fn hide(&mut self, (from, to): (usize, usize), with: &str) -> usize {
        let to = self.text.ceil_char_boundary(to);
        if from < to && from >= self.copied && &self.text[from..to] != with {
            self.out.push_str(&self.text[self.copied..from]);
            self.out.push_str(with);
            self.copied = to;
        }
        to
    }

    /// Looks at what starts here, and says where to go on.
    fn step(&mut self, at: usize) -> usize {
        match self.bytes[at] {
            byte if is_word(byte) => self.word(at),
            b':' if self.bytes[at..].starts_with(b"://") => self.url(at + 3),
            b'?' | b'#' => self.query(at),
            b'-' => match patterns::pem_end(self.text, at) {
                Some(end) => self.hide((at, end), HIDDEN),
                None => at + 1,
            },
            b'"' if self.mode.sql => {
                self.bytes[at + 1..].iter().position(|byte| *byte == b'"').map_or(at + 1, |end| at + end + 2)
            }
            b'\'' if self.in_statement => match sql::literal(self.bytes, at, self.mode.sql) {
                Some(end) => self.hide((at, end), "'?'"),
                None => at + 1,
            },
            b'$' if self.in_statement => match sql::dollar_literal(self.text, at) {
                Some(end) => self.hide((at, end), "'?'"),
                None => at + 1,
            },
            _ => at + 1,
        }
    }

    fn url(&mut self, authority: usize) -> usize {
        if self.url_end <= authority {
            self.url_end = urls::end(self.bytes, authority);
        }
        match urls::credentials(self.bytes, authority, self.url_end) {
            Some(credentials) => self.hide(credentials, HIDDEN),
            None => authority,
        }
    }

    fn query(&mut self, at: usize) -> usize {
        let mut at = at + 1;
        let in_url = at < self.url_end;
        if !in_url && !urls::is_query(self.bytes, at) {
            return at;
        }
        if in_url && self.bytes[at - 1] == b'#' && !urls::is_query(self.bytes, at) {
            return at;
        }
        loop {
            let parameter = urls::parameter(self.bytes, at);
            self.hide(parameter.value, HIDDEN);
            at = parameter.next;
            if parameter.is_last {
                return at;
            }
        }
    }

    fn word(&mut self, at: usize) -> usize {
        let bytes = self.bytes;
        let end = at + bytes[at..].iter().take_while(|byte| is_word(**byte)).count();
        let name_end = run_end(bytes, &mut self.runs.name, at, b".-");
        if let Some(end) = self.named(at, end, name_end) {
            return end;
        }
        if patterns::is_token(&self.text[at..name_end]) {
            return self.hide((at, name_end), HIDDEN);
        }
        if let Some(token) = patterns::scheme_token(bytes, (at, end)) {
            return self.hide(token, HIDDEN);
        }
        if let Some(value) = sql::quoted_value(self.text, at) {
            return self.hide(value, HIDDEN).max(end);
        }
        let local = run_end(bytes, &mut self.runs.local, at, b".-%+");
        if bytes.get(local) == Some(&b'@')
            && let Some(end) = patterns::email_end(bytes, local)
        {
            return self.hide((at, end), HIDDEN);
        }
        if bytes[at].is_ascii_digit()
            && let Some(end) = patterns::card_end(bytes, at)
        {
            return self.hide((at, end), HIDDEN);
        }
        if let Some(random) = self.random(at) {
            return self.hide((at, random), HIDDEN);
        }
        self.in_statement = self.in_statement || sql::starts_statement(self.text, (at, end));
        end
    }

    /// Hides the value of a name that looks secret. The name goes on over dots and dashes, but one word of it may be enough, as in
    /// `retry-after.password`.
    fn named(&mut self, at: usize, word_end: usize, name_end: usize) -> Option<usize> {
        let trimmed = at + self.text[at..name_end].trim_end_matches(['.', '-']).len();
        let start = values::start(self.bytes, at, trimmed)?;
        let name = &self.text[at..trimmed.max(word_end)];
        if !is_secret_name(name) && !sql::is_detail(name, &self.bytes[start..]) {
            return None;
        }
        let (from, to) = values::extent(name, self.bytes, start);
        if values::is_harmless(&self.text[from..to]) {
            return Some(to.max(word_end));
        }
        Some(self.hide((from, to), HIDDEN))
    }

    fn random(&mut self, at: usize) -> Option<usize> {
        let whole = run_end(self.bytes, &mut self.runs.base64, at, b"+/=-");
        if !self.mode.random || whole - at < 32 {
            return None;
        }
        let plain = self.bytes[at..whole].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        // The id itself, not what only begins like it: a client may choose an id of one letter.
        let is_id = |id: &&str| {
            let rest = self.bytes[at..].strip_prefix(id.as_bytes());
            rest.is_some_and(|rest| rest.first().is_none_or(|byte| !is_word(*byte) && !b"+/=".contains(byte)))
        };
        if self.mode.ids.iter().any(is_id)
            || !patterns::is_random(&self.bytes[at..at + plain], &self.bytes[at..whole])
        {
            return None;
        }
        Some(whole)
    }
}
