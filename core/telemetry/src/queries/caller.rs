//! The line of the application that a statement comes from.
//!
//! sqlx reports a statement while its future is polled, so the functions that wait for it are on the stack. Walking the stack is
//! cheap; names for addresses are not, so each address is looked up once.

use std::{
    cell::Cell,
    collections::HashMap,
    ffi::c_void,
    fmt,
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

/// Frames that are looked at; an application's own are rarely deeper than half of that.
const MAX_FRAMES: usize = 256;
/// Addresses whose meaning is kept; past it, it begins anew.
const MAX_KNOWN: usize = 16 * 1024;
/// The longest function name that is kept, in bytes.
const MAX_NAME: usize = 512;

/// What stands between an application and its database. Names that end in `_` are prefixes.
const SKIPPED: &[&str] = &[
    "std",
    "core",
    "alloc",
    "test",
    "tokio",
    "tokio_",
    "futures",
    "futures_",
    "sqlx",
    "sqlx_",
    "tracing",
    "tracing_",
    "async_stream",
    "backtrace",
    "either",
    "log",
    "seaworthy_telemetry",
];

/// A place in the application's source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize)]
pub struct Caller {
    /// The function's path, without closures: `shop::orders::states`. Without its path, or none, where the build's debug information
    /// holds lines only.
    pub function: Option<String>,
    /// The file within its crate: `src/orders.rs`. None in a build without debug information.
    pub file: Option<String>,
    /// The line of the call, from 1. None in a build without debug information.
    pub line: Option<u32>,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}")?,
            (Some(file), None) => f.write_str(file)?,
            (None, _) => return f.write_str(self.function.as_deref().unwrap_or("an unknown function")),
        }
        match &self.function {
            Some(function) => write!(f, " ({function})"),
            None => Ok(()),
        }
    }
}

/// The caller of what runs now. The first time at a place, this reads debug information, which can take milliseconds.
pub(crate) fn now() -> Option<Arc<Caller>> {
    // Names are looked up after the walk, which holds a lock of the whole process.
    Stack::walk_until(|address| matches!(known(address), Some(Verdict::Own(_)))).caller()
}

/// The addresses of the functions that run, for a look at their names later, on a thread that may take its time.
#[derive(Debug, Clone)]
pub(crate) struct Stack {
    addresses: Vec<usize>,
}

impl Stack {
    /// Walks the stack of this thread; takes microseconds.
    pub(crate) fn walk() -> Self {
        Stack::walk_until(|_| false)
    }

    fn walk_until(mut done: impl FnMut(usize) -> bool) -> Self {
        let mut addresses = Vec::with_capacity(64);
        backtrace::trace(|frame| {
            let address = frame.ip() as usize;
            addresses.push(address);
            addresses.len() < MAX_FRAMES && !done(address)
        });
        Stack { addresses }
    }

    /// The innermost frame of the application; failing that, of a library that is not known to be in the way.
    pub(crate) fn caller(&self) -> Option<Arc<Caller>> {
        let mut foreign = None;
        for address in &self.addresses {
            match known(*address).unwrap_or_else(|| learn(*address)) {
                Verdict::Skipped => {}
                Verdict::Foreign(caller) => _ = foreign.get_or_insert(caller),
                Verdict::Own(caller) => return Some(caller),
            }
        }
        foreign
    }
}

/// What an address on the stack is.
#[derive(Clone)]
enum Verdict {
    Skipped,
    /// A library, or a function of which we know no file.
    Foreign(Arc<Caller>),
    Own(Arc<Caller>),
}

static KNOWN: LazyLock<RwLock<HashMap<usize, Verdict>>> = LazyLock::new(RwLock::default);

fn known(address: usize) -> Option<Verdict> {
    KNOWN.read().unwrap_or_else(PoisonError::into_inner).get(&address).cloned()
}

