use proptest::prelude::*;

use super::*;
use crate::Stream::{self, Downstream as Down, Upstream as Up};

/// A connection that is listened to, without the connection.
struct Scene {
    recording: Recording,
    taps: Listening,
}

impl Scene {
    fn new(tap: impl Into<Tap>) -> Self {
        let recording = Recording::start("test", tap.into());
        let taps = Listening::new(0, recording.log().upgrade().into_iter());
        Scene { recording, taps }
    }

    fn play(tap: impl Into<Tap>, talk: &[(Stream, Vec<u8>)]) -> Vec<String> {
        let mut scene = Scene::new(tap);
        talk.iter().for_each(|(stream, bytes)| scene.taps.saw(*stream, bytes));
        scene.told()
    }

    /// A line for each entry, without times.
    fn told(&self) -> Vec<String> {
        self.recording.all().entries.iter().map(|entry| told(&entry.what)).collect()
    }
}

fn told(what: &What) -> String {
    let outcome = |outcome: &Outcome| match outcome {
        Outcome::Done { tag } => format!("done {tag}"),
        Outcome::Failed { code, message } => format!("failed {code} {message}"),
        other => format!("{other:?}"),
    };
    match what {
        What::Statement(statement) => {
            let Statement { sql, prepared, parameters, rows, .. } = statement;
            let kind = if *prepared { "prepared" } else { "simple" };
            let values: Vec<String> = parameters
                .iter()
                .flat_map(|values| values.iter())
                .map(|value| value.as_ref().map_or("NULL".to_owned(), ToString::to_string))
                .collect();
            let values = values.join(",");
            format!("{kind} {sql} ({values}): {}, {rows} rows", outcome(&statement.outcome))
        }
        What::Command(command) => {
            let key = command.key.as_ref().map_or("-".to_owned(), ToString::to_string);
            format!("{} {key}: {}", command.name, outcome(&command.outcome))
        }
        What::Message(message) => {
            format!("{:?} {} ({}, {})", message.kind, message.text, message.length, message.compressed)
        }
        other => format!("{other:?}"),
    }
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

fn startup() -> Vec<(Stream, Vec<u8>)> {
    let body = b"\0\x03\0\0user\0shop\0\0";
    let start = [&(body.len() as u32 + 4).to_be_bytes()[..], body].concat();
    let ready = [message(b'R', &[0; 4]), message(b'S', b"a\0b\0"), message(b'Z', b"I")].concat();
    let ssl = [8_u32, 80_877_103].map(u32::to_be_bytes).concat();
    // The server refuses to encrypt.
    vec![(Up, ssl), (Down, b"N".to_vec()), (Up, start), (Down, ready)]
}

fn session(turns: Vec<(Stream, Vec<u8>)>) -> Vec<(Stream, Vec<u8>)> {
    let mut talk = startup();
    talk.extend(turns);
    talk
}

fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0").as_bytes())
}

fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

fn bind(portal: &str, name: &str) -> Vec<u8> {
    message(b'B', format!("{portal}\0{name}\0\0\0\0\0\0\0").as_bytes())
}

fn execute(portal: &str) -> Vec<u8> {
    message(b'E', format!("{portal}\0\0\0\0\0").as_bytes())
}

fn describe(what: &str) -> Vec<u8> {
    message(b'D', format!("{what}\0").as_bytes())
}

fn sync() -> Vec<u8> {
    message(b'S', b"")
}

fn done(tag: &str) -> Vec<u8> {
    message(b'C', format!("{tag}\0").as_bytes())
}

fn row() -> Vec<u8> {
    message(b'D', &[0, 1, 0, 0, 0, 1, b'7'])
}

fn ready() -> Vec<u8> {
    message(b'Z', b"I")
}

fn error(code: &str, text: &str) -> Vec<u8> {
    message(b'E', format!("SERROR\0VERROR\0C{code}\0M{text}\0\0").as_bytes())
}

/// An answer without a body.
fn plain(tag: u8) -> Vec<u8> {
    message(tag, b"")
}

fn in_postgres(turns: Vec<(Stream, Vec<Vec<u8>>)>) -> Vec<String> {
    let turns = turns.into_iter().map(|(stream, messages)| (stream, messages.concat())).collect();
    Scene::play(Protocol::Postgres, &session(turns))
}

