//! What an error carries, what of it gets out, and which errors are the same one.

use std::{
    collections::HashSet,
    io,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use seaworthy_errors::{
    Aggregate, Boundary, Error, Fingerprint, Kind, Public, Registry, ResultExt as _, Retry, Window, codes,
    http_codes, task_codes,
};

codes! {
    /// Codes for these tests.
    static CODES;

    /// The depot of the carrier is full.
    /// It is again on Monday.
    DEPOT_FULL = "PARCEL-0001", Unavailable, "The parcel can't be taken right now" {
        example: "The Monday after a holiday.",
        remedy: "Wait.",
        retry: Retry::After(Duration::from_secs(600)),
    }
    /// The parcel is too heavy.
    TOO_HEAVY = "PARCEL-0002", InvalidArgument, "The parcel is too heavy" {
        example: "A parcel of 40 kg.",
        remedy: "Split it.",
        status: 413,
    }
}

static REGISTRY: Registry = Registry::new(&[CODES, task_codes::CODES]);

#[test]
fn the_kinds_are_those_of_grpc_with_their_http_statuses() {
    let table: Vec<String> = Kind::ALL
        .iter()
        .map(|kind| {
            assert_eq!(Kind::from_number(kind.number()), *kind);
            format!("{} {} {}", kind.number(), kind, kind.http_status())
        })
        .collect();
    insta::assert_snapshot!(table.join("\n"), @"
    0 OK 200
    1 CANCELLED 499
    2 UNKNOWN 500
    3 INVALID_ARGUMENT 400
    4 DEADLINE_EXCEEDED 504
    5 NOT_FOUND 404
    6 ALREADY_EXISTS 409
    7 PERMISSION_DENIED 403
    8 RESOURCE_EXHAUSTED 429
    9 FAILED_PRECONDITION 400
    10 ABORTED 409
    11 OUT_OF_RANGE 400
    12 UNIMPLEMENTED 501
    13 INTERNAL 500
    14 UNAVAILABLE 503
    15 DATA_LOSS 500
    16 UNAUTHENTICATED 401
    ");
    assert_eq!(Kind::from_number(99), Kind::Unknown);
}

#[test]
fn an_error_is_as_small_as_a_pointer() {
    assert_eq!(size_of::<Error>(), size_of::<usize>());
    assert_eq!(size_of::<Result<u32, Error>>(), 16);
}

#[test]
fn only_what_was_made_public_is_displayed() {
    let secret = io::Error::other("password=hunter2");
    let error =
        Error::new(&DEPOT_FULL).caused_by(secret).with("token", "s3cr3t".to_owned()).context("handing over");
    assert_eq!(error.to_string(), "PARCEL-0001: The parcel can't be taken right now");
    let error = error.public(Public::exposing("depot 7 is full"));
    assert_eq!(error.to_string(), "PARCEL-0001: depot 7 is full");
    let details = error.details().to_string();
    for private in ["hunter2", "s3cr3t", "handing over", "tests/errors.rs:"] {
        assert!(details.contains(private), "{details}");
    }
}

#[test]
fn a_source_that_repeats_its_own_source_is_told_once() {
    #[derive(Debug, thiserror::Error)]
    #[error("the upload failed: {0}")]
    struct Upload(#[source] io::Error);
    let error = Error::new(&DEPOT_FULL).caused_by(Upload(io::Error::other("disk full")));
    assert!(
        error.details().to_string().ends_with("): the upload failed: disk full"),
        "{:?}",
        error.details()
    );
}

#[test]
fn the_place_of_a_converted_error_is_where_it_was_converted() {
    fn convert() -> Result<u32, Error> {
        "x".parse::<u32>().or_code(&TOO_HEAVY)
    }
    let error = convert().unwrap_err();
    assert!(error.location().file().ends_with("tests/errors.rs"));
    assert_eq!(error.code(), &TOO_HEAVY);
}

#[test]
fn the_advice_on_trying_again_is_the_errors_then_the_codes_then_the_kinds() {
    assert_eq!(Error::new(&DEPOT_FULL).retry_advice(), Retry::After(Duration::from_secs(600)));
    assert_eq!(Error::new(&DEPOT_FULL).retry(Retry::Never).retry_advice(), Retry::Never);
    assert_eq!(Error::new(&http_codes::UNAVAILABLE).retry_advice(), Retry::Backoff);
    assert_eq!(Error::new(&TOO_HEAVY).retry_advice(), Retry::Never);
}

#[test]
fn context_and_texts_are_bounded() {
    let mut error = Error::new(&DEPOT_FULL).caused_by(io::Error::other("x".repeat(1_000_000)));
    for _ in 0..100 {
        error = error.with("large", "y\u{0}\n".repeat(100_000));
    }
    let details = error.public(Public::exposing("z".repeat(1_000_000))).details().to_string();
    assert!(details.len() < 200_000, "{}", details.len());
    assert!(!details.contains('\u{0}') && !details.contains('\n'));
}

#[test]
fn a_registry_documents_every_code() {
    insta::assert_snapshot!(REGISTRY.to_markdown(), @"
    # Errors

    Every error that Seaworthy's services answer with, log or report has one of these codes. A code keeps its meaning. This page is made from the codes' declarations; the test that checks it says how to make it anew.

    ## PARCEL

    ### PARCEL-0001

    **The parcel can't be taken right now.** UNAVAILABLE, HTTP 503; try again after 600s.

    The depot of the carrier is full. It is again on Monday.

    *For example:* The Monday after a holiday.

    *What to do:* Wait.

    ### PARCEL-0002

    **The parcel is too heavy.** INVALID_ARGUMENT, HTTP 413; trying again does not help.

    The parcel is too heavy.

    *For example:* A parcel of 40 kg.

    *What to do:* Split it.

    ## TASK

    ### TASK-0001

    **Something went wrong on our side.** INTERNAL, HTTP 500; trying again does not help.

    The code met a condition that its author held for impossible, and panicked. Its message is in the log and in the report, never in an answer.

    *For example:* An index beyond the end of a list.

    *What to do:* Look up the report of this error: the message and the place say which condition it was. It is a defect.

    ### TASK-0002

    **It took too long.** DEADLINE_EXCEEDED, HTTP 504; try again, waiting longer each time.

    The work took longer than its deadline allows, and was stopped. Parts of it may have happened.

    *For example:* A query waits for a lock that another transaction holds for minutes.

    *What to do:* Look what the work waited for in that time; repeat it if it is safe to repeat.
    ");
    assert_eq!(REGISTRY.find("PARCEL-0002"), Some(&TOO_HEAVY));
    assert_eq!(REGISTRY.find("PARCEL-0003"), None);
}

#[test]
#[should_panic(expected = "two codes of the registry have the same id")]
fn a_registry_refuses_two_codes_with_one_id() {
    static TWICE: &[&[&seaworthy_errors::Code]] = &[&[&DEPOT_FULL], &[&TOO_HEAVY, &DEPOT_FULL]];
    let _ = Registry::new(TWICE);
}

fn failure(order: u64, line: u64) -> Error {
    Error::new(&DEPOT_FULL)
        .caused_by(io::Error::other(format!(
            "order {order}-{order:x} of 'customer {order}': bad JSON at line {line}"
        )))
        .with("order", order)
}

#[test]
fn a_thousand_ids_and_lines_are_one_error() {
    let prints: HashSet<Fingerprint> = (0..1_000)
        .map(|n: u64| Fingerprint::of(&failure(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n)))
        .collect();
    assert_eq!(prints.len(), 1);
}

#[test]
fn a_hundred_sites_are_a_hundred_errors() {
    macro_rules! ten { ($($make:expr;)+) => { vec![$($make),+] }; }
    macro_rules! site {
        () => {
            Error::new(&DEPOT_FULL).caused_by(io::Error::other("depot 7 is full"))
        };
    }
    let mut sites = Vec::new();
    #[rustfmt::skip]
    fn make(sites: &mut Vec<Error>) {
        sites.extend(ten! { site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); });
        sites.extend(ten! { site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); });
        sites.extend(ten! { site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); });
        sites.extend(ten! { site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); });
        sites.extend(ten! { site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); });
        sites.extend(ten! { site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); });
        sites.extend(ten! { site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); });
        sites.extend(ten! { site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); });
        sites.extend(ten! { site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); });
        sites.extend(ten! { site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); site!(); });
    }
    make(&mut sites);
    let prints: HashSet<Fingerprint> = sites.iter().map(Fingerprint::of).collect();
    assert_eq!((sites.len(), prints.len()), (100, 100));
}

