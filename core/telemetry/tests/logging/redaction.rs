//! What scrubbing hides, what it leaves, and what holds for any text.

use proptest::prelude::*;
use seaworthy_telemetry::redaction::{scrub, scrub_sql};

#[test]
fn secrets_in_free_text_are_hidden_and_the_rest_stays() {
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl";
    for (text, scrubbed) in [
        // URLs
        (
            "from postgres://shop:hunter2@db:5432/shop?x=1 on",
            "from postgres://[redacted]@db:5432/shop?x=[redacted] on",
        ),
        ("redis://:hunter2@cache/0", "redis://[redacted]@cache/0"),
        ("postgres://shop:hun/ter2@db/shop", "postgres://[redacted]@db/shop"),
        ("postgres://shop:p@ss@db/shop", "postgres://[redacted]@db/shop"),
        ("(https://x.test/a?q=ada&page=2#top).", "(https://x.test/a?q=[redacted]&page=[redacted]#top)."),
        ("https://x.test/cb#access_token=abc", "https://x.test/cb#access_token=[redacted]"),
        ("https://x.test/reset?hunter2", "https://x.test/reset?[redacted]"),
        ("GET /search?q=ada&b= 200", "GET /search?q=[redacted]&b= 200"),
        // Headers
        ("Authorization: Bearer abc.def, tried twice", "Authorization: [redacted], tried twice"),
        ("authorization: Digest username=\"ada\", response=\"6629\"", "authorization: [redacted]"),
        ("sent Bearer tok-123456 on", "sent Bearer [redacted] on"),
        ("sent Basic YWRhOmh1bnRlcjI= on", "sent Basic [redacted] on"),
        ("Cookie: sid=abc; theme=dark done", "Cookie: [redacted] done"),
        (
            "{\"x-api-key\": \"abc\", \"accept\": \"*/*\"}",
            "{\"x-api-key\": \"[redacted]\", \"accept\": \"*/*\"}",
        ),
        (
            "[(\"cookie\", \"a=b\"), (\"accept\", \"*/*\")]",
            "[(\"cookie\", \"[redacted]\"), (\"accept\", \"*/*\")]",
        ),
        // Names and values
        ("host=db password=hunter2 user=ada", "host=db password=[redacted] user=ada"),
        ("password=a,b;c&d, user=ada", "password=[redacted], user=ada"),
        ("password='it is long', user", "password='[redacted]', user"),
        ("Config { password: Some(\"a)b\"), port: 1 }", "Config { password: [redacted], port: 1 }"),
        ("Config { password: \"a\\\"b\", port: 1 }", "Config { password: \"[redacted]\", port: 1 }"),
        ("{\"tokens\":[\"a\",\"b\"],\"n\":1}", "{\"tokens\":[redacted],\"n\":1}"),
        (
            "\"{\\\"password\\\":\\\"a\\\\\\\"b\\\",\\\"n\\\":1}\"",
            "\"{\\\"password\\\":\\\"[redacted]\\\",\\\"n\\\":1}\"",
        ),
        ("password: \"no end", "password: \"[redacted]"),
        ("run --password hunter2 --port 1", "run --password [redacted] --port 1"),
        ("card=1234", "card=[redacted]"),
        // By their looks
        (jwt, "[redacted]"),
        ("key AKIAIOSFODNN7EXAMPLE", "key [redacted]"),
        ("a -----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY----- b", "a [redacted] b"),
        ("ada.l+x@mail.example.org wrote", "[redacted] wrote"),
        ("jürgen@example.com", "[redacted]"),
        ("paid with 4111 1111 1111 1111 today", "paid with [redacted] today"),
        ("sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "sha256:[redacted]"),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY", "[redacted]"),
        // Statements, databases, decoders
        ("failed: insert into users values ('ada', 1)", "failed: insert into users values ('?', 1)"),
        ("select 'a''b', E'a\\'b', $$c$$, $t$d$t$ from x", "select '?', E'?', '?', '?' from x"),
        ("Key (email)=(ada) already exists.", "Key (email)=([redacted]) already exists."),
        (
            "{ message: \"m\", detail: Some(\"ada\"), hint: None }",
            "{ message: \"m\", detail: [redacted], hint: None }",
        ),
        ("alter role ada password 'ada'", "alter role ada password '?'"),
        ("do $$ begin raise 'ada'; end $$", "do '?'"),
        ("DETAIL: Failing row contains (1, ada).\nHINT: none", "DETAIL: [redacted]\nHINT: none"),
        (
            "invalid input syntax for type integer: \"a\"da\"",
            "invalid input syntax for type integer: \"[redacted]\"",
        ),
        (
            "invalid type: string \"ada\", expected u64 at line 1",
            "invalid type: string \"[redacted]\", expected u64 at line 1",
        ),
        ("unknown variant `ada`, expected `a` or `b`", "unknown variant `[redacted]`, expected `a` or `b`"),
    ] {
        assert_eq!(scrub(text), scrubbed, "{text}");
        assert_eq!(scrub(scrubbed), scrubbed, "again");
    }
}