#[test]
fn a_simple_query_is_told_with_its_rows_and_its_tag() {
    let told = in_postgres(vec![
        (Up, vec![query("select 7")]),
        (Down, vec![message(b'T', b"\0\x01"), row(), row(), done("SELECT 2"), ready()]),
        (Up, vec![query("begin; insert into t values (1)")]),
        (Down, vec![done("BEGIN"), done("INSERT 0 1"), ready()]),
        (Up, vec![query("")]),
        (Down, vec![plain(b'I'), ready()]),
    ]);
    assert_eq!(
        told,
        [
            "simple select 7 (): done SELECT 2, 2 rows",
            "simple begin; insert into t values (1) (): done INSERT 0 1, 0 rows",
            "simple  (): done , 0 rows",
        ]
    );
}

#[test]
fn a_statement_that_is_prepared_once_is_told_each_time_it_runs() {
    let told = in_postgres(vec![
        (Up, vec![parse("s1", "select $1"), describe("Ss1"), sync()]),
        (Down, vec![plain(b'1'), plain(b't'), plain(b'n'), ready()]),
        (Up, vec![bind("", "s1"), execute(""), message(b'C', b"P\0"), sync()]),
        (Down, vec![plain(b'2'), row(), done("SELECT 1"), plain(b'3'), ready()]),
        (Up, vec![bind("", "s1"), execute(""), message(b'C', b"P\0"), sync()]),
        (Down, vec![plain(b'2'), done("SELECT 0"), plain(b'3'), ready()]),
    ]);
    assert_eq!(
        told,
        ["prepared select $1 (): done SELECT 1, 1 rows", "prepared select $1 (): done SELECT 0, 0 rows"]
    );
}

#[test]
fn an_error_in_a_pipeline_skips_what_follows_it_up_to_the_sync() {
    let told = in_postgres(vec![
        (Up, vec![parse("", "insert 1"), bind("", ""), execute("")]),
        (Up, vec![parse("", "insert 2"), bind("", ""), describe("P"), execute("")]),
        (Up, vec![parse("", "insert 3"), bind("", ""), execute(""), sync()]),
        (Up, vec![parse("", "insert 4"), bind("", ""), execute(""), sync()]),
        (Down, vec![plain(b'1'), plain(b'2'), done("INSERT 0 1"), plain(b'1'), plain(b'2')]),
        (Down, vec![plain(b'n'), error("23505", "doubled"), ready()]),
        (Down, vec![plain(b'1'), plain(b'2'), done("INSERT 0 1"), ready()]),
    ]);
    assert_eq!(
        told,
        [
            "prepared insert 1 (): done INSERT 0 1, 0 rows",
            "prepared insert 2 (): failed 23505 doubled, 0 rows",
            "prepared insert 3 (): Skipped, 0 rows",
            "prepared insert 4 (): done INSERT 0 1, 0 rows",
        ]
    );
}

#[test]
fn what_comes_after_the_error_and_before_the_sync_is_skipped_too() {
    let told = in_postgres(vec![
        (Up, vec![parse("", "bad"), bind("", ""), execute("")]),
        (Down, vec![error("42601", "syntax")]),
        (Up, vec![parse("", "late"), bind("", ""), execute(""), sync()]),
        (Down, vec![ready()]),
        (Up, vec![parse("s2", "also bad"), describe("Ss2"), sync()]),
        (Down, vec![error("42601", "syntax"), ready()]),
        (Up, vec![query("select 1")]),
        (Down, vec![done("SELECT 1"), ready()]),
    ]);
    assert_eq!(
        told,
        [
            "prepared bad (): failed 42601 syntax, 0 rows",
            "prepared late (): Skipped, 0 rows",
            "prepared also bad (): failed 42601 syntax, 0 rows",
            "simple select 1 (): done SELECT 1, 0 rows",
        ]
    );
}

