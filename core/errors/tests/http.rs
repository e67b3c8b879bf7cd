//! Every 4xx and 5xx of an axum application is a problem, and none tells what it should not.

use std::{io, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, WebSocketUpgrade},
    http::{Request, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http_body_util::BodyExt as _;
use seaworthy_errors::{
    Aggregate, Error, HTTP_CODES, Public, Registry, Retry,
    http::{Json, Path, Problem, ProblemLayer, Query, problem_types},
    http_codes,
};
use serde::Deserialize;
use tower::ServiceExt as _;

static REGISTRY: Registry = Registry::new(&[HTTP_CODES]);

/// Appears wherever a careless service would let something out.
const SECRET: &str = "hunter2";

#[derive(Debug, Deserialize)]
struct Line {
    #[allow(dead_code)]
    quantity: u32,
}

#[derive(Debug, Deserialize)]
struct Order {
    #[allow(dead_code)]
    lines: Vec<Line>,
}

fn app() -> Router {
    Router::new()
        .route("/fine", get(async || "fine"))
        .route("/error", get(async || Err::<(), _>(io_error(&http_codes::UNAVAILABLE))))
        .route(
            "/later",
            get(async || {
                Err::<(), _>(
                    io_error(&http_codes::TOO_MANY_REQUESTS)
                        .retry(Retry::After(Duration::from_millis(1_200))),
                )
            }),
        )
        .route(
            "/public",
            get(async || Err::<(), _>(io_error(&http_codes::CONFLICT).public("someone was faster"))),
        )
        .route("/plain", get(async || (StatusCode::IM_A_TEAPOT, format!("the password is {SECRET}"))))
        .route("/bare", get(async || StatusCode::BAD_GATEWAY))
        .route(
            "/own",
            get(async || (StatusCode::SERVICE_UNAVAILABLE, axum::Json(serde_json::json!({"redis": "down"})))),
        )
        .route("/panic", get(async || if true { panic!("{SECRET}") } else { "" }))
        .route("/hang", get(std::future::pending::<()>))
        .route("/orders/{id}", get(async |Path(_): Path<u32>| "an order"))
        .route("/plain-orders/{id}", get(async |_: axum::extract::Path<u32>| "an order"))
        .route("/search", get(async |Query(_): Query<Line>| "results"))
        .route("/orders", post(async |Json(_): Json<Order>| "taken"))
        .route("/plain-orders", post(async |_: axum::Json<Order>| "taken"))
        .route("/ws", get(async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(async |_| {})))
        .merge(problem_types(&REGISTRY))
        .layer(DefaultBodyLimit::max(1_000))
        .layer(ProblemLayer::new().timeout(Duration::from_millis(200)))
}

fn io_error(code: &'static seaworthy_errors::Code) -> Error {
    Error::new(code).caused_by(io::Error::other(SECRET)).with("key", SECRET)
}

async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn request(line: &str, body: &str) -> Request<Body> {
    let (method, path) = line.split_once(' ').unwrap();
    let request = Request::builder().method(method).uri(path).header("x-request-id", "r-1");
    let request =
        if body.is_empty() { request } else { request.header(header::CONTENT_TYPE, "application/json") };
    request.body(Body::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn every_error_that_axum_can_make_is_a_problem() {
    std::panic::set_hook(Box::new(|_| {}));
    let large = format!(r#"{{"lines": [], "more": "{}"}}"#, "x".repeat(2_000));
    let mut seen = Vec::new();
    for (line, body) in [
        ("GET /error", ""),
        ("GET /later", ""),
        ("GET /public", ""),
        ("GET /plain", ""),
        ("GET /bare", ""),
        ("GET /panic", ""),
        ("GET /hang", ""),
        ("GET /nothing", ""),
        ("DELETE /orders", ""),
        ("GET /orders/hunter2", ""),
        ("GET /plain-orders/hunter2", ""),
        ("GET /search?quantity=hunter2", ""),
        ("GET /ws", ""),
        ("POST /orders", r#"{"lines": [{"quantity": 1}, {"quantity": "hunter2"}]}"#),
        ("POST /orders", r#"{"lines": [{}]}"#),
        ("POST /orders", r#"{"lines": [hunter2"#),
        ("POST /orders", r#"{"lines": ["#),
        ("POST /orders", ""),
        ("POST /orders", &large),
        ("POST /plain-orders", r#"{"lines": "hunter2"}"#),
        ("POST /plain-orders", &large),
    ] {
        let response = app().oneshot(request(line, body)).await.unwrap();
        let status = response.status();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json", "{line}");
        let body = text(response).await;
        assert!(!body.contains(SECRET), "{line}: {body}");
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["request_id"], "r-1");
        let of = |name: &str| problem[name].as_str().unwrap_or("-").to_owned();
        seen.push(format!("{line}: {} {} {}; {}", status.as_u16(), of("type"), of("title"), of("detail")));
    }
    let _ = std::panic::take_hook();
    insta::assert_snapshot!(seen.join("\n"), @"
    GET /error: 503 /problems/HTTP-0503 The service is not available right now; -
    GET /later: 429 /problems/HTTP-0429 Too many requests; -
    GET /public: 409 /problems/HTTP-0409 It conflicts with the present state; someone was faster
    GET /plain: 418 /problems/HTTP-0400 The request is not valid; -
    GET /bare: 502 /problems/HTTP-0502 A service that we depend on failed; -
    GET /panic: 500 /problems/TASK-0001 Something went wrong on our side; -
    GET /hang: 504 /problems/HTTP-0504 The answer took too long; -
    GET /nothing: 404 /problems/HTTP-0404 There is nothing here; -
    DELETE /orders: 405 /problems/HTTP-0405 The method is not allowed here; -
    GET /orders/hunter2: 400 /problems/HTTP-0400 The request is not valid; a part of the address is not valid
    GET /plain-orders/hunter2: 400 /problems/HTTP-0400 The request is not valid; -
    GET /search?quantity=hunter2: 400 /problems/HTTP-0400 The request is not valid; the query of the address is not valid
    GET /ws: 400 /problems/HTTP-0400 The request is not valid; -
    POST /orders: 422 /problems/HTTP-0422 The content of the request is not valid; a value does not have the expected form at `lines[1].quantity` (line 1, column 50)
    POST /orders: 422 /problems/HTTP-0422 The content of the request is not valid; the field `quantity` is missing at `lines[0]` (line 1, column 13)
    POST /orders: 400 /problems/HTTP-0400 The request is not valid; the body is not valid JSON at `lines[0]` (line 1, column 12)
    POST /orders: 400 /problems/HTTP-0400 The request is not valid; the body ends too early at `lines` (line 1, column 11)
    POST /orders: 415 /problems/HTTP-0415 The content type is not supported here; -
    POST /orders: 413 /problems/HTTP-0413 The body is too large; -
    POST /plain-orders: 422 /problems/HTTP-0422 The content of the request is not valid; -
    POST /plain-orders: 413 /problems/HTTP-0413 The body is too large; -
    ");
}

#[tokio::test]
async fn what_is_logged_of_a_refused_request_repeats_no_value_of_it() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
        Blue,
    }
    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct Paint {
        colour: Colour,
    }
    fn told<T>(extracted: Result<T, Error>) -> String {
        extracted.err().map_or_else(|| "it was fine".to_owned(), |error| error.details().to_string())
    }
    let app = Router::new()
        .route("/number/{id}", get(async |path: Result<Path<u32>, Error>| told(path)))
        .route("/numbers/{one}/{other}", get(async |path: Result<Path<(u32, u32)>, Error>| told(path)))
        .route("/colour/{colour}", get(async |path: Result<Path<Colour>, Error>| told(path)))
        .route("/paint/{colour}", get(async |path: Result<Path<Paint>, Error>| told(path)))
        .route("/line", get(async |query: Result<Query<Line>, Error>| told(query)))
        .route("/paint", get(async |query: Result<Query<Paint>, Error>| told(query)))
        .route("/line", post(async |body: Result<Json<Line>, Error>| told(body)))
        .route("/paint", post(async |body: Result<Json<Paint>, Error>| told(body)));
    for (line, body, expected) in [
        ("GET /number/hunter2", "", "u32"),
        ("GET /numbers/1/hunter2", "", "u32"),
        ("GET /colour/hunter2", "", "`red` or `blue`"),
        ("GET /paint/hunter2", "", "`red` or `blue`"),
        ("GET /line?quantity=hunter2", "", "HTTP-0400"),
        ("GET /paint?colour=hunter2", "", "`red` or `blue`"),
        ("POST /line", r#"{"quantity": "hunter2"}"#, "u32"),
        ("POST /paint", r#"{"colour": "hunter2"}"#, "`red` or `blue`"),
        ("POST /paint", r#"{"colour": hunter2}"#, "expected value"),
    ] {
        let response = app.clone().oneshot(request(line, body)).await.unwrap();
        let told = text(response).await;
        assert!(told.contains(expected), "no {expected} in {line}: {told}");
        assert!(!told.contains(SECRET), "{line}: {told}");
    }
}

#[tokio::test]
async fn answers_that_are_no_errors_or_have_a_form_of_their_own_are_left_alone() {
    let response = app().oneshot(request("GET /fine", "")).await.unwrap();
    assert_eq!((response.status(), text(response).await.as_str()), (StatusCode::OK, "fine"));
    let response = app().oneshot(request("GET /own", "")).await.unwrap();
    assert_eq!(
        (response.status(), text(response).await.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, r#"{"redis":"down"}"#)
    );
}

#[tokio::test]
async fn headers_that_belong_to_the_error_stay() {
    let response = app().oneshot(request("DELETE /orders", "")).await.unwrap();
    assert_eq!(response.headers()[header::ALLOW], "POST");
    let response = app().oneshot(request("GET /later", "")).await.unwrap();
    assert_eq!(response.headers()[header::RETRY_AFTER], "2", "rounded up");
}

#[tokio::test]
async fn the_type_of_a_problem_leads_to_its_explanation() {
    let response = app().oneshot(request("GET /error", "")).await.unwrap();
    let problem: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    let line = format!("GET {}", problem["type"].as_str().unwrap());
    let response = app().oneshot(request(&line, "")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let page: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(page["code"], "HTTP-0503");
    let response = app().oneshot(request("GET /problems/NONE-0001", "")).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_request_id_that_could_do_harm_is_not_repeated() {
    for bad in ["<script>", "a\"b", &"x".repeat(500)] {
        let mut request = request("GET /error", "");
        request.headers_mut().insert("x-request-id", bad.parse().unwrap());
        let body = text(app().oneshot(request).await.unwrap()).await;
        assert!(!body.contains("request_id"), "{body}");
    }
}

#[test]
fn the_body_of_an_aggregate_is_bounded_and_its_count_exact() {
    macro_rules! distinct { ($($code:ident)+) => { vec![$(&http_codes::$code),+] }; }
    let codes = distinct! { BAD_REQUEST UNAUTHORIZED FORBIDDEN NOT_FOUND CONFLICT GONE INTERNAL UNAVAILABLE };
    let mut failures = Aggregate::new(&http_codes::UNPROCESSABLE);
    for n in 0..20_000_usize {
        let source =
            io::Error::other(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"][n % 11].repeat(n % 13));
        failures.add(
            Error::new(codes[n % 8]).caused_by(source).public(Public::exposing("\u{1}é\"".repeat(1_000))),
        );
    }
    let error = failures.finish().unwrap();
    let body = Problem::new("https://example.com/problems/").body(&error);
    assert!(body.len() <= Problem::MAX_BODY, "{}", body.len());
    let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(problem["errors_total"], 20_000);
    let shown: u64 =
        problem["errors"].as_array().unwrap().iter().map(|error| error["count"].as_u64().unwrap()).sum();
    assert_eq!(shown + problem["errors_omitted"].as_u64().unwrap(), 20_000);
    assert!(shown > 0);
    assert_eq!(problem["type"], "https://example.com/problems/HTTP-0422");
    let response = error.into_response();
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
}
