//! Text that a client may read.

use std::{borrow::Cow, fmt};

use crate::bounded;

/// Text that may leave the service. It is a type of its own, so that no other text gets out by mistake: it is made from a literal
/// of the program, or by [`Public::exposing`], which says what it does where it is called.
///
/// ```
/// use seaworthy_errors::Public;
///
/// let fixed = Public::from("the cart is empty");
/// let quantity = -3;
/// let with_value = Public::exposing(format_args!("quantity is {quantity}, and must be at least 1"));
/// assert_eq!(with_value.as_str(), "quantity is -3, and must be at least 1");
/// # let _ = fixed;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Public(Cow<'static, str>);

impl Public {
    /// The longest public text, in bytes.
    pub const MAX: usize = 1024;

    /// Shows this text to clients, whatever is in it. Give it what the client itself sent or may know; not an error's text, which
    /// can hold hosts, statements and keys.
    pub fn exposing(text: impl fmt::Display) -> Self {
        Public(Cow::Owned(bounded::text(text, Self::MAX)))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for Public {
    fn from(text: &'static str) -> Self {
        Public(Cow::Borrowed(text))
    }
}

impl fmt::Display for Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
