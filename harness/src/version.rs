//! Versions of servers: how they are asked for, and which is one that was asked for.

use crate::Error;

/// Whether `15.18` is a `15`.
pub(crate) fn is_of(version: &str, wanted: &str) -> bool {
    version.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Refuses a server that runs already and is of another version. `said` is what it says of itself.
pub(crate) fn expect(service: &str, said: &str, wanted: Option<&str>) -> Result<(), Error> {
    let found = digits(said);
    match wanted {
        Some(wanted) if !is_of(&found, wanted) => Err(Error::VersionMissing {
            what: service.to_owned(),
            wanted: wanted.to_owned(),
            found: format!("a server of version {found}"),
            remedy: "give the URL of another server, or take another provider".to_owned(),
        }),
        _ => Ok(()),
    }
}

/// The first thing in the text that looks like a version: `postgres (PostgreSQL) 15.18 (Debian)` gives `15.18`, and
/// `Redis server v=7.0.15 sha=00000000:0` gives `7.0.15`.
pub(crate) fn digits(text: &str) -> String {
    let start = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    let version: String = text[start..].chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    version.trim_end_matches('.').to_owned()
}

/// Its first two numbers, by which versions are compared.
pub(crate) fn number(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_asked_for_in_whole_parts() {
        let cases = [
            ("15.18", "15", true),
            ("15.18", "15.18", true),
            ("15.18", "15.1", false),
            ("7.0.15", "7", true),
            ("15", "1", false),
        ];
        for (version, wanted, is) in cases {
            assert_eq!(is_of(version, wanted), is, "{version} as {wanted}");
        }
    }

    #[test]
    fn versions_are_read_from_what_servers_say_of_themselves() {
        let cases = [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "15.18", (15, 18)),
            ("postgres (PostgreSQL) 17beta1", "17", (17, 0)),
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64", "7.0.15", (7, 0)),
            ("/usr/lib/postgresql/9.6/bin", "9.6", (9, 6)),
            ("command not found", "", (0, 0)),
        ];
        for (said, version, parsed) in cases {
            assert_eq!(digits(said), version, "{said}");
            assert_eq!(number(version), parsed, "{said}");
        }
    }
}
