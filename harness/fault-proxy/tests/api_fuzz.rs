//! Arbitrary requests against the API, without sockets in between: it answers all of them in the contract's form, and
//! what it says it did is what it did.

use std::{cell::RefCell, collections::BTreeMap};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Method, Request, Response, header},
};
use proptest::prelude::*;
use seaworthy_fault_proxy::{Proxies, api, config};
use serde_json::{Map, Value, json};
use tower::ServiceExt;

/// Each case is a server that gets a number of requests in a row.
const CASES: u32 = 620;
const REQUESTS: std::ops::Range<usize> = 12..24;

#[derive(Debug, Clone)]
struct Asked {
    method: Method,
    path: String,
    body: Vec<u8>,
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![3 => sensible(), 2 => wild()]
}

/// What a client could ask for, with a body that is meant for it.
fn sensible() -> impl Strategy<Value = Asked> {
    let named = || prop::sample::select(vec!["a", "b", "c"]);
    let toxic_path =
        || (named(), named()).prop_map(|(proxy, toxic)| format!("/proxies/{proxy}/toxics/{toxic}"));
    let asked = |method: Method, path: String, body: Value| Asked {
        method,
        path,
        body: body.to_string().into_bytes(),
    };
    prop_oneof![
        3 => proxy().prop_map(move |body| asked(Method::POST, "/proxies".into(), body)),
        4 => (named(), toxic())
            .prop_map(move |(name, body)| asked(Method::POST, format!("/proxies/{name}/toxics"), body)),
        2 => (named(), proxy()).prop_map(move |(name, body)| asked(Method::PATCH, format!("/proxies/{name}"), body)),
        2 => (toxic_path(), toxic()).prop_map(move |(path, body)| asked(Method::PATCH, path, body)),
        1 => toxic_path().prop_map(move |path| asked(Method::DELETE, path, Value::Null)),
        1 => named().prop_map(move |name| asked(Method::DELETE, format!("/proxies/{name}"), Value::Null)),
        1 => prop::collection::vec(proxy(), 0..3)
            .prop_map(move |body| asked(Method::POST, "/populate".into(), body.into())),
        1 => Just(asked(Method::POST, "/reset".into(), Value::Null)),
    ]
}

/// Any method on any path with any body.
fn wild() -> impl Strategy<Value = Asked> {
    let methods = ["POST", "GET", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "BREW"];
    let method =
        prop::sample::select(methods.to_vec()).prop_map(|name| Method::from_bytes(name.as_bytes()).unwrap());
    let bytes = |value: Value| value.to_string().into_bytes();
    let body = prop_oneof![
        2 => prop_oneof![proxy(), toxic()].prop_map(bytes),
        2 => json_value().prop_map(bytes),
        2 => (toxic(), any::<prop::sample::Index>(), any::<u8>()).prop_map(move |(value, at, byte)| {
            let mut bytes = bytes(value);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes
        }),
        1 => prop::collection::vec(any::<u8>(), 0..64),
        1 => Just(Vec::new()),
    ];
    (method, path(), body).prop_map(|(method, path, body)| Asked { method, path, body })
}

fn path() -> impl Strategy<Value = String> {
    let name = || {
        prop_oneof![
            8 => prop::sample::select(vec!["a", "b"]).prop_map(str::to_owned),
            1 => prop::sample::select(vec!["%2F", "%C3%BC", "%ff", "..", "noop_downstream", "%00", "a%20b"])
                .prop_map(str::to_owned),
            1 => "[a-zA-Z0-9%._~-]{1,8}",
        ]
    };
    prop_oneof![
        3 => Just("/proxies".to_owned()),
        2 => Just("/populate".to_owned()),
        1 => Just("/reset".to_owned()),
        1 => prop::sample::select(vec!["/version", "/decisions", "/metrics", "/", "/proxies/", "*"]).prop_map(str::to_owned),
        4 => name().prop_map(|name| format!("/proxies/{name}")),
        6 => name().prop_map(|name| format!("/proxies/{name}/toxics")),
        6 => (name(), name()).prop_map(|(proxy, toxic)| format!("/proxies/{proxy}/toxics/{toxic}")),
        1 => "/[a-zA-Z0-9/%?&=._~-]{0,24}",
    ]
}

