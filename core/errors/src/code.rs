//! Codes: what can go wrong, each with a name that stays.

use std::fmt;

use crate::{Kind, Retry};

/// One thing that can go wrong. Declared with [`codes!`](crate::codes), which makes sure that it is documented.
///
/// Two codes are the same if they have the same id.
#[derive(Debug)]
#[non_exhaustive]
pub struct Code {
    /// The id, for example `QUEUE-0003`: capital letters, a hyphen, four digits. It never changes its meaning.
    pub id: &'static str,
    /// What kind of thing it is.
    pub kind: Kind,
    /// The HTTP status, where it is more exact than the kind's.
    pub status: Option<u16>,
    /// What happened, in a few words that every client may read.
    pub title: &'static str,
    /// What it means, for whoever runs the service.
    pub meaning: &'static str,
    /// A situation in which it happens.
    pub example: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
    /// Whether trying again helps.
    pub retry: Retry,
}

impl Code {
    /// What [`codes!`](crate::codes) makes codes with.
    #[doc(hidden)]
    #[allow(clippy::too_many_arguments)]
    pub const fn declare(
        id: &'static str,
        kind: Kind,
        status: Option<u16>,
        title: &'static str,
        meaning: &'static str,
        example: &'static str,
        remedy: &'static str,
        retry: Retry,
    ) -> Self {
        Code { id, kind, status, title, meaning, example, remedy, retry }
    }

    /// The HTTP status of an answer with this code.
    pub const fn http_status(&self) -> u16 {
        match self.status {
            Some(status) => status,
            None => self.kind.http_status(),
        }
    }

    /// The part of the id before the hyphen: which service or crate the code belongs to.
    pub fn area(&self) -> &'static str {
        self.id.split_once('-').map_or(self.id, |(area, _)| area)
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Code {}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id)
    }
}

