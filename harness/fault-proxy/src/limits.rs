//! What a set of proxies holds at most.

use crate::Error;

/// The most proxies in a [`Proxies`](crate::Proxies).
pub const MAX_PROXIES: usize = 4096;
/// The most toxics on one proxy.
pub const MAX_TOXICS: usize = 256;
/// The longest name of a proxy or a toxic, in bytes.
pub const MAX_NAME: usize = 255;
/// The longest address to listen on or to lead to, in bytes.
pub const MAX_ADDRESS: usize = 512;

/// Refuses a name that is empty or too long.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), Error> {
    check_text(what, name, MAX_NAME)
}

/// Refuses an address that is empty or too long.
pub(crate) fn check_address(what: &'static str, address: &str) -> Result<(), Error> {
    check_text(what, address, MAX_ADDRESS)
}

/// Refuses one more than `limit`.
pub(crate) fn check_count(what: &'static str, count: usize, limit: usize) -> Result<(), Error> {
    if count < limit { Ok(()) } else { Err(Error::TooMany { what, limit }) }
}

fn check_text(what: &'static str, text: &str, limit: usize) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::Text { what, why: "is empty".to_owned() });
    }
    if text.len() > limit {
        return Err(Error::Text {
            what,
            why: format!("is {} bytes long; at most {limit} are allowed", text.len()),
        });
    }
    Ok(())
}