fn learn(address: usize) -> Verdict {
    let verdict = Cell::new(Verdict::Skipped);
    // A call that was inlined has several functions at one address, the innermost first.
    backtrace::resolve(address as *mut c_void, |symbol| {
        let Some(name) = symbol.name() else { return };
        let next =
            judge(&format!("{name:#}"), symbol.filename().and_then(|file| file.to_str()), symbol.lineno());
        let current = verdict.replace(Verdict::Skipped);
        verdict.set(match (current, next) {
            (Verdict::Own(caller), _) | (_, Verdict::Own(caller)) => Verdict::Own(caller),
            (Verdict::Foreign(caller), _) | (_, Verdict::Foreign(caller)) => Verdict::Foreign(caller),
            (Verdict::Skipped, Verdict::Skipped) => Verdict::Skipped,
        });
    });
    let verdict = verdict.into_inner();
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    if known.len() >= MAX_KNOWN {
        known.clear();
    }
    known.insert(address, verdict.clone());
    verdict
}

fn judge(name: &str, file: Option<&str>, line: Option<u32>) -> Verdict {
    let file = file.map(|file| file.replace('\\', "/"));
    let origin = file.as_deref().map_or(Origin::Unknown, origin);
    let owner = match origin {
        Origin::Library(owner) => Some(owner),
        _ => crate_of(name),
    };
    let is_skipped = owner.is_some_and(|owner| {
        let owner = owner.replace('-', "_");
        let skips =
            |skipped: &&str| *skipped == owner || skipped.ends_with('_') && owner.starts_with(*skipped);
        SKIPPED.iter().any(skips)
    });
    let nobodys = owner.is_none() && file.is_none();
    if is_skipped || nobodys || matches!(origin, Origin::Language | Origin::Here) {
        return Verdict::Skipped;
    }
    let file = file.as_deref().map(within_its_crate).map(str::to_owned);
    let caller = Arc::new(Caller { function: plain(name), file, line });
    match origin {
        Origin::Application => Verdict::Own(caller),
        _ => Verdict::Foreign(caller),
    }
}

/// Whose source a file is.
#[derive(Clone, Copy, PartialEq)]
enum Origin<'a> {
    Language,
    Library(&'a str),
    Here,
    Application,
    Unknown,
}

/// Judges by the file: in builds with line tables only, many functions have no path. Cargo keeps libraries at
/// `registry/src/<index>/<name>-<version>/` and `git/checkouts/<repository>-<hash>/<revision>/`.
fn origin(file: &str) -> Origin<'_> {
    if file.starts_with(concat!(env!("CARGO_MANIFEST_DIR"), "/src/")) {
        return Origin::Here;
    }
    if file.contains("/rustc/") || file.contains("/lib/rustlib/src/") {
        return Origin::Language;
    }
    let folder = match (file.split_once("/registry/src/"), file.split_once("/git/checkouts/")) {
        (Some((_, rest)), _) => rest.split('/').nth(1),
        (_, Some((_, rest))) => rest.split('/').next(),
        _ => return Origin::Application,
    };
    match folder.and_then(|folder| folder.rsplit_once('-')) {
        Some((name, _)) => Origin::Library(name),
        None => Origin::Unknown,
    }
}

/// The crate that a function belongs to: of `<shop::Order as core::fmt::Debug>::fmt`, it is `shop`. None for what is not Rust's.
fn crate_of(name: &str) -> Option<&str> {
    let mut rest = name.strip_prefix('_').filter(|rest| rest.starts_with('<')).unwrap_or(name);
    for prefix in ["<", "impl ", "&", "mut ", "dyn ", "*const ", "*mut ", "(", "["] {
        rest = rest.strip_prefix(prefix).unwrap_or(rest);
    }
    let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
    if rest[end..].starts_with("::") {
        return Some(&rest[..end]);
    }
    // A type parameter, or a type of the language itself: what matters is whose trait it is.
    rest.split_once(" as ").and_then(|(_, of)| crate_of(of))
}

/// Without closures and the like, which have no names: an async function is one. None where nothing else is left.
fn plain(name: &str) -> Option<String> {
    let is_path = crate_of(name).is_some();
    // A name without a path can have type parameters, of any length.
    let name = if is_path { name } else { name.split_once('<').map_or(name, |(name, _)| name) };
    let parts: Vec<&str> =
        name.split("::").filter(|part| !part.is_empty() && !part.starts_with('{')).collect();
    let mut plain = parts.join("::");
    plain.truncate(plain.floor_char_boundary(MAX_NAME));
    Some(plain).filter(|plain| !plain.is_empty())
}