#[test]
fn an_aggregate_counts_exactly_and_keeps_one_of_each() {
    let mut failures = Aggregate::new(&http_codes::UNPROCESSABLE);
    for n in 0..10_000 {
        failures.add(if n % 4 == 0 { Error::new(&TOO_HEAVY) } else { failure(n, n) });
    }
    let mut outer = Aggregate::new(&http_codes::UNPROCESSABLE);
    outer.add(failures.finish().unwrap());
    outer.add(failure(1, 1));
    let error = outer.finish().unwrap();
    assert_eq!(error.count(), 10_001, "an aggregate in an aggregate counts in full");
    assert_eq!(error.children().iter().map(|child| child.count).collect::<Vec<_>>(), [10_000, 1]);
    let inner = error.children()[0].error.children();
    assert_eq!(inner.iter().map(|child| child.count).collect::<Vec<_>>(), [2_500, 7_500]);
    assert_eq!(error.retry_advice(), Retry::Never, "a part of it would fail again");
    assert!(Aggregate::new(&TOO_HEAVY).into_result().is_ok());
}

#[test]
fn the_errors_of_a_window_become_one() {
    let mut window = Window::new(&http_codes::INTERNAL, Duration::from_secs(1));
    let began = Instant::now();
    let at = |ms: u64| began + Duration::from_millis(ms);
    assert!(window.add_at(at(0), failure(1, 1)).is_none());
    assert!(window.add_at(at(999), failure(2, 2)).is_none());
    let first = window.add_at(at(1_000), failure(3, 3)).expect("the first window is over");
    assert_eq!(first.count(), 2);
    assert_eq!(window.ends_at(), Some(at(2_000)));
    assert_eq!(window.close().map(|error| error.count()), Some(1));
    assert!(window.close().is_none());
}