#[test]
fn harmless_texts_stay_as_they_are() {
    for text in [
        "",
        "3 jobs done in 12.5ms, 99.9% of them at once",
        "can't open 'config.toml': it's not there, and that's that",
        "listening on http://127.0.0.1:8080/livez",
        "https://example.com/users/@me",
        "job 0af76519-16cd-43dd-8448-eb211c80319c is done, so is job-0af76519-16cd-43dd-8448-eb211c80319c",
        "Order/0af76519-16cd-43dd-8448-eb211c80319c",
        "/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/sqlx-core-0.9.0/src/logger.rs:115",
        "/Users/Bob/Projects2/my-service/src/main.rs",
        "AbstractSingletonProxyFactoryBeanAndItsConfiguration",
        "at 1700000000000 ms, 1700000000000000 µs, 1700000000000000000 ns",
        "0.5123456789012346 of all",
        "basic authentication failed; bearer authentication too",
        "select id from users where name = $1 and password = $2",
        "token_type=bearer token_count=5 session_ttl=30s",
        "core::session::start: opened",
        "does a @mention or a?b count",
        "naïve café 🦀 ünïcödé",
        "error returned from database: relation \"users\" does not exist",
        "what? why=because",
    ] {
        assert_eq!(scrub(text), text);
    }
}

#[test]
fn a_statement_keeps_its_shape() {
    let sql = "insert into \"o'brien\" (name, note) values ('ada', E'it\\'s', $1) -- done";
    assert_eq!(scrub_sql(sql), "insert into \"o'brien\" (name, note) values ('?', E'?', $1) -- done");
    assert_eq!(scrub_sql("values ('no end"), "values ('?'");
    assert_eq!(scrub_sql("(name = 'ada' or note like$x$ada$x$)"), "(name = '?' or note like'?')");
}

/// Texts made of what the scanner looks for, in any order.
fn tricky() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "password",
        "token",
        "cookie",
        "authorization",
        "Bearer ",
        "Basic ",
        "=",
        ":",
        ": ",
        "\"",
        "\\\"",
        "\\",
        "'",
        "`",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ", ",
        ";",
        "&",
        "?",
        "#",
        "@",
        "://",
        "postgres",
        "a.b",
        "--",
        " ",
        "\n",
        "$",
        "$$",
        "select ",
        "values (",
        "where ",
        "Key (",
        ")=(",
        "DETAIL:",
        "eyJ",
        "AKIA",
        "-----BEGIN ",
        "-----END ",
        "4111111111111111",
        "[redacted]",
        "'?'",
        "é",
        "🦀",
        "9f86d081884c7d659a2feaa0c55ad015",
        "invalid type: string ",
        "value \"",
        "x",
        "1",
        "E'",
    ]);
    prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn scrubbing_is_done_after_one_time_and_bounded(text in prop_oneof![tricky(), any::<String>()]) {
        for scrub in [scrub, scrub_sql] {
            let once = scrub(&text).into_owned();
            prop_assert_eq!(&scrub(&once), &once);
            prop_assert!(once.len() <= text.len() * 10 + 10, "{} bytes from {}", once.len(), text.len());
        }
    }

    #[test]
    fn words_and_numbers_stay(text in "([0-9]{1,12} )?[a-zäöü]{1,12}(( |, |; |\\. )([0-9]{1,12} )?[a-zäöü]{1,12}){0,20}") {
        prop_assert_eq!(scrub(&text), text.as_str());
    }

    #[test]
    fn a_password_is_hidden_wherever_it_stands(before in "[a-z ]{0,20}", secret in "[A-Za-z0-9!%*+]{6,20}", after in "[a-z ]{0,20}") {
        let secret = format!("Zq7{secret}");
        for text in [
            format!("{before} password={secret} {after}"),
            format!("{before} Password: {secret}\n{after}"),
            format!("{before} {:?} {after}", [("api_key", &secret)]),
            format!("{before} postgres://u:{secret}@h/{after}"),
            format!("{before} select '{secret}' {after}"),
            format!("{before} Cookie: a=1; b={secret} {after}"),
        ] {
            prop_assert!(!scrub(&text).contains(&secret), "{}", scrub(&text));
        }
    }
}

#[test]
fn scrubbing_takes_time_in_proportion_to_the_text() {
    // Of each, 16 KiB: what is quadratic takes seconds.
    let start = std::time::Instant::now();
    for piece in [
        "a.",
        "://",
        "a-",
        "Key (",
        "\"",
        "'",
        "$",
        "password=(",
        "@a.",
        "\\",
        "?a=&",
        "eyJ.",
        "-----BEGIN ",
        "1 ",
        "a@",
    ] {
        let text = piece.repeat((16 << 10) / piece.len());
        scrub(&text);
        scrub_sql(&text);
    }
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}
