//! Reads settings from texts.

use bytesize::ByteSize;

use super::Strategy;

pub(super) fn problem(name: &str, value: &str, hint: &str) -> String {
    format!("{name} is `{}`; {hint}", crate::redaction::scrub(value))
}

/// The name of this program, as far as it can name a service.
pub(super) fn program() -> String {
    let path = std::env::current_exe().ok();
    let name = path.as_deref().and_then(|path| path.file_stem()).map(|name| name.to_string_lossy());
    let plain = |c: &char| c.is_ascii_alphanumeric() || *c == '-' || *c == '_';
    let name: String = name.iter().flat_map(|name| name.chars()).filter(plain).take(48).collect();
    if name.is_empty() { "service".to_owned() } else { name }
}

pub(super) struct Reader<L> {
    pub(super) lookup: L,
    pub(super) problems: Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> Reader<L> {
    pub(super) fn read<T>(&mut self, name: &str, to: &mut T, parse: impl Fn(&str) -> Result<T, String>) {
        // An empty variable is one that somebody meant to unset.
        let Some(text) = (self.lookup)(name).filter(|text| !text.trim().is_empty()) else { return };
        match parse(text.trim()) {
            Ok(value) => *to = value,
            Err(hint) => self.problems.push(problem(name, text.trim(), &hint)),
        }
    }

    pub(super) fn read_secret<T>(
        &mut self,
        name: &str,
        to: &mut T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) {
        let Some(text) = (self.lookup)(name).filter(|text| !text.trim().is_empty()) else { return };
        match parse(text.trim()) {
            Ok(value) => *to = value,
            Err(hint) => self.problems.push(format!("{name} is not well-formed; {hint}")),
        }
    }
}

pub(super) fn read_strategy(text: &str) -> Result<Strategy, String> {
    let names = Strategy::ALL.map(|(name, _)| name).join(", ");
    let found = Strategy::ALL.iter().find(|(name, _)| *name == text);
    found.map(|(_, strategy)| *strategy).ok_or(format!("choose one of {names}"))
}

pub(super) fn read_size(text: &str) -> Result<u64, String> {
    text.parse::<ByteSize>().map(|size| size.as_u64()).map_err(|_| "give a size like 10MiB".to_owned())
}

pub(super) fn read_headers(text: &str) -> Result<Vec<(String, String)>, String> {
    let token = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let visible = |value: &str| value.bytes().all(|byte| (b' '..0x7f).contains(&byte));
    let header = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        (token(name) && visible(value)).then(|| (name.to_owned(), value.to_owned()))
    };
    let headers: Option<Vec<_>> = text.split(',').map(header).collect();
    headers.ok_or("give headers like name=value,name=value".to_owned())
}
