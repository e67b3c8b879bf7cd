//! A look into a running process, and who may have it.

use std::{
    alloc::System,
    hint::black_box,
    io::Read as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode},
};
use seaworthy_telemetry::{
    profiles::{self, INSTRUMENTED_SYSTEM, ProfileError, Protection, ProtectionError, StatsAlloc},
    queries,
    timeline::{self, Timelines},
    trace::{Context, Work},
};
use tokio::sync::Mutex;
use tower::ServiceExt as _;
use tracing_subscriber::layer::SubscriberExt as _;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A process takes one CPU profile at a time, so do its tests.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

const TOKEN: &str = "0123456789abcdef";

/// Keeps a thread busy until it is dropped.
struct Busy(Arc<AtomicBool>, Option<thread::JoinHandle<()>>);

impl Busy {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let spin = move || {
            let mut number = 1_u64;
            while !seen.load(Ordering::Relaxed) {
                number = a_busy_function(number);
            }
        };
        Busy(stop, Some(thread::Builder::new().name("busy".into()).spawn(spin).unwrap()))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}

#[inline(never)]
fn a_busy_function(mut number: u64) -> u64 {
    for _ in 0..10_000 {
        number = black_box(number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
    number
}

struct Answer {
    status: StatusCode,
    kind: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

async fn get(router: &Router, uri: &str, authorization: Option<&str>) -> Answer {
    let mut request = Request::get(uri);
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let kind = response.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
    let status = response.status();
    Answer { status, kind, body: to_bytes(response.into_body(), 1 << 26).await.unwrap().to_vec() }
}

fn router(timelines: &Timelines) -> Router {
    profiles::routes(Protection::token(TOKEN).unwrap(), timelines)
}

fn bearer() -> String {
    format!("Bearer {TOKEN}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cpu_profile_names_the_busy_function_in_every_form() {
    let _one = ONE_AT_A_TIME.lock().await;
    let _busy = Busy::start();
    let profile = profiles::cpu(Duration::from_secs(1), 199).await.unwrap();
    assert!(profile.samples() > 5, "{}", profile.samples());
    let folded = profile.folded();
    let busy =
        folded.lines().find(|line| line.starts_with("busy;") && line.contains("profiles::a_busy_function"));
    assert!(
        busy.is_some_and(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap() > 0),
        "{folded}"
    );
    let svg = profile.flame_graph();
    assert!(svg.contains("<svg") && svg.contains("profiles::a_busy_function"));
    let mut message = Vec::new();
    flate2::read::GzDecoder::new(&*profile.pprof().unwrap()).read_to_end(&mut message).unwrap();
    let name = b"profiles::a_busy_function";
    assert!(message.windows(name.len()).any(|part| part == name));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_profile_at_the_same_time_is_refused() {
    let _one = ONE_AT_A_TIME.lock().await;
    let minute = || profiles::cpu(Duration::from_secs(60), profiles::DEFAULT_FREQUENCY);
    let given_up = || tokio::time::timeout(Duration::from_millis(300), minute());
    let (one, other) = tokio::join!(given_up(), minute());
    assert!(one.is_err(), "the first is taken until it is given up");
    let error = other.unwrap_err();
    assert!(matches!(error, ProfileError::Busy), "{error}");
    let give_up = Instant::now() + Duration::from_secs(20);
    while let Ok(refused) = given_up().await {
        assert!(matches!(refused, Err(ProfileError::Busy)), "{refused:?}");
        assert!(Instant::now() < give_up, "one that was given up makes no room");
    }
}

/// The query log unwinds stacks, and so does the profiler, in the middle of whatever a thread does.
#[tokio::test(flavor = "multi_thread")]
async fn a_profile_can_be_taken_while_callers_are_looked_up() {
    let _one = ONE_AT_A_TIME.lock().await;
    let queries = queries::Settings::default().callers(queries::Callers::All).start().unwrap();
    let dispatch = tracing::Dispatch::new(tracing_subscriber::registry().with(queries.layer()));
    let stop = Arc::new(AtomicBool::new(false));
    let threads = [(); 3].map(|()| {
        let (stop, dispatch) = (stop.clone(), dispatch.clone());
        let tell = move || {
            while !stop.load(Ordering::Relaxed) {
                tracing::debug!(target: "sqlx::query", summary = "select 1", db.statement = "", elapsed_secs = 0.001);
            }
        };
        thread::spawn(move || tracing::dispatcher::with_default(&dispatch, tell))
    });
    let profile = profiles::cpu(Duration::from_secs(1), 1000);
    let profile = tokio::time::timeout(Duration::from_secs(20), profile).await.expect("no deadlock").unwrap();
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(profile.samples() > 0 && queries.counters().statements > 100, "{:?}", queries.counters());
}

#[tokio::test]
async fn a_profile_has_its_bounds() {
    for seconds in [0, 61] {
        let time = Duration::from_secs(seconds);
        let error = profiles::cpu(time, 99).await.unwrap_err();
        assert_eq!(error.to_string(), format!("a profile takes 1 to 60 seconds, and not {seconds}"));
        assert!(matches!(profiles::allocations(time).await, Err(ProfileError::Time(_))));
    }
    for frequency in [0, 1001] {
        let error = profiles::cpu(Duration::from_secs(1), frequency).await.unwrap_err();
        assert!(matches!(error, ProfileError::Frequency(_)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn allocations_are_counted() {
    let counted = tokio::spawn(profiles::allocations(Duration::from_secs(1)));
    let kept = tokio::task::spawn_blocking(|| {
        let mut kept = Vec::new();
        // Long enough that most of it lies in the second that is counted.
        for _ in 0..200 {
            kept.push(black_box(vec![1_u8; 100_000]));
            drop(black_box(vec![1_u8; 1_000]));
            thread::sleep(Duration::from_millis(3));
        }
        kept
    });
    let (counted, kept) = (counted.await.unwrap().unwrap(), kept.await.unwrap());
    assert!(counted.allocations >= 200 && counted.deallocations >= 100, "{counted:?}");
    assert!(counted.bytes_allocated > 10_000_000, "{counted:?}");
    assert!(counted.bytes_now > 10_000_000, "{counted:?}");
    assert!(counted.peak_memory.unwrap() > 10_000_000, "{counted:?}");
    drop(kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_the_token_gets_in() {
    let timelines = Timelines::new(timeline::Settings::default());
    let router = router(&timelines);
    let paths = [
        "/debug/timelines",
        "/debug/timelines/x",
        "/debug/profile/cpu?seconds=1",
        "/debug/profile/allocations",
    ];
    for path in paths {
        for wrong in [
            None,
            Some("Bearer"),
            Some("Bearer "),
            Some("Bearer 0123456789abcdeX"),
            Some("Bearer 0123456789abcdef0"),
            Some("Basic 0123456789abcdef"),
            Some("0123456789abcdef"),
        ] {
            let answer = get(&router, path, wrong).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path} {wrong:?}");
        }
        let in_url = format!("{path}{}token={TOKEN}", if path.contains('?') { '&' } else { '?' });
        assert_eq!(get(&router, &in_url, None).await.status, StatusCode::UNAUTHORIZED, "{in_url}");
        let closed = profiles::routes(Protection::closed(), &timelines);
        assert_eq!(get(&closed, path, Some(&bearer())).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(get(&router, "/debug/timelines", Some(&bearer())).await.status, StatusCode::OK);
    assert_eq!(
        get(&router, "/debug/timelines", Some(&format!("bearer {TOKEN}"))).await.status,
        StatusCode::OK
    );
}

#[test]
fn a_token_that_protects_nothing_is_refused() {
    assert_eq!(Protection::token("0123456789abcde").unwrap_err(), ProtectionError::TooShort(15));
    assert_eq!(Protection::token("").unwrap_err(), ProtectionError::TooShort(0));
    assert_eq!(Protection::token("0123456789 abcdef").unwrap_err(), ProtectionError::NotPlain);
    assert_eq!(Protection::token("0123456789äbcdef").unwrap_err(), ProtectionError::NotPlain);
    let shown = format!("{:?} {:?}", Protection::token(TOKEN).unwrap(), Protection::closed());
    assert_eq!(shown, "Protection(by a token) Protection(closed)");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_routes_serve_profiles() {
    let _one = ONE_AT_A_TIME.lock().await;
    let _busy = Busy::start();
    let router = router(&Timelines::new(timeline::Settings::default()));
    let get = async |uri: &str| get(&router, uri, Some(&bearer())).await;

    let answer = get("/debug/profile/cpu?seconds=1&format=folded").await;
    assert!(answer.status.is_success() && answer.text().contains("a_busy_function"), "{}", answer.text());
    let (answer, busy) =
        tokio::join!(get("/debug/profile/cpu?seconds=1"), get("/debug/profile/cpu?seconds=1&format=svg"));
    assert_eq!((answer.status, answer.kind.as_str()), (StatusCode::OK, "application/octet-stream"));
    assert_eq!(answer.body[..2], [0x1f, 0x8b], "gzip");
    assert_eq!(busy.status, StatusCode::CONFLICT, "{}", busy.text());

    let answer = get("/debug/profile/allocations?seconds=1").await;
    let counts: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(counts["bytes_now"].as_u64().unwrap() > 0, "{counts}");
    for (wrong, why) in [
        ("/debug/profile/cpu?seconds=0", "a profile takes 1 to 60 seconds, and not 0"),
        ("/debug/profile/cpu?seconds=61", "a profile takes 1 to 60 seconds, and not 61"),
        ("/debug/profile/cpu?seconds=soon", "seconds must be a whole number, and is \"soon\""),
        ("/debug/profile/cpu?frequency=5000", "a CPU profile takes 1 to 1000 samples a second, and not 5000"),
        ("/debug/profile/cpu?format=png", "format must be one of pprof, svg, folded, and is \"png\""),
        ("/debug/profile/allocations?seconds=-1", "seconds must be a whole number, and is \"-1\""),
        ("/debug/timelines?format=xml", "format must be one of text, json, and is \"xml\""),
    ] {
        let answer = get(wrong).await;
        let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(
            (answer.status, problem["detail"].as_str()),
            (StatusCode::BAD_REQUEST, Some(why)),
            "{wrong}"
        );
    }
}

#[tokio::test]
async fn the_routes_serve_timelines() {
    let timelines = Timelines::new(timeline::Settings::default());
    let router = router(&timelines);
    let work =
        Work::new("GET /orders", Context::from_caller(None, Some("shop/order-42"))).with_timeline(&timelines);
    work.run(async { timeline::mark("cache miss") }).await;
    let get = async |uri: &str| get(&router, uri, Some(&bearer())).await;

    let text = get("/debug/timelines").await.text();
    assert!(text.starts_with("Latest:\n") && text.contains("GET /orders  shop/order-42\n"), "{text}");
    let list: serde_json::Value =
        serde_json::from_slice(&get("/debug/timelines?format=json").await.body).unwrap();
    assert_eq!(list["slowest"][0]["request_id"], "shop/order-42");
    let text = get("/debug/timelines/shop%2Forder-42").await.text();
    assert!(text.contains("cache miss"), "{text}");
    let chrome = get("/debug/timelines/shop%2Forder-42?format=chrome").await;
    let chrome: serde_json::Value = serde_json::from_slice(&chrome.body).unwrap();
    assert_eq!(chrome["traceEvents"][2]["name"], "cache miss");
    let answer = get("/debug/timelines/another").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.text().contains("there is no timeline of that request"));
    assert_eq!(get("/debug/timelines/shop%2Forder-42?format=pdf").await.status, StatusCode::BAD_REQUEST);
}