#[tokio::test]
async fn a_boundary_turns_panics_and_late_work_into_errors() {
    let boundary = Boundary::new("lookup").deadline(Duration::from_millis(20));
    let fine = boundary.run(async { Ok::<_, Error>(1) }).await;
    assert_eq!(fine.unwrap(), 1);
    let own = boundary.run(async { Err::<(), _>(Error::new(&TOO_HEAVY)) }).await.unwrap_err();
    assert_eq!(own.code(), &TOO_HEAVY);

    let panic =
        boundary.run(async { Ok::<u8, Error>([1, 2][usize::MAX.wrapping_add(7)]) }).await.unwrap_err();
    assert_eq!(panic.code(), &task_codes::PANICKED);
    assert!(panic.details().to_string().contains("index out of bounds"));
    assert!(!panic.to_string().contains("index"), "the message is private");
    assert!(panic.location().file().ends_with("tests/errors.rs"), "its place is that of the boundary");

    let late = boundary.run(std::future::pending::<Result<(), Error>>()).await.unwrap_err();
    assert_eq!(late.code(), &task_codes::TIMED_OUT);
    assert_eq!(
        boundary.run_or(async { Err(Error::new(&TOO_HEAVY)) }, |error| error.http_status()).await,
        413
    );
}

#[tokio::test]
async fn a_task_and_a_job_that_panic_are_errors() {
    let boundary = Boundary::new("import").deadline(Duration::from_secs(5));
    let task = boundary.spawn(async { if true { panic!("no {}", "way") } else { Ok::<(), Error>(()) } });
    assert_eq!(
        task.await.expect("the task itself does not panic").unwrap_err().code(),
        &task_codes::PANICKED
    );

    let job = boundary.job(|row: u32| {
        assert!(row != 7, "refused before there is a future");
        async move { if row == 8 { panic!("refused in it") } else { Ok::<_, Error>(row) } }
    });
    assert_eq!(job(1).await.unwrap(), 1);
    for row in [7, 8] {
        assert_eq!(job(row).await.unwrap_err().code(), &task_codes::PANICKED);
    }
}

proptest! {
    #[test]
    fn a_public_text_is_bounded_and_printable(text in "\\PC*|(.|\n|\u{0}){0,2000}") {
        let public = Public::exposing(&text);
        prop_assert!(public.as_str().len() <= Public::MAX + 64);
        prop_assert!(!public.as_str().chars().any(char::is_control));
    }
}