#[test]
fn a_copy_is_one_statement_also_where_its_first_sync_is_disregarded() {
    let data = || vec![message(b'd', b"1\n"), message(b'd', b"2\n"), message(b'c', b"")];
    let told = in_postgres(vec![
        (Up, vec![query("copy t from stdin")]),
        (Down, vec![message(b'G', &[0, 0, 0])]),
        (Up, data()),
        (Down, vec![done("COPY 2"), ready()]),
        (Up, vec![parse("", "copy u from stdin"), bind("", ""), execute(""), sync()]),
        (Down, vec![plain(b'1'), plain(b'2'), message(b'G', &[0, 0, 0])]),
        (Up, [data(), vec![sync()]].concat()),
        (Down, vec![done("COPY 2"), ready()]),
        (Up, vec![query("select 1")]),
        (Down, vec![row(), done("SELECT 1"), ready()]),
    ]);
    assert_eq!(
        told,
        [
            "simple copy t from stdin (): done COPY 2, 0 rows",
            "prepared copy u from stdin (): done COPY 2, 0 rows",
            "simple select 1 (): done SELECT 1, 1 rows",
        ]
    );
}

#[test]
fn a_portal_that_is_run_in_parts_is_one_statement() {
    let told = in_postgres(vec![
        (Up, vec![parse("", "select n"), bind("c", ""), execute("c"), plain(b'H')]),
        (Down, vec![plain(b'1'), plain(b'2'), row(), row(), plain(b's')]),
        (Up, vec![execute("c"), sync()]),
        (Down, vec![row(), done("SELECT 1"), ready()]),
    ]);
    assert_eq!(told, ["prepared select n (): done SELECT 1, 3 rows"]);
}

#[test]
fn an_error_that_belongs_to_no_statement_is_told_as_one() {
    let told = in_postgres(vec![
        (Up, vec![query("select 1")]),
        (Down, vec![done("SELECT 1"), ready(), error("57P01", "terminating")]),
    ]);
    assert_eq!(told[0], "simple select 1 (): done SELECT 1, 0 rows");
    assert!(told[1].contains("57P01") && told[1].starts_with("Error"), "{told:?}");
}

#[test]
fn a_statement_whose_connection_ends_has_no_answer() {
    let mut scene = Scene::new(Protocol::Postgres);
    let talk = session(vec![(Up, query("select pg_sleep(9)"))]);
    talk.iter().for_each(|(stream, bytes)| scene.taps.saw(*stream, bytes));
    assert_eq!(scene.told(), ["simple select pg_sleep(9) (): Pending, 0 rows"]);
    scene.taps.server_ended();
    assert_eq!(scene.told(), ["simple select pg_sleep(9) (): NoAnswer, 0 rows"]);
}

#[test]
fn parameters_are_recorded_only_when_they_are_asked_for() {
    let parse =
        [b"s\0select\0\0\x04".as_slice(), &[0, 0, 0, 23, 0, 0, 0, 25, 0, 0, 0, 23, 0, 0, 0, 17]].concat();
    let values: [&[u8]; 4] =
        [&[0, 0, 0, 4, 0, 0, 0, 42], &[0, 0, 0, 2, b'h', b'i'], &[255; 4], &[0, 0, 0, 1, 7]];
    let bind = [b"\0s\0\0\x01\0\x01\0\x04".as_slice(), &values.concat(), b"\0\0"].concat();
    let turns = [message(b'P', &parse), message(b'B', &bind), execute(""), sync()].concat();
    let talk = session(vec![(Up, turns)]);
    let with = Scene::play(Tap::on(Protocol::Postgres).with_parameters(), &talk);
    assert_eq!(with, ["prepared select (42,hi,NULL,\\x07): Pending, 0 rows"]);
    assert_eq!(Scene::play(Protocol::Postgres, &talk), ["prepared select (): Pending, 0 rows"]);
}

#[test]
fn texts_and_entries_are_bounded_and_say_what_is_missing() {
    let tap = Tap::on(Protocol::Postgres).entries(3).excerpt(17);
    let mut scene = Scene::new(tap);
    let many = (0..10_000).map(|n| (Up, query(&format!("select '{n:04}', 'ü', 'ü'"))));
    let answers = std::iter::repeat_n((Down, [done("SELECT 1"), ready()].concat()), 10_000);
    let turns = many.zip(answers).flat_map(|(asked, answered)| [asked, answered]).collect();
    session(turns).iter().for_each(|(stream, bytes)| scene.taps.saw(*stream, bytes));
    let recorded = scene.recording.all();
    assert_eq!((recorded.dropped, recorded.entries.len()), (9_997, 3));
    let What::Statement(last) = &recorded.entries[2].what else { panic!() };
    // The seventeenth byte is half of an ü.
    assert_eq!(last.sql.to_string(), "select '9999', '… (9 more bytes)");
    assert_eq!(scene.recording.since(Mark(9_999)).entries.len(), 1);
    assert_eq!(scene.recording.since(Mark(9_990)).dropped, 7);
}

