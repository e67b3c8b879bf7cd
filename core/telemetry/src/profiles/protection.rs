//! Who may look into the process.

use std::fmt;

use axum::{
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use subtle::ConstantTimeEq as _;

/// The shortest token, in bytes.
const MIN_TOKEN: usize = 16;
const VARIABLE: &str = "SEAWORTHY_DEBUG_TOKEN";

/// A token that a request must carry as `Authorization: Bearer <token>`. It is never read from a URL, which ends up in logs.
#[derive(Clone)]
pub struct Protection {
    token: Option<Box<str>>,
}

/// Without the token.
impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.token.is_some() { "Protection(by a token)" } else { "Protection(closed)" })
    }
}

/// Why a token protects nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtectionError {
    /// It could be guessed.
    #[error(
        "the debug token (SEAWORTHY_DEBUG_TOKEN) must have at least 16 characters, and has {0}; `openssl rand -hex 24` makes one"
    )]
    TooShort(usize),
    /// No client could send it.
    #[error(
        "the debug token (SEAWORTHY_DEBUG_TOKEN) must be of visible ASCII characters only: it is sent in a header"
    )]
    NotPlain,
}

impl Protection {
    /// Nobody gets in: the routes answer as if they were not there.
    pub fn closed() -> Self {
        Protection { token: None }
    }

    /// Who has this token gets in.
    ///
    /// # Errors
    ///
    /// When it has fewer than 16 characters, or others than visible ASCII.
    pub fn token(token: &str) -> Result<Self, ProtectionError> {
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ProtectionError::NotPlain);
        }
        if token.len() < MIN_TOKEN {
            return Err(ProtectionError::TooShort(token.len()));
        }
        Ok(Protection { token: Some(token.into()) })
    }

    /// The token in `SEAWORTHY_DEBUG_TOKEN`; [closed](Protection::closed) where it is not set or empty.
    ///
    /// # Errors
    ///
    /// As [`Protection::token`].
    pub fn from_env() -> Result<Self, ProtectionError> {
        match std::env::var(VARIABLE) {
            Ok(token) if !token.is_empty() => Protection::token(&token),
            Err(std::env::VarError::NotUnicode(_)) => Err(ProtectionError::NotPlain),
            _ => Ok(Protection::closed()),
        }
    }

    /// Whether this is the token, in a time that does not tell how much of it is right.
    pub fn admits(&self, token: &str) -> bool {
        self.token.as_ref().is_some_and(|right| right.as_bytes().ct_eq(token.as_bytes()).into())
    }
}

/// Lets those in who may: 404 where it is closed, 401 without the right token.
pub(super) async fn protect(State(protection): State<Protection>, request: Request, next: Next) -> Response {
    if protection.token.is_none() {
        return StatusCode::NOT_FOUND.into_response();
    }
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header
        .and_then(|header| header.split_once(' '))
        .filter(|(how, _)| how.eq_ignore_ascii_case("bearer"));
    if token.is_some_and(|(_, token)| protection.admits(token.trim())) {
        return next.run(request).await;
    }
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
    (StatusCode::UNAUTHORIZED, challenge, "this needs the header `Authorization: Bearer <debug token>`\n")
        .into_response()
}
