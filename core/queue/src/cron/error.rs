//! What is wrong with an expression, and where.

use super::civil::Pattern;

/// Why an expression or a time zone can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CronError {
    /// It has neither five nor six fields.
    #[error(
        "`{text}` has {found} fields: write minute, hour, day of the month, month and day of the week, with the second before them or without"
    )]
    Fields {
        /// The expression.
        text: String,
        /// How many fields it has.
        found: usize,
    },
    /// A field can't be read, or has a number that there is not.
    #[error("in `{text}`, the {name} `{field}` at column {column} is not one: {expected}")]
    Field {
        /// The expression.
        text: String,
        /// The field.
        field: String,
        /// What the field is about.
        name: &'static str,
        /// Where it begins, in characters from 1.
        column: usize,
        /// What can stand there.
        expected: &'static str,
    },
    /// It begins with `@` and is none of the names that there are.
    #[error("`{text}` is not one of @yearly, @annually, @monthly, @weekly, @daily, @midnight and @hourly")]
    Nickname {
        /// The expression.
        text: String,
    },
    /// It is too long to be one.
    #[error("an expression of {length} bytes is too long: {max} are allowed")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The largest length.
        max: usize,
    },
    /// Every field is right, and there is no such day.
    #[error("`{text}` never fires: there is no such day in any month that it names")]
    NeverFires {
        /// The expression.
        text: String,
    },
    /// The time zone is not in the database.
    #[error(
        "`{zone}`, the time zone of `{text}`, is not in the IANA database: names look like Europe/Stockholm or UTC"
    )]
    UnknownZone {
        /// The time zone.
        zone: String,
        /// The expression.
        text: String,
    },
}

const MAX_LENGTH: usize = 256;

/// Names, and what can stand in the field.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0 to 59, *, ranges, lists and steps"),
    ("minute", "0 to 59, *, ranges, lists and steps"),
    ("hour", "0 to 23, *, ranges, lists and steps"),
    ("day of the month", "1 to 31, *, ranges, lists and steps, L, and W after a day"),
    ("month", "1 to 12, JAN to DEC, *, ranges, lists and steps"),
    (
        "day of the week",
        "0 to 7, SUN to SAT, *, ranges, lists and steps, and L or # with a number after a day",
    ),
];

/// The fields of an expression, with the column of each from 1.
pub(super) fn fields(text: &str) -> Result<Vec<(usize, &str)>, CronError> {
    if text.len() > MAX_LENGTH {
        return Err(CronError::TooLong { length: text.len(), max: MAX_LENGTH });
    }
    let expression = match text.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * SUN",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        other if other.starts_with('@') => return Err(CronError::Nickname { text: text.to_owned() }),
        _ => text,
    };
    let mut column = 1;
    let mut fields = Vec::with_capacity(FIELDS.len());
    for part in expression.split(char::is_whitespace) {
        if !part.is_empty() {
            fields.push((column, part));
        }
        column += part.chars().count() + 1;
    }
    match fields.len() {
        5 | 6 => Ok(fields),
        found => Err(CronError::Fields { text: text.to_owned(), found }),
    }
}

/// Finds the field because of which the expression can't be read: the one that can't be read among stars.
pub(super) fn locate(text: &str, fields: &[(usize, &str)]) -> CronError {
    let is_bad = |at: &usize| {
        let mut alone = vec![(0, "*"); fields.len()];
        alone[*at] = fields[*at];
        Pattern::parse(&alone).is_none()
    };
    let at = (0..fields.len()).find(is_bad).unwrap_or(0);
    let (column, field) = fields[at];
    let (name, expected) = FIELDS[FIELDS.len() - fields.len() + at];
    CronError::Field { text: text.to_owned(), field: field.to_owned(), name, column, expected }
}