fn words(words: &[&str]) -> Vec<u8> {
    let arguments: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
    format!("*{}\r\n{arguments}", words.len()).into_bytes()
}

fn redis_talk() -> Vec<(Stream, Vec<u8>)> {
    vec![
        (Up, [words(&["auth", "secret"]), words(&["GET", "a"]), b"set b secret\r\n".to_vec()].concat()),
        (Down, b"+OK\r\n$-1\r\n>2\r\n+news\r\n:1\r\n-WRONGTYPE no such thing\r\n".to_vec()),
        (
            Up,
            [words(&["EVAL", "return 1", "1", "k"]), words(&["XREAD", "COUNT", "1", "STREAMS", "s", "0"])]
                .concat(),
        ),
        (Down, b"*2\r\n:1\r\n-ERR inner\r\n".to_vec()),
        (Up, words(&["SUBSCRIBE", "c"])),
        (Up, words(&["PING"])),
    ]
}

#[test]
fn redis_commands_are_told_with_their_first_key_and_without_values() {
    assert_eq!(
        Scene::play(Protocol::Redis, &redis_talk()),
        [
            "AUTH -: done ",
            "GET a: done ",
            "SET b: failed WRONGTYPE no such thing",
            "EVAL k: done ",
            "XREAD s: NotFollowed",
            "SUBSCRIBE c: NotFollowed",
            "PING -: NotFollowed",
        ]
    );
}

fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first, payload.len() as u8 | if mask.is_some() { 0x80 } else { 0 }];
    let mask = mask.inspect(|mask| frame.extend(mask)).unwrap_or_default();
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn websocket_talk() -> Vec<(Stream, Vec<u8>)> {
    let mask = Some([1, 2, 3, 4]);
    let upgrade = b"GET /live?token=secret HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\n\r\n".to_vec();
    vec![
        (Up, upgrade),
        (Down, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".to_vec()),
        (Up, frame(0x81, mask, "grüß dich".as_bytes())),
        (Down, [frame(0x01, None, b"one, "), frame(0x89, None, b"ping"), frame(0x80, None, b"two")].concat()),
        (Up, frame(0x82, mask, &[0, 255])),
        (Down, frame(0xc1, None, b"deflated")),
        (Down, frame(0x88, None, b"\x03\xe8bye")),
        (Up, frame(0x88, mask, b"")),
    ]
}

#[test]
fn websocket_messages_are_told_whole_in_their_order() {
    let told = Scene::play(Protocol::WebSocket, &websocket_talk());
    assert!(told[0].starts_with("Opened") && told[0].contains("\"/live\""), "{told:?}");
    assert_eq!(
        told[1..],
        [
            "Text grüß dich (11, false)",
            "Text one, two (8, false)",
            "Binary 00ff (2, false)",
            "Text  (8, true)",
            "Close(Some(1000)) bye (5, false)",
            "Close(None)  (0, false)",
        ]
    );
}

#[test]
fn plain_http_is_left_alone_and_a_refusal_is_told() {
    let ask = |upgrade: &str| (Up, format!("GET /live HTTP/1.1\r\n{upgrade}\r\n").into_bytes());
    let answer = |line: &str| (Down, format!("HTTP/1.1 {line}\r\n\r\n").into_bytes());
    let plain = [ask(""), answer("200 OK"), ask("Upgrade: websocket\r\n")];
    assert_eq!(Scene::play(Protocol::WebSocket, &plain), Vec::<String>::new());
    assert_eq!(
        Scene::play(Protocol::WebSocket, &[(Up, b"POST / HTTP/1.1\r\n".to_vec())]),
        Vec::<String>::new()
    );
    let told = Scene::play(Protocol::WebSocket, &[ask("upgrade: websocket\r\n"), answer("401 Unauthorized")]);
    assert!(told.len() == 1 && told[0].contains("401 Unauthorized"), "{told:?}");
}

#[test]
fn what_is_not_understood_is_noted_once() {
    let hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 200]].concat();
    for protocol in [Protocol::Postgres, Protocol::Redis, Protocol::WebSocket] {
        let told = Scene::play(protocol, &[(Up, hello.clone()), (Down, hello.clone()), (Up, hello.clone())]);
        assert!(told.len() == 1 && told[0].starts_with("NotUnderstood"), "{protocol:?}: {told:?}");
    }
}

