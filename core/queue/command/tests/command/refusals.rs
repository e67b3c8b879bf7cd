//! What is wrong is said, and what is secret is not.

use seaworthy_harness::Env;

use crate::operator::{Operator, output, program, text};

/// It must end with this code, say each of these, and never a password.
async fn check(args: &[&str], url: Option<&str>, code: i32, says: &[&str]) {
    let mut command = program(args);
    if let Some(url) = url {
        command.env("DATABASE_URL", url);
    }
    let output = output(&mut command).await;
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    for text in says {
        assert!(said.contains(text), "{args:?} does not say `{text}`: {said}");
    }
    assert!(!said.contains("hunter2"), "{args:?}: {said}");
}

#[tokio::test]
async fn wrong_usage_ends_with_2_and_says_what_to_do() {
    check(&["list"], None, 2, &["which database", "DATABASE_URL", "--url"]).await;
    check(&["list"], Some(""), 2, &["which database"]).await;
    check(&["list", "--url", "mysql://shop:hunter2@db/shop"], None, 2, &["postgres://"]).await;
    check(&["list", "--url", "postgres://shop:hunter2@db:port/shop"], None, 2, &["can't be read"]).await;
    check(&["list", "postgres://shop:hunter2@db/shop"], None, 2, &["unexpected argument"]).await;
    check(&["show", "postgres://shop:hunter2@db/shop"], None, 2, &["invalid value"]).await;
    check(&["sail"], None, 2, &["unrecognized subcommand"]).await;
    check(&["watch", "--every", "1ms"], None, 2, &["--every", "100ms"]).await;
    check(&["--help"], Some("postgres://shop:hunter2@db/shop"), 0, &["watch", "DATABASE_URL"]).await;
}

#[tokio::test]
async fn a_database_that_can_not_be_reached_is_named_without_its_login() {
    let url = "postgres://shop:hunter2@127.0.0.1:1/shop";
    for command in [["list"].as_slice(), &["watch", "--for", "1s"], &["dead", "purge", "1", "--yes"]] {
        check(command, Some(url), 3, &["127.0.0.1:1/shop", "refused"]).await;
    }
    check(&["list", "--url", url], None, 3, &["127.0.0.1:1/shop"]).await;
}

#[seaworthy_harness::test(connections = 12)]
async fn a_database_without_a_queue_is_told_so(env: Env) {
    let operator = Operator::of(&env).await;
    operator.ends_with(3, &["list"], &["has no queue", "Queue::migrate"]).await;
    operator.ends_with(3, &["watch", "--for", "1s"], &["has no queue"]).await;
}