fn proxy() -> impl Strategy<Value = Value> {
    let listen = prop::sample::select(vec![
        json!("127.0.0.1:0"),
        json!("localhost:0"),
        json!("[::1]:0"),
        json!(""),
        json!("local373"),
        json!("256.0.0.1:1"),
        json!("127.0.0.1:99999"),
        json!("[::1"),
        json!("127.0.0.1:x"),
        json!("192.0.2.1:0"),
    ]);
    fields(vec![
        (
            "name",
            mostly(prop::sample::select(vec![json!("a"), json!("b"), json!("c"), json!("ü/ "), json!("")])),
        ),
        ("upstream", mostly(prop::sample::select(vec![json!("127.0.0.1:1"), json!("nowhere"), json!("")]))),
        ("listen", mostly(listen)),
        ("enabled", mostly(any::<bool>().prop_map(Value::from))),
        ("toxics", mostly(prop::collection::vec(toxic(), 0..3).prop_map(Value::from))),
    ])
}

fn toxic() -> impl Strategy<Value = Value> {
    const MESSAGES: [&str; 6] = ["action", "error", "delay", "when", "nth", "at_most"];
    let types: Vec<(&str, Vec<&str>)> = vec![
        ("latency", vec!["latency", "jitter", "LATENCY"]),
        ("bandwidth", vec!["rate"]),
        ("slow_close", vec!["delay"]),
        ("timeout", vec!["timeout"]),
        ("reset_peer", vec!["timeout"]),
        ("slicer", vec!["average_size", "size_variation", "delay"]),
        ("limit_data", vec!["bytes"]),
        ("noop", vec!["unknown"]),
        ("stall", vec!["share", "pause"]),
        ("corrupt", vec!["rate"]),
        ("blackhole", vec!["unknown"]),
        ("refuse", vec!["unknown"]),
        ("half_open", vec!["timeout"]),
        ("redis", [&["command", "key", "first"], &MESSAGES[..]].concat()),
        ("postgres", [&["query", "message", "answer", "text"], &MESSAGES[..]].concat()),
        ("websocket", [&["frame", "text"], &MESSAGES[..]].concat()),
        ("fog", vec!["unknown"]),
    ];
    let described = prop::sample::select(types).prop_flat_map(|(kind, names)| {
        let attribute =
            (prop::sample::select(names), number(), word()).prop_map(|(name, number, word)| match name {
                "command" | "key" | "query" | "message" | "answer" | "text" | "error" | "action" | "when"
                | "frame" => (name, word),
                _ => (name, number),
            });
        let attributes = prop::collection::vec(attribute, 0..4).prop_map(|attributes| {
            let owned = attributes.into_iter().map(|(name, value)| (name.to_owned(), value));
            owned.collect::<Map<_, _>>().into()
        });
        (mostly(Just(Value::from(kind))), mostly(attributes))
    });
    let stream =
        prop::sample::select(vec![json!("upstream"), json!("DownStream"), json!("sideways"), Value::Null]);
    let rest = fields(vec![
        ("name", mostly(prop::sample::select(vec![json!("a"), json!("b"), json!("c"), json!("")]))),
        ("stream", mostly(stream)),
        ("toxicity", mostly(prop_oneof![4 => (0.0..=1.0).prop_map(Value::from), 1 => number()])),
    ]);
    (described, rest).prop_map(|((kind, attributes), mut rest)| {
        rest["type"] = kind;
        rest["attributes"] = attributes;
        rest
    })
}

/// The words that attributes know, and some that none knows.
fn word() -> impl Strategy<Value = Value> + Clone {
    let words = [
        "COMMIT", "Parse", "DataRow", "", "a\r\nb", "fail", "cut", "delay", "after", "before", "text",
        "40001",
    ];
    prop::sample::select(words.to_vec()).prop_map(Value::from)
}

