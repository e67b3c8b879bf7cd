use proptest::prelude::*;

use super::*;
use crate::{
    Messages, Postgres, Redis, Stream, Toxic, ToxicKind, WebSocket, protocol,
    stages::testing::{Bench, dice, ms},
};

/// A fault between a client and a server: the stage on its stream, and the one on the other stream, if it needs that.
struct Scene {
    requests: Bench<OnMessages>,
    answers: Option<Bench<OnMessages>>,
    installed: Arc<Installed>,
}

impl Scene {
    fn new(toxic: impl Into<Toxic>, at_start: bool) -> Self {
        let toxic = toxic.into();
        toxic.validate().unwrap();
        let (ToxicKind::Message(fault), stream) = (toxic.kind().clone(), toxic.stream()) else { panic!() };
        let installed = Installed::new(toxic);
        let plan = protocol::Plan::default();
        let of_requests = protocol::requests(&fault, stream, at_start, plan.clone());
        let of_answers = protocol::answers(&fault, at_start, plan);
        Scene {
            requests: Bench::new(OnMessages::new(of_requests, Some((fault, installed.clone())), dice(1))),
            answers: of_answers.map(|protocol| Bench::new(OnMessages::new(protocol, None, dice(1)))),
            installed,
        }
    }

    /// What the server gets when the client sends this.
    fn ask(&mut self, bytes: &[u8]) -> String {
        self.requests.give(bytes);
        shown(&self.requests.after(ms(0)).concat())
    }

    /// What the client gets when the server sends this.
    fn answer(&mut self, bytes: &[u8]) -> String {
        let answers = self.answers.as_mut().unwrap();
        answers.give(bytes);
        shown(&answers.after(ms(0)).concat())
    }
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn command(words: &[&str]) -> Vec<u8> {
    let arguments: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{arguments}", words.len()).into_bytes()
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0").as_bytes())
}

/// Runs a prepared statement, as drivers do: all in one go.
fn prepared(name: &str, sql: &str) -> Vec<u8> {
    [
        message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes()),
        message(b'B', format!("\0{name}\0\0\0\0\0\0\0").as_bytes()),
        message(b'D', b"P\0"),
        message(b'E', b"\0\0\0\0\0"),
        message(b'S', b""),
    ]
    .concat()
}

fn frame(opcode: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode, payload.len() as u8 | if mask.is_some() { 0x80 } else { 0 }];
    let mask = mask.inspect(|mask| frame.extend(mask)).unwrap_or_default();
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[test]
fn a_failed_redis_command_does_not_reach_the_server_and_answers_keep_their_order() {
    let mut scene = Scene::new(Toxic::fail(Redis::command("set")).with_error("LOADING not yet").nth(1), true);
    let asked = [command(&["GET", "a"]), command(&["SET", "b", "1"]), command(&["SET", "c", "1"])].concat();
    let got = scene.ask(&asked);
    assert!(got.contains("GET") && got.contains("SEAWORTHY.FAULT") && !got.contains("$1\\r\\nb"), "{got}");
    assert!(got.ends_with(&shown(&command(&["SET", "c", "1"]))), "{got}");
    let answers = b"*2\r\n$1\r\nx\r\n:1\r\n-ERR unknown command\r\n+OK\r\n";
    assert_eq!(
        scene.answer(answers),
        shown(b"*2\r\n$1\r\nx\r\n:1\r\n-LOADING not yet\r\n+OK\r\n"),
        "only the second answer is an injected error"
    );
    assert_eq!(scene.installed.hits.load(Ordering::Relaxed), 1);
}

#[test]
fn a_redis_command_that_fails_after_sending_is_carried_out() {
    let mut scene = Scene::new(Toxic::fail(Redis::any().with_key("user:")).after_sending(), true);
    let asked = [command(&["INCR", "user:1"]), b"INCR other\r\n".to_vec()].concat();
    assert_eq!(scene.ask(&asked), shown(&asked));
    // Pushes of RESP 3 answer nothing.
    assert_eq!(
        scene.answer(b">2\r\n+pubsub\r\n+x\r\n:1\r\n:2\r\n"),
        shown(b">2\r\n+pubsub\r\n+x\r\n-ERR injected fault\r\n:2\r\n")
    );
}