/// Declares the codes of a crate: a static for each, and one table of them all. What a code means is its doc comment. A code that is not
/// complete, not well-formed or not unique does not compile.
///
/// ```
/// seaworthy_errors::codes! {
///     /// What can go wrong with parcels.
///     pub static CODES;
///
///     /// The carrier did not take the parcel, since its depot is full.
///     pub DEPOT_FULL = "PARCEL-0001", Unavailable, "The parcel can't be taken right now" {
///         example: "The Monday after a holiday.",
///         remedy: "Wait; if it lasts for more than a day, call the carrier.",
///         retry: Retry::After(Duration::from_secs(600)),
///     }
///
///     /// The parcel is too heavy for the carrier.
///     pub TOO_HEAVY = "PARCEL-0002", InvalidArgument, "The parcel is too heavy" {
///         example: "A parcel of 40 kg, where 30 kg are allowed.",
///         remedy: "Split the order into several parcels.",
///         status: 413,
///     }
/// }
///
/// use seaworthy_errors::Error;
/// assert_eq!(CODES.len(), 2);
/// assert_eq!(Error::new(&TOO_HEAVY).http_status(), 413);
/// ```
///
/// Without `retry`, the kind decides: what is unavailable, aborted, exhausted or late may be tried again.
///
/// A duplicate stops the build:
///
/// ```compile_fail
/// seaworthy_errors::codes! {
///     /// The codes.
///     pub static CODES;
///     /// The first.
///     pub FIRST = "TWICE-0001", Internal, "First" { example: "One.", remedy: "None.", }
///     /// The second.
///     pub SECOND = "TWICE-0001", Internal, "Second" { example: "Two.", remedy: "None.", }
/// }
/// ```
#[macro_export]
macro_rules! codes {
    (
        $(#[$table_doc:meta])+
        $table_vis:vis static $table:ident;
        $(
            $(#[doc = $meaning:literal])+
            $vis:vis $name:ident = $id:literal, $kind:ident, $title:literal {
                example: $example:literal,
                remedy: $remedy:literal,
                $(retry: $retry:expr,)?
                $(status: $status:literal,)?
            }
        )+
    ) => {
        $(
            $(#[doc = $meaning])+
            #[doc = concat!("\n\nCode `", $id, "`.")]
            $vis static $name: $crate::Code = {
                #[allow(unused_imports)]
                use ::std::time::Duration;
                #[allow(unused_imports)]
                use $crate::Retry;
                $crate::Code::declare(
                    $id,
                    $crate::Kind::$kind,
                    $crate::codes!(@optional $($status)?),
                    $title,
                    concat!($($meaning, "\n"),+),
                    $example,
                    $remedy,
                    $crate::codes!(@retry $kind $($retry)?),
                )
            };
        )+

        $(#[$table_doc])+
        $table_vis static $table: &[&$crate::Code] = {
            const _: () = $crate::check_ids(&[$($id),+]);
            $(const _: () = $crate::check_texts($id, $crate::Kind::$kind, $title, concat!($($meaning),+), $example, $remedy);)+
            &[$(&$name),+]
        };
    };
    (@optional) => { ::std::option::Option::None };
    (@optional $value:literal) => { ::std::option::Option::Some($value) };
    (@retry $kind:ident) => { $crate::default_retry($crate::Kind::$kind) };
    (@retry $kind:ident $retry:expr) => { $retry };
}

/// The advice for errors of a kind, unless their code gives its own.
#[doc(hidden)]
pub const fn default_retry(kind: Kind) -> Retry {
    match kind {
        Kind::Unavailable | Kind::Aborted | Kind::ResourceExhausted | Kind::DeadlineExceeded => {
            Retry::Backoff
        }
        _ => Retry::Never,
    }
}

/// Stops the build when an id is not well-formed or not the only one.
#[doc(hidden)]
pub const fn check_ids(ids: &[&str]) {
    let mut index = 0;
    while index < ids.len() {
        assert!(
            is_well_formed(ids[index]),
            "an id has capital letters or digits, a hyphen and four digits: QUEUE-0003"
        );
        let mut other = 0;
        while other < index {
            assert!(!same(ids[index], ids[other]), "two codes have the same id");
            other += 1;
        }
        index += 1;
    }
}

/// Stops the build when a code is not documented.
#[doc(hidden)]
pub const fn check_texts(id: &str, kind: Kind, title: &str, meaning: &str, example: &str, remedy: &str) {
    const LEAST: usize = 4;
    let complete =
        title.len() >= LEAST && meaning.len() >= LEAST && example.len() >= LEAST && remedy.len() >= LEAST;
    assert!(
        !id.is_empty() && complete,
        "a code needs a title, a meaning (its doc comment), an example and a remedy"
    );
    assert!(!matches!(kind, Kind::Ok), "nothing went wrong in an error of the kind Ok: choose another");
}

/// `AREA-0001`: at most 63 characters in all, as AIP-193 allows for a reason.
const fn is_well_formed(id: &str) -> bool {
    const DIGITS: usize = 4;
    let bytes = id.as_bytes();
    if bytes.len() < DIGITS + 3 || bytes.len() > 63 || !bytes[0].is_ascii_uppercase() {
        return false;
    }
    let hyphen = bytes.len() - DIGITS - 1;
    let mut index = 0;
    while index < bytes.len() {
        let byte = bytes[index];
        let fits = if index < hyphen {
            byte.is_ascii_uppercase() || byte.is_ascii_digit()
        } else if index == hyphen {
            byte == b'-'
        } else {
            byte.is_ascii_digit()
        };
        if !fits {
            return false;
        }
        index += 1;
    }
    true
}

pub(crate) const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut index = 0;
    while index < one.len() {
        if one[index] != other[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::is_well_formed;

    #[test]
    fn an_id_has_an_area_and_four_digits() {
        for good in ["QUEUE-0003", "AB-0000", "S3-9999"] {
            assert!(is_well_formed(good), "{good}");
        }
        let long = format!("{}-0001", "A".repeat(59));
        for bad in [
            "",
            "QUEUE",
            "queue-0003",
            "QUEUE-3",
            "QUEUE-00003X",
            "QUEUE_0003",
            "-0003",
            "A-0003",
            "3S-0003",
            &long,
        ] {
            assert!(!is_well_formed(bad), "{bad}");
        }
    }
}
