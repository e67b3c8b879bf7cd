//! All codes of an application in one place.

use std::fmt::Write as _;

use crate::{Code, code::same};

/// Every code that an application can answer with: the tables of its crates, checked to be without duplicates while it is compiled.
///
/// ```
/// use seaworthy_errors::Registry;
///
/// seaworthy_errors::codes! {
///     /// What can go wrong with parcels.
///     pub static PARCEL_CODES;
///     /// The parcel is too heavy for the carrier.
///     pub TOO_HEAVY = "PARCEL-0001", InvalidArgument, "The parcel is too heavy" {
///         example: "A parcel of 40 kg.",
///         remedy: "Split the order.",
///     }
/// }
///
/// static REGISTRY: Registry = Registry::new(&[&[&TOO_HEAVY], seaworthy_errors::HTTP_CODES]);
/// assert_eq!(REGISTRY.find("PARCEL-0001").unwrap().title, "The parcel is too heavy");
/// assert!(REGISTRY.to_markdown().contains("### PARCEL-0001"));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Registry {
    tables: &'static [&'static [&'static Code]],
}

impl Registry {
    /// Puts tables together.
    ///
    /// # Panics
    ///
    /// When two codes have the same id: in a `static`, that stops the build.
    pub const fn new(tables: &'static [&'static [&'static Code]]) -> Self {
        let mut table = 0;
        while table < tables.len() {
            let mut index = 0;
            while index < tables[table].len() {
                assert!(
                    times(tables, tables[table][index].id) == 1,
                    "two codes of the registry have the same id"
                );
                index += 1;
            }
            table += 1;
        }
        Registry { tables }
    }

    /// Every code, table by table.
    pub fn codes(&self) -> impl Iterator<Item = &'static Code> + use<> {
        self.tables.iter().flat_map(|table| table.iter().copied())
    }

    /// The code of this id.
    pub fn find(&self, id: &str) -> Option<&'static Code> {
        self.codes().find(|code| code.id == id)
    }

    /// A page that documents every code, in Markdown.
    pub fn to_markdown(&self) -> String {
        let mut page = String::from(
            "# Errors\n\nEvery error that Seaworthy's services answer with, log or report has one of these codes. A code keeps its \
             meaning. This page is made from the codes' declarations; the test that checks it says how to make it anew.\n",
        );
        let mut area = "";
        for code in self.codes() {
            if code.area() != area {
                area = code.area();
                let _ = write!(page, "\n## {area}\n");
            }
            let _ = write!(
                page,
                "\n### {id}\n\n**{title}.** {kind}, HTTP {status}; {retry}.\n\n{meaning}\n\n*For example:* {example}\n\n*What to do:* {remedy}\n",
                id = code.id,
                title = code.title,
                kind = code.kind,
                status = code.http_status(),
                retry = advice(code),
                meaning = paragraph(code.meaning),
                example = code.example,
                remedy = code.remedy,
            );
        }
        page
    }
}

fn advice(code: &Code) -> String {
    match code.retry {
        crate::Retry::Never => "trying again does not help".to_owned(),
        crate::Retry::Backoff => "try again, waiting longer each time".to_owned(),
        crate::Retry::After(wait) => format!("try again after {wait:?}"),
    }
}

/// The lines of a doc comment as one line.
fn paragraph(meaning: &str) -> String {
    meaning.split_whitespace().collect::<Vec<_>>().join(" ")
}

const fn times(tables: &[&[&Code]], id: &str) -> usize {
    let (mut times, mut table) = (0, 0);
    while table < tables.len() {
        let mut index = 0;
        while index < tables[table].len() {
            if same(tables[table][index].id, id) {
                times += 1;
            }
            index += 1;
        }
        table += 1;
    }
    times
}