#[test]
fn after_a_subscription_no_answer_is_replaced() {
    let mut scene = Scene::new(Toxic::fail(Redis::command("GET")).after_sending(), true);
    scene.ask(&[command(&["SUBSCRIBE", "a", "b"]), command(&["GET", "a"])].concat());
    let answers =
        b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n$1\r\nx\r\n";
    assert_eq!(scene.answer(answers), shown(answers));
}

#[test]
fn a_failed_query_is_refused_by_the_server_itself_and_the_client_sees_the_sqlstate() {
    let mut scene = Scene::new(Toxic::fail(Postgres::query("insert")).with_error("40001"), false);
    let got = scene.ask(&[query("begin"), query("  INSERT into t values (1)")].concat());
    assert!(got.contains("begin") && got.contains("injected fault") && !got.contains("INSERT"), "{got}");
    let answers = [
        message(b'C', b"BEGIN\0"),
        message(b'Z', b"T"),
        message(b'E', b"SERROR\0C42601\0Msyntax error\0\0"),
        message(b'Z', b"E"),
    ];
    let got = scene.answer(&answers.concat());
    assert!(got.contains("BEGIN") && got.contains("C40001") && !got.contains("42601"), "{got}");
    assert!(got.ends_with(&shown(&answers[3])));
}

