//! The parameters of a Bind, as text.
//!
//! Source: the chapter "Message Formats" of the Postgres documentation; the numbers of types are those of `pg_type.dat`.

use std::sync::Arc;

use super::Excerpt;

/// Parameters that are kept of a statement.
const MAX_PARAMETERS: usize = 256;

/// Reads what follows the names in a Bind. What was cut off the message is not there.
pub(super) fn read(body: &[u8], types: &[u32], limit: usize) -> Arc<[Option<Excerpt>]> {
    let mut rest = body;
    let mut parameters = Vec::new();
    let formats: Option<Vec<u16>> =
        number(&mut rest).map(|count| (0..count).map_while(|_| number(&mut rest)).collect());
    let count = number(&mut rest).unwrap_or(0);
    let formats = formats.unwrap_or_default();
    for at in 0..usize::from(count).min(MAX_PARAMETERS) {
        let format = formats.get(at).or(if formats.len() == 1 { formats.first() } else { None });
        let is_binary = format == Some(&1);
        let Some((length, behind)) = rest.split_first_chunk::<4>() else { break };
        let length = i32::from_be_bytes(*length);
        let Ok(whole) = usize::try_from(length) else {
            parameters.push(None);
            rest = behind;
            continue;
        };
        let (bytes, behind) = behind.split_at(whole.min(behind.len()));
        rest = behind;
        let kind = types.get(at).copied().unwrap_or_default();
        let read = is_binary.then(|| binary(bytes, kind)).flatten();
        parameters.push(Some(match read {
            Some(text) => Excerpt::of(text.as_bytes(), text.len() as u64, limit),
            None if is_binary && !is_text(kind) => {
                let digits = Excerpt::hex(bytes, whole as u64, limit);
                digits.behind("\\x")
            }
            None => Excerpt::of(bytes, whole as u64, limit),
        }));
    }
    parameters.into()
}

/// Whether values of the type are the same in binary as they are in text: text, name, bpchar, varchar, json, unknown.
fn is_text(kind: u32) -> bool {
    matches!(kind, 25 | 19 | 1042 | 1043 | 114 | 705)
}

/// A binary value of a common type.
fn binary(bytes: &[u8], kind: u32) -> Option<String> {
    match kind {
        16 => Some((bytes == [1]).to_string()),
        20 => Some(i64::from_be_bytes(bytes.try_into().ok()?).to_string()),
        21 => Some(i16::from_be_bytes(bytes.try_into().ok()?).to_string()),
        23 => Some(i32::from_be_bytes(bytes.try_into().ok()?).to_string()),
        700 => Some(f32::from_be_bytes(bytes.try_into().ok()?).to_string()),
        701 => Some(f64::from_be_bytes(bytes.try_into().ok()?).to_string()),
        2950 => {
            let digits: String =
                <[u8; 16]>::try_from(bytes).ok()?.iter().map(|byte| format!("{byte:02x}")).collect();
            let groups = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
            Some(groups.join("-"))
        }
        // jsonb: a version, and text.
        3802 => Some(String::from_utf8_lossy(bytes.strip_prefix(&[1])?).into_owned()),
        _ => None,
    }
}

fn number(rest: &mut &[u8]) -> Option<u16> {
    let (number, behind) = rest.split_first_chunk::<2>()?;
    *rest = behind;
    Some(u16::from_be_bytes(*number))
}