#[test]
fn a_connection_that_is_never_answered_is_bounded() {
    let mut scene = Scene::new(Tap::on(Protocol::Redis).entries(70_000));
    let command = words(&["GET", "a"]).repeat(1000);
    (0..70).for_each(|_| scene.taps.saw(Up, &command));
    let told = scene.told();
    assert!(told.last().unwrap().starts_with("NotUnderstood"), "{:?}", told.last());
    assert_eq!(told.len(), 65_536 + 2);
}

fn pieces(talk: &[(Stream, Vec<u8>)], cuts: &[usize]) -> Vec<(Stream, Vec<u8>)> {
    let mut cuts = cuts.iter().cycle();
    let mut pieces = Vec::new();
    for (stream, bytes) in talk {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at((*cuts.next().unwrap()).clamp(1, rest.len()));
            pieces.push((*stream, piece.to_vec()));
            rest = behind;
        }
    }
    pieces
}

fn postgres_turn() -> impl Strategy<Value = Vec<(Stream, Vec<u8>)>> {
    let text = || proptest::string::string_regex("[a-z ü]{0,40}").unwrap();
    let simple = (text(), 0..4_usize).prop_map(|(sql, rows)| {
        let answer = [row().repeat(rows), done("SELECT"), ready()].concat();
        vec![(Up, query(&sql)), (Down, answer)]
    });
    let prepared = (text(), text(), any::<bool>()).prop_map(|(name, sql, fails)| {
        let asked = [parse(&name, &sql), bind("", &name), describe("P"), execute(""), sync()].concat();
        let end = if fails { error("22012", &sql) } else { [row(), done("SELECT 1")].concat() };
        let answer = [plain(b'1'), plain(b'2'), plain(b'n'), end, ready()].concat();
        vec![(Up, asked), (Down, answer)]
    });
    let garbage = (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..30))
        .prop_map(|(up, bytes)| vec![(if up { Up } else { Down }, bytes)]);
    prop_oneof![8 => simple, 8 => prepared, 1 => garbage]
}

proptest! {
    #[test]
    fn postgres_is_told_the_same_whatever_the_pieces(
        turns in proptest::collection::vec(postgres_turn(), 0..8),
        cuts in proptest::collection::vec(1..40_usize, 1..20),
        excerpt in 16..64_usize,
    ) {
        let tap = || Tap::on(Protocol::Postgres).excerpt(excerpt).with_parameters();
        let talk = session(turns.concat());
        prop_assert_eq!(Scene::play(tap(), &talk), Scene::play(tap(), &pieces(&talk, &cuts)));
    }

    #[test]
    fn redis_and_websockets_are_told_the_same_whatever_the_pieces(
        cuts in proptest::collection::vec(1..40_usize, 1..20),
        noise in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        for (protocol, mut talk) in [(Protocol::Redis, redis_talk()), (Protocol::WebSocket, websocket_talk())] {
            talk.push((Up, noise.clone()));
            let tap = || Tap::on(protocol).excerpt(16);
            prop_assert_eq!(Scene::play(tap(), &talk), Scene::play(tap(), &pieces(&talk, &cuts)));
        }
    }

    #[test]
    fn bytes_of_any_kind_are_survived(
        turns in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..20),
        begins in any::<bool>(),
    ) {
        for protocol in [Protocol::Postgres, Protocol::Redis, Protocol::WebSocket] {
            let mut talk = if begins { session(Vec::new()) } else { Vec::new() };
            talk.extend(turns.iter().map(|(up, bytes)| (if *up { Up } else { Down }, bytes.clone())));
            Scene::play(Tap::on(protocol).with_parameters(), &talk);
        }
    }
}
