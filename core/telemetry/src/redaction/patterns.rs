//! Secrets that one knows by their looks, without a name beside them.

use std::ops::AddAssign as _;

/// The shortest run of random characters that is taken for a key, in bytes.
const LONG: usize = 32;

/// How much of a run is looked at to tell whether it is random, in bytes.
const WINDOW: usize = 64;

/// How keys of well-known services start.
const KEY_STARTS: &[&str] = &[
    "AIza",
    "AKIA",
    "ASIA",
    "SG.",
    "gho_",
    "ghp_",
    "ghs_",
    "github_pat_",
    "glpat-",
    "npm_",
    "pk_live_",
    "rk_live_",
    "sk-",
    "sk_live_",
    "sk_test_",
    "whsec_",
    "xoxb-",
    "xoxp-",
];

/// A JSON web token or a key of a well-known service, in a run of letters, digits, `_`, `-` and `.`.
pub(super) fn is_token(run: &str) -> bool {
    let starts = |start: &&str| run.as_bytes()[0] == start.as_bytes()[0] && run.starts_with(*start);
    (run.starts_with("eyJ") && run.len() >= LONG / 2)
        || (run.len() >= LONG / 2 && KEY_STARTS.iter().any(starts))
}

/// The word after `Bearer` or `Basic` that is a token and no word of a sentence.
pub(super) fn scheme_token(bytes: &[u8], scheme: (usize, usize)) -> Option<(usize, usize)> {
    let word = &bytes[scheme.0..scheme.1];
    let is_scheme = word.eq_ignore_ascii_case(b"bearer") || word.eq_ignore_ascii_case(b"basic");
    if !is_scheme || bytes.get(scheme.1) != Some(&b' ') {
        return None;
    }
    let from = scheme.1 + 1;
    let token =
        bytes[from..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"._~+/-".contains(byte));
    let token = &bytes[from..from + token.count()];
    let odd = |(at, byte): (usize, &u8)| {
        byte.is_ascii_digit() || b"~+/".contains(byte) || (at > 0 && byte.is_ascii_uppercase())
    };
    (token.len() >= 6 && token.iter().enumerate().any(odd)).then_some(())?;
    let padding = bytes[from + token.len()..].iter().take_while(|byte| **byte == b'=').count();
    Some((from, from + token.len() + padding))
}

/// Where the PEM block ends that starts here.
pub(super) fn pem_end(text: &str, at: usize) -> Option<usize> {
    if !text[at..].starts_with("-----BEGIN ") {
        return None;
    }
    let last = text[at..].find("-----END ").map(|last| at + last + "-----END ".len());
    let end = last.and_then(|last| text[last..].find("-----").map(|dashes| last + dashes + 5));
    Some(end.unwrap_or(text.len()))
}

/// Where the e-mail address ends whose local part ends at this `@`.
pub(super) fn email_end(bytes: &[u8], at_sign: usize) -> Option<usize> {
    let domain = &bytes[at_sign + 1..(at_sign + 256).min(bytes.len())];
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || !byte.is_ascii();
    let length = domain.iter().take_while(|byte| is_part(byte) || **byte == b'.').count();
    let length = domain[..length].iter().rposition(is_part)? + 1;
    let dot = domain[..length].iter().position(|byte| *byte == b'.')?;
    (dot > 0).then_some(at_sign + 1 + length)
}

/// Where the card number ends that starts at this digit: 13 to 19 digits of a known range whose check digit is right.
pub(super) fn card_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut digits = [0_u8; 19];
    let (mut count, mut at) = (0, start);
    while let Some(byte) = bytes.get(at) {
        if byte.is_ascii_digit() {
            *digits.get_mut(count)? = byte - b'0';
            count += 1;
        } else if !matches!(byte, b' ' | b'-') || !bytes.get(at + 1).is_some_and(u8::is_ascii_digit) {
            break;
        }
        at += 1;
    }
    let in_word = bytes.get(at).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    let fraction = start >= 2 && bytes[start - 1] == b'.' && bytes[start - 2].is_ascii_digit();
    (!in_word && !fraction && is_card(&digits[..count])).then_some(at)
}