#[test]
fn a_commit_that_fails_after_sending_is_committed_and_answered_with_an_error() {
    for (asked, answers, at) in [
        (query("COMMIT"), vec![message(b'C', b"COMMIT\0"), message(b'Z', b"I")], 0),
        (
            prepared("", "COMMIT"),
            vec![
                message(b'1', b""),
                message(b'2', b""),
                message(b'n', b""),
                message(b'C', b"COMMIT\0"),
                message(b'Z', b"I"),
            ],
            3,
        ),
    ] {
        let mut scene = Scene::new(Toxic::fail(Postgres::query("COMMIT")).after_sending(), false);
        assert_eq!(scene.ask(&asked), shown(&asked));
        let got = scene.answer(&answers.concat());
        assert!(got.starts_with(&shown(&answers[..at].concat())), "{got}");
        assert!(got.contains("C58000") && !got.contains("COMMIT"), "{got}");
        assert!(got.ends_with(&shown(answers.last().unwrap())), "the true state of the transaction: {got}");
        // What follows is answered as ever.
        let next = [message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat();
        scene.ask(&query("select 1"));
        assert_eq!(scene.answer(&next), shown(&next));
    }
}

#[test]
fn a_connection_is_cut_behind_the_commit_and_behind_the_sync_of_a_prepared_one() {
    for asked in [query("COMMIT"), prepared("s1", "COMMIT")] {
        let mut scene = Scene::new(Toxic::cut(Postgres::query("COMMIT")).after_sending(), false);
        let got = scene.ask(&[&asked[..], &query("select 1")].concat());
        assert_eq!(got, shown(&asked));
        assert_eq!(scene.requests.output.end, Some(End::Cut));
    }
    let mut scene = Scene::new(Toxic::cut(Postgres::query("COMMIT")), false);
    assert_eq!(scene.ask(&[query("select 1"), query("COMMIT")].concat()), shown(&query("select 1")));
    assert_eq!(scene.requests.output.end, Some(End::Cut));
}

#[test]
fn a_connection_to_postgres_is_followed_from_its_first_byte_and_left_alone_once_it_is_encrypted() {
    let startup = |code: u32| [&8_u32.to_be_bytes()[..], &code.to_be_bytes()].concat();
    let toxic = || Toxic::lose(Postgres::query("select"));
    let (ssl, plain) = (startup(80_877_103), startup(196_608));
    let mut scene = Scene::new(toxic(), true);
    assert_eq!(scene.ask(&[ssl.clone(), plain.clone()].concat()), shown(&[ssl.clone(), plain].concat()));
    assert_eq!(scene.ask(&[query("select 1"), query("begin")].concat()), shown(&query("begin")));
    let mut scene = Scene::new(toxic(), true);
    let hello = [&ssl[..], b"\x16\x03\x01\x02\x00", &query("select 1")].concat();
    assert_eq!(scene.ask(&hello), shown(&hello));
}

#[test]
fn a_server_message_fails_and_takes_the_rest_of_its_answer_along() {
    let mut scene = Scene::new(Toxic::fail(Postgres::answer("DataRow")).nth(2), false);
    let rows =
        [message(b'T', b"cols"), message(b'D', b"1"), message(b'D', b"2"), message(b'C', b"SELECT 2\0")];
    let got = scene.ask(&[rows.concat(), message(b'Z', b"I")].concat());
    assert!(got.starts_with(&shown(&rows[..2].concat())) && got.contains("C58000"), "{got}");
    assert!(!got.contains("SELECT 2") && got.ends_with(&shown(&message(b'Z', b"I"))), "{got}");
}

#[test]
fn websocket_frames_match_by_kind_and_text_and_fail_with_a_close() {
    let opening = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n";
    let mut scene = Scene::new(Toxic::fail(WebSocket::text().starting_with("{\"type\":\"order")), true);
    let other = frame(1, None, b"{\"type\":\"hello\"}");
    let order = frame(1, None, b"{\"type\":\"order\"}");
    let got = scene.ask(&[&opening[..], &other, &order, &other].concat());
    let close = frame(8, None, b"\x03\xf3injected fault");
    assert_eq!(got, shown(&[&opening[..], &other, &close].concat()));

    let mask = Some([1, 2, 3, 4]);
    let mut scene =
        Scene::new(Toxic::lose(WebSocket::any().starting_with("bye")).on(Stream::Upstream), false);
    let got = scene.ask(&[frame(1, mask, b"hi"), frame(2, mask, b"bye"), frame(9, mask, b"")].concat());
    assert_eq!(got, shown(&[frame(1, mask, b"hi"), frame(9, mask, b"")].concat()));
}

#[test]
fn messages_come_twice_change_places_and_wait() {
    let (a, b, c) = (command(&["A"]), command(&["B"]), command(&["C"]));
    let all = [&a[..], &b, &c].concat();
    let mut scene = Scene::new(Toxic::duplicate(Redis::command("B")), true);
    assert_eq!(scene.ask(&all), shown(&[&a[..], &b, &b, &c].concat()));

    let mut scene = Scene::new(Toxic::reorder(Redis::command("B")), true);
    assert_eq!(scene.ask(&all), shown(&[&a[..], &c, &b].concat()));
    // Nothing overtakes it in time.
    assert_eq!(scene.ask(&b), "");
    assert_eq!(shown(&scene.requests.after(REORDER_PATIENCE).concat()), shown(&b));

    let mut scene = Scene::new(Toxic::delay(Redis::command("B"), ms(100)), true);
    assert_eq!(scene.ask(&all), shown(&a));
    assert_eq!(shown(&scene.requests.after(ms(99)).concat()), "");
    assert_eq!(shown(&scene.requests.after(ms(1)).concat()), shown(&[&b[..], &c].concat()));

    let mut scene = Scene::new(Toxic::delay(Redis::command("B"), ms(100)).after_sending(), true);
    assert_eq!(scene.ask(&all), shown(&[&a[..], &b].concat()));
    assert_eq!(shown(&scene.requests.after(ms(100)).concat()), shown(&c));
}

#[test]
fn which_messages_are_meant_is_counted_and_limited() {
    let passes = |toxic: crate::MessageToxic| {
        let mut scene = Scene::new(toxic, true);
        (0..6).map(|_| u8::from(!scene.ask(&command(&["GET"])).is_empty())).collect::<Vec<u8>>()
    };
    let lose = || Toxic::lose(Redis::command("get"));
    assert_eq!(passes(lose()), [0, 0, 0, 0, 0, 0]);
    assert_eq!(passes(lose().nth(2)), [1, 0, 1, 1, 1, 1]);
    assert_eq!(passes(lose().first(2)), [0, 0, 1, 1, 1, 1]);
    assert_eq!(passes(lose().at_most(3)), [0, 0, 0, 1, 1, 1]);
}

#[test]
fn a_toxic_that_goes_amid_a_message_that_it_drops_drops_the_rest_of_it() {
    let lost = command(&["SET", "k", &"x".repeat(10_000)]);
    let mut scene = Scene::new(Toxic::lose(Redis::command("SET")), true);
    assert_eq!(scene.ask(&lost[..5000]), "");
    assert_eq!(scene.requests.retire(), (Retired::Lingers, vec![]));
    assert_eq!(scene.ask(&[&lost[5000..], b"PING\r\n"].concat()), "PING\\r\\n");
    assert_eq!(scene.requests.retire(), (Retired::Gone, vec![]));
}

fn any_messages() -> impl Strategy<Value = Messages> {
    prop_oneof![
        Just(Redis::command("GET").into()),
        Just(Redis::any().into()),
        Just(Postgres::query("select").into()),
        Just(Postgres::message("Parse").into()),
        Just(Postgres::answer("DataRow").into()),
        Just(WebSocket::any().into()),
        Just(WebSocket::text().into()),
    ]
}

/// Traffic of all the protocols, and of none.
fn any_traffic() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(command(&["GET", "a"])),
        Just(command(&["SET", "a", &"v".repeat(5000)])),
        Just(b"PING\r\n".to_vec()),
        Just(b"*2\r\n+OK\r\n$-1\r\n".to_vec()),
        Just(query("select 1")),
        Just(prepared("s", "select 2")),
        Just(message(b'D', &[7; 6000])),
        Just(frame(1, Some([9, 8, 7, 6]), b"hello")),
        Just(frame(9, None, b"")),
        prop::collection::vec(any::<u8>(), 1..40),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn however_a_stream_is_cut_and_whatever_it_is_what_does_not_match_passes_unchanged(
        messages in any_messages(),
        traffic in any_traffic(),
        cuts in prop::collection::vec(1..3000_usize, 1..20),
        at_start: bool,
    ) {
        // The millionth message is none of these.
        let mut scene = Scene::new(Toxic::lose(messages).nth(1_000_000), at_start);
        let (mut out, mut rest, mut cuts) = (Vec::new(), &traffic[..], cuts.into_iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            scene.requests.give(piece);
            out.extend(scene.requests.after(ms(0)).concat());
            rest = after;
        }
        scene.requests.input.finish(End::Finished);
        out.extend(scene.requests.after(ms(0)).concat());
        prop_assert!(out == traffic, "{} bytes became {}", traffic.len(), out.len());
        prop_assert_eq!(scene.requests.ended(), Some(End::Finished));
    }

    #[test]
    fn what_is_lost_does_not_depend_on_how_the_stream_is_cut(
        words in prop::collection::vec(prop_oneof![Just("GET"), Just("SET"), Just("DEL")], 1..20),
        cuts in prop::collection::vec(1..50_usize, 1..20),
    ) {
        let traffic: Vec<u8> = words.iter().flat_map(|word| command(&[word, "key"])).collect();
        let kept: Vec<u8> = words.iter().filter(|word| **word != "SET").flat_map(|word| command(&[word, "key"])).collect();
        let mut scene = Scene::new(Toxic::lose(Redis::command("SET")), true);
        let (mut out, mut rest, mut cuts) = (Vec::new(), &traffic[..], cuts.into_iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            scene.requests.give(piece);
            out.extend(scene.requests.after(ms(0)).concat());
            rest = after;
        }
        prop_assert_eq!(shown(&out), shown(&kept));
    }
}