/// Some of these fields.
fn fields(fields: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let kept = prop::collection::vec(prop::bool::weighted(0.85), names.len());
    (values, kept)
        .prop_map(move |(values, kept)| {
            let all = names.iter().zip(values).zip(kept);
            all.filter(|(_, kept)| *kept)
                .map(|((name, value), _)| ((*name).to_owned(), value))
                .collect::<Map<_, _>>()
        })
        .prop_map(Value::from)
        .boxed()
}

fn mostly(meant: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Value> {
    prop_oneof![30 => meant, 1 => json_value()].boxed()
}

fn number() -> impl Strategy<Value = Value> + Clone {
    prop_oneof![
        4 => (0_u64..5).prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        1 => prop::sample::select(vec![json!(i64::MAX), json!(u64::MAX), json!(-1), json!(1.5), json!(0.5), json!(1e300)]),
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    // Text without a colon: it is no address, so that no resolver is asked for it.
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        "[^:]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[^:]{0,6}", inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

async fn send(router: &Router, method: Method, path: &str, body: Vec<u8>) -> Option<(Response<()>, String)> {
    let request = Request::builder().method(method).uri(path).body(Body::from(body)).ok()?;
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    Some((Response::from_parts(parts, ()), String::from_utf8(bytes.to_vec()).expect("answers are UTF-8")))
}

async fn get(router: &Router, path: &str) -> (u16, Value) {
    let (response, text) = send(router, Method::GET, path, Vec::new()).await.unwrap();
    (response.status().as_u16(), serde_json::from_str(&text).unwrap())
}

/// Every answer has the contract's form.
fn check_form(asked: &Asked, response: &Response<()>, text: &str) -> Result<(), TestCaseError> {
    let status = response.status().as_u16();
    let content_type =
        response.headers().get(header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap());
    prop_assert!(response.headers().contains_key("x-toxiproxy-request-id"));
    if asked.method == Method::HEAD {
        return Ok(());
    }
    match status {
        204 => prop_assert_eq!(text, ""),
        200 | 201 if content_type == "application/x-ndjson" => {}
        200 | 201 => {
            prop_assert!(content_type.starts_with("application/json"), "{}", content_type);
            prop_assert!(serde_json::from_str::<Value>(text).is_ok(), "{}", text);
        }
        404 if text == "404 page not found\n" => {}
        405 => prop_assert_eq!(text, ""),
        _ => {
            let error: Value =
                serde_json::from_str(text).map_err(|_| TestCaseError::fail(text.to_owned()))?;
            prop_assert_eq!(&error["status"], &json!(status));
            let told = error["error"].as_str().unwrap_or_default();
            prop_assert!(!told.is_empty() && told.len() < 1000, "{}", text);
            prop_assert!(
                matches!(status, 400 | 404 | 409) || status == 500 && told.starts_with("listen tcp"),
                "{}",
                text
            );
            let is_populate = error.get("proxies").is_some();
            prop_assert_eq!(content_type == "application/json", is_populate, "{}", content_type);
        }
    }
    Ok(())
}

/// What was answered is what is there.
async fn check_effect(router: &Router, asked: &Asked, status: u16, text: &str) -> Result<(), TestCaseError> {
    let path = asked.path.split('?').next().unwrap_or_default();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let told = || serde_json::from_str::<Value>(text).unwrap();
    match (asked.method.as_str(), &segments[..], status) {
        ("POST", ["proxies"], 201) => {
            let (_, all) = get(router, "/proxies").await;
            let told = told();
            prop_assert_eq!(&all[told["name"].as_str().unwrap()], &told);
        }
        ("POST", ["populate"], 201) => {
            let (_, all) = get(router, "/proxies").await;
            // Of two of one name, the later one is there.
            for proxy in told()["proxies"].as_array().unwrap() {
                prop_assert!(all.get(proxy["name"].as_str().unwrap()).is_some());
            }
        }
        ("POST", ["reset"], 204) => {
            let (_, all) = get(router, "/proxies").await;
            for proxy in all.as_object().unwrap().values() {
                prop_assert_eq!((&proxy["enabled"], &proxy["toxics"]), (&json!(true), &json!([])));
            }
        }
        ("POST" | "PATCH", ["proxies", _] | ["proxies", _, "toxics", _], 200) => {
            prop_assert_eq!(get(router, path).await, (200, told()));
        }
        ("POST", ["proxies", _, "toxics"], 200) => {
            let (_, toxics) = get(router, path).await;
            prop_assert!(toxics.as_array().unwrap().contains(&told()));
        }
        ("DELETE", _, 204) => prop_assert_eq!(get(router, path).await.0, 404),
        _ => {}
    }
    Ok(())
}

/// Whatever happened, names are those of their proxies, and toxics have names of their own.
async fn check_state(router: &Router, proxies: &Proxies) -> Result<(), TestCaseError> {
    let (status, all) = get(router, "/proxies").await;
    prop_assert_eq!(status, 200);
    let all = all.as_object().unwrap();
    prop_assert_eq!(all.len(), proxies.list().len());
    for (name, proxy) in all {
        prop_assert_eq!(&proxy["name"], name);
        prop_assert_eq!(proxy["enabled"].as_bool(), Some(proxies.get(name).unwrap().is_enabled()));
        let toxics: Vec<&Value> =
            proxy["toxics"].as_array().unwrap().iter().map(|toxic| &toxic["name"]).collect();
        for (at, name) in toxics.iter().enumerate() {
            prop_assert!(!toxics[..at].contains(name), "{} twice", name);
        }
    }
    Ok(())
}

#[test]
fn arbitrary_requests_are_answered_in_form_and_do_what_the_answer_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let by_status = RefCell::new(BTreeMap::<u16, usize>::new());
    let settings = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(settings);
    let outcome = runner.run(&prop::collection::vec(asked(), REQUESTS), |requests| {
        runtime.block_on(async {
            let proxies = Proxies::with_seed(1);
            let router = api::router(proxies.clone());
            // Something to change is there from the start.
            for name in ["a", "b"] {
                let body = json!({ "name": name, "upstream": "127.0.0.1:1" }).to_string().into_bytes();
                send(&router, Method::POST, "/proxies", body).await;
            }
            for asked in &requests {
                let Some((response, text)) =
                    send(&router, asked.method.clone(), &asked.path, asked.body.clone()).await
                else {
                    continue;
                };
                let status = response.status().as_u16();
                *by_status.borrow_mut().entry(status).or_default() += 1;
                check_form(asked, &response, &text)?;
                check_effect(&router, asked, status, &text).await?;
            }
            check_state(&router, &proxies).await
        })
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let by_status = by_status.into_inner();
    let count: usize = by_status.values().sum();
    assert!(count >= 10_000, "only {count} requests were made");
    // A fuzzer that is always turned away at the door tests nothing.
    for (status, at_least) in
        [(200, 500), (201, 100), (204, 50), (400, 1000), (404, 500), (405, 200), (409, 50), (500, 20)]
    {
        assert!(by_status.get(&status) >= Some(&at_least), "{status} too seldom: {by_status:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_arbitrary_file_is_read_or_refused_with_a_line_that_it_has(
        entries in prop::collection::vec(prop_oneof![4 => proxy(), 1 => json_value()], 0..4),
        cut in any::<prop::sample::Index>(),
        is_cut in prop::bool::weighted(0.3),
    ) {
        let mut text = serde_json::to_string_pretty(&entries).unwrap();
        if is_cut {
            let cut = (0..=cut.index(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap();
            text.truncate(cut);
        }
        match config::parse(&text) {
            Ok(configs) => prop_assert_eq!(configs.len(), entries.len()),
            Err(config::Error::Content { line, why }) => {
                prop_assert!((1..=text.matches('\n').count() + 1).contains(&line), "{}: {}", line, text);
                prop_assert!(!why.is_empty());
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}