/// Whether a number is that of a card.
pub(crate) fn is_card_number(number: u64) -> bool {
    let mut digits = [0_u8; 20];
    let (mut rest, mut start) = (number, digits.len());
    while rest > 0 {
        start -= 1;
        digits[start] = (rest % 10) as u8;
        rest /= 10;
    }
    is_card(&digits[start..])
}

/// The issuers' ranges of ISO/IEC 7812, and the check digit of its annex B (Luhn). Without the ranges, one time in
/// milliseconds in ten would count as a card.
fn is_card(digits: &[u8]) -> bool {
    let issued = match digits {
        [4, ..] | [6, ..] => matches!(digits.len(), 13 | 16..=19),
        [5, ..] | [3, 5, ..] => matches!(digits.len(), 16..=19),
        [2, 2..=7, ..] => digits.len() == 16,
        [3, 4 | 7, ..] => digits.len() == 15,
        [3, 0 | 6 | 8 | 9, ..] => digits.len() == 14,
        _ => false,
    };
    let doubled = |(at, digit): (usize, &u8)| match (at % 2, *digit) {
        (0, digit) => u32::from(digit),
        (_, digit) => u32::from(digit * 2 / 10 + digit * 2 % 10),
    };
    issued && digits.iter().rev().enumerate().map(doubled).sum::<u32>() % 10 == 0
}

/// Whether what starts here looks random for at least 32 characters: `plain` are its letters and digits, `whole` goes on over what
/// else is in base64.
pub(super) fn is_random(plain: &[u8], whole: &[u8]) -> bool {
    if plain.len() >= LONG {
        let hex = plain.iter().all(u8::is_ascii_hexdigit) && plain.iter().any(u8::is_ascii_digit);
        let mix = Mix::of(plain);
        if hex || mix.is_lower_random() || mix.is_mixed() {
            return true;
        }
    }
    whole.len() >= LONG && Mix::of(whole).is_base64()
}

/// How often the kind of character changes. In random text it does so nearly everywhere, in names at their seams.
struct Mix {
    length: usize,
    digits: usize,
    upper: usize,
    lower: usize,
    changes: usize,
    case_changes: usize,
}

impl Mix {
    fn of(run: &[u8]) -> Self {
        let run = &run[..run.len().min(WINDOW)];
        let mut mix = Mix { length: run.len(), digits: 0, upper: 0, lower: 0, changes: 0, case_changes: 0 };
        let mut before = None;
        for byte in run {
            let kind = match byte {
                b'0'..=b'9' => 0,
                b'A'..=b'Z' => 1,
                b'a'..=b'z' => 2,
                _ => continue,
            };
            [&mut mix.digits, &mut mix.upper, &mut mix.lower][kind].add_assign(1);
            if let Some(before) = before.replace(kind).filter(|before| *before != kind) {
                mix.changes += 1;
                mix.case_changes += usize::from(before != 0 && kind != 0);
            }
        }
        mix
    }

    fn is_base64(&self) -> bool {
        self.digits > 0
            && self.lower > 0
            && self.upper >= 3
            && self.changes * 100 >= self.length * 35
            && self.case_changes * 100 >= self.length * 12
    }

    /// Without punctuation in it, a run of all kinds is no path and hardly a name.
    fn is_mixed(&self) -> bool {
        self.digits > 0 && self.lower > 0 && self.upper >= 3 && self.changes * 100 >= self.length * 20
    }

    fn is_lower_random(&self) -> bool {
        let one_case = self.upper == 0 || self.lower == 0;
        one_case && self.digits > 0 && self.digits < self.length && self.changes * 100 >= self.length * 25
    }
}
