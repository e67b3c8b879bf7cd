//! Which names belong to secrets.

/// The most of a name that is looked at, in bytes from its end.
const MAX: usize = 64;

/// In these parts of a name there is no doubt, wherever they stand.
const CONTAINED: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "credential",
    "apikey",
    "privatekey",
    "accesskey",
    "authorization",
    "cookie",
    "sessionid",
];

/// A word of a name that makes it secret.
const WORDS: &[&str] = &[
    "bearer",
    "card",
    "csrf",
    "cvc",
    "cvv",
    "iban",
    "jwt",
    "otp",
    "pass",
    "passcode",
    "pin",
    "pwd",
    "session",
    "sessions",
    "sid",
    "signature",
    "ssn",
    "totp",
    "xsrf",
];

/// Two words of a name that make it secret together.
const PAIRS: &[(&str, &str)] = &[
    ("access", "key"),
    ("account", "number"),
    ("api", "key"),
    ("api", "keys"),
    ("auth", "key"),
    ("encryption", "key"),
    ("master", "key"),
    ("private", "key"),
    ("signing", "key"),
    ("ssh", "key"),
];

/// A last word that says that this is about a secret, and isn't one.
const ABOUT: &[&str] = &[
    "age", "count", "enabled", "expired", "expires", "expiry", "kind", "len", "length", "limit", "name",
    "policy", "required", "size", "status", "total", "ttl", "type", "used", "valid", "version",
];

/// Whether a field, header, parameter or column of this name holds a secret: `password`, `x-api-key`, `accessToken`, `user.ssn`.
pub fn is_secret_name(name: &str) -> bool {
    let bytes = &name.as_bytes()[name.len().saturating_sub(MAX)..];
    let mut lower = [0_u8; MAX];
    let lower = &mut lower[..bytes.len()];
    lower.copy_from_slice(bytes);
    lower.make_ascii_lowercase();
    let mut before: &[u8] = b"";
    let mut secret = false;
    let mut start = 0;
    while start < bytes.len() {
        let end = word_end(bytes, start);
        let word = &lower[start..end];
        if !word.is_empty() {
            secret |= is_secret_word(word)
                || PAIRS.iter().any(|(one, two)| before == one.as_bytes() && word == two.as_bytes());
            before = word;
        }
        start = end.max(start + 1);
    }
    let about = ABOUT.iter().any(|word| before == word.as_bytes());
    let auth = before == b"auth";
    (secret || auth) && !about
}

fn is_secret_word(word: &[u8]) -> bool {
    word.ends_with(b"token")
        || word.ends_with(b"tokens")
        || WORDS.iter().any(|secret| word == secret.as_bytes())
        || CONTAINED.iter().any(|secret| contains(word, secret.as_bytes()))
}

fn contains(word: &[u8], part: &[u8]) -> bool {
    word.len() >= part.len() && word.windows(part.len()).any(|window| window == part)
}

/// Where the word that starts here ends: at punctuation, and where the case changes as in `apiKey` and `APIKey`.
fn word_end(name: &[u8], start: usize) -> usize {
    let mut end = start;
    while end < name.len() && name[end].is_ascii_alphanumeric() {
        let hump = end > start
            && name[end].is_ascii_uppercase()
            && (name[end - 1].is_ascii_lowercase() || name.get(end + 1).is_some_and(u8::is_ascii_lowercase));
        if hump {
            break;
        }
        end += 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::is_secret_name;

    #[test]
    fn names_of_secrets_are_known_however_they_are_spelled() {
        for name in [
            "password",
            "PASSWORD",
            "db_password",
            "pgpassword",
            "userPassword",
            "passwd",
            "pwd",
            "passphrase",
            "secret",
            "client-secret",
            "token",
            "accessToken",
            "refresh_token",
            "id_tokens",
            "csrf_token",
            "api_key",
            "apiKey",
            "APIKey",
            "apikey",
            "X-Api-Key",
            "x-auth",
            "Authorization",
            "proxy-authorization",
            "Cookie",
            "set-cookie",
            "session",
            "session_id",
            "sessionid",
            "private_key",
            "access_key",
            "card",
            "card.number",
            "ssn",
            "user.ssn",
            "iban",
            "cvv",
            "credentials",
            "AWS_SECRET_ACCESS_KEY",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn names_of_other_things_are_not_taken_for_secrets() {
        for name in [
            "",
            "key",
            "status",
            "route",
            "elapsed",
            "passed",
            "compass",
            "author",
            "authored_by",
            "tokenizer",
            "token_type",
            "token_count",
            "cookie_name",
            "session_ttl",
            "cardinality",
            "discard",
            "spinner",
            "pinned",
            "primary_key",
            "monkey",
            "obsession",
            "passenger",
            "_",
            "--",
            "é",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