/// `/build/shop/src/orders.rs` is `src/orders.rs`, wherever it was built.
fn within_its_crate(file: &str) -> &str {
    let folders = ["src", "tests", "benches", "examples"];
    let start = folders
        .iter()
        .flat_map(|folder| file.match_indices(folder))
        .filter(|(at, folder)| {
            let (before, after) = (&file[..*at], &file[at + folder.len()..]);
            (before.is_empty() || before.ends_with(['/', '\\'])) && after.starts_with(['/', '\\'])
        })
        .map(|(at, _)| at)
        .max();
    &file[start.unwrap_or(0)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_belongs_to_the_crate_of_its_type() {
        for (name, owner) in [
            ("shop::orders::states::{{closure}}", Some("shop")),
            ("<shop::Order as core::fmt::Debug>::fmt", Some("shop")),
            ("_<shop::Order as core::fmt::Debug>::fmt", Some("shop")),
            ("<&mut tokio::io::Driver<shop::Order> as core::future::Future>::poll", Some("tokio")),
            ("<F as futures_core::future::TryFuture>::try_poll", Some("futures_core")),
            ("core::ops::function::impls::<impl core::ops::FnOnce<A> for &F>::call_once", Some("core")),
            ("main", None),
            ("__libc_start_call_main", None),
        ] {
            assert_eq!(crate_of(name), owner, "{name}");
        }
    }

    #[test]
    fn the_application_is_told_from_its_libraries() {
        let kind = |name: &str, file| match judge(name, file, Some(7)) {
            Verdict::Skipped => "skipped".to_owned(),
            Verdict::Foreign(caller) => format!("foreign {caller}"),
            Verdict::Own(caller) => format!("own {caller}"),
        };
        let here = Some("/home/me/src/shop/src/orders.rs");
        assert_eq!(
            kind("shop::orders::states::{{closure}}", here),
            "own src/orders.rs:7 (shop::orders::states)"
        );
        assert_eq!(
            kind("shop::orders::{closure#0}::{closure#1}", here),
            "own src/orders.rs:7 (shop::orders)"
        );
        assert_eq!(kind("sqlx_core::pool::acquire", here), "skipped");
        assert_eq!(kind("tokio::task::poll", here), "skipped");
        assert_eq!(kind("{async_fn#0}", here), "own src/orders.rs:7");
        assert_eq!(kind("states<alloc::vec::Vec<u8>>", here), "own src/orders.rs:7 (states)");
        assert_eq!(
            kind("poll<shop::Order>", Some("/rustc/5980/library/core/src/future/future.rs")),
            "skipped"
        );
        let sqlx = Some("/home/me/.cargo/registry/src/index/sqlx-core-0.9.0/src/query.rs");
        assert_eq!(kind("{async_fn#0}<shop::Order>", sqlx), "skipped");
        assert_eq!(
            kind("{async_fn#0}", Some(concat!(env!("CARGO_MANIFEST_DIR"), "/src/trace.rs"))),
            "skipped"
        );
        let there = Some("/home/me/.cargo/registry/src/index/moka-0.12.0/src/future.rs");
        assert_eq!(kind("moka::future::get", there), "foreign src/future.rs:7 (moka::future::get)");
        assert_eq!(kind("shop::orders::states", None), "foreign shop::orders::states");
    }

    #[test]
    fn a_file_is_named_from_its_crate_on() {
        assert_eq!(within_its_crate("/src/shop/crates/orders/tests/all/main.rs"), "tests/all/main.rs");
        assert_eq!(within_its_crate("src/lib.rs"), "src/lib.rs");
        assert_eq!(within_its_crate(r"C:\shop\src\lib.rs"), r"src\lib.rs");
        assert_eq!(within_its_crate("/shop/resources/build.rs"), "/shop/resources/build.rs");
    }
}
