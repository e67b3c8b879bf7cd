//! Toxiproxy's wire contract, and what goes beyond it, one line a case.
//!
//! A line is `METHOD path body => status answer`. The answer of an error is its text; else it is JSON in which `"*"`
//! stands for anything, or nothing where the body must be empty. `$A` to `$D` are free ports, `$TAKEN` is one that
//! somebody listens on. The lines of a table run in order against one server.

use std::net::TcpListener;

use seaworthy_fault_proxy::{
    Proxies,
    api::{self, Api, Settings},
};
use serde_json::{Value, json};

async fn running_api() -> Api {
    api::serve(Proxies::with_seed(1), "127.0.0.1:0".parse().unwrap()).await.unwrap()
}

struct Table {
    api: Api,
    client: reqwest::Client,
    ports: Vec<(&'static str, u16)>,
    _taken: TcpListener,
}

impl Table {
    async fn new() -> Table {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let (free, taken) = ([listen(), listen(), listen(), listen()], listen());
        let names = ["$A", "$B", "$C", "$D"].into_iter();
        let mut ports: Vec<_> = names.zip(free.iter().map(port)).collect();
        ports.push(("$TAKEN", port(&taken)));
        Table { api: running_api().await, client: reqwest::Client::new(), ports, _taken: taken }
    }

    async fn check_all(lines: &str) {
        let table = Table::new().await;
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            table.check(line).await;
        }
    }

    async fn check(&self, line: &str) {
        let line = self
            .ports
            .iter()
            .fold(line.to_owned(), |line, (name, port)| line.replace(name, &port.to_string()));
        let (asked, wanted) = line.split_once(" =>").unwrap_or_else(|| panic!("no ` =>` in {line}"));
        let mut asked = asked.splitn(3, ' ');
        let (method, path) = (asked.next().unwrap(), asked.next().unwrap());
        let body = asked.next().unwrap_or_default().to_owned();
        let (status, answer) = wanted.trim().split_once(' ').unwrap_or((wanted.trim(), ""));
        let url = format!("http://{}{path}", self.api.address());
        let response = self.client.request(method.parse().unwrap(), url).body(body).send().await.unwrap();
        let headers = response.headers().clone();
        let got = response.status().as_u16();
        let text = response.text().await.unwrap();
        assert_eq!(got.to_string(), status, "{line}\n{text}");
        assert!(headers.contains_key("x-toxiproxy-request-id"), "{line}");
        let content_type = headers.get("content-type").map_or("", |value| value.to_str().unwrap());
        if got < 400 {
            if answer.is_empty() {
                assert_eq!(text, "", "{line}");
                return;
            }
            assert!(content_type.starts_with("application/json"), "{line}: {content_type}");
            let (got, wanted) = (serde_json::from_str(&text).unwrap(), serde_json::from_str(answer).unwrap());
            assert!(matches(&got, &wanted), "{line}\n     got {got}");
        } else if path == "/populate" {
            assert_eq!(content_type, "application/json", "{line}");
            let (got, wanted): (Value, Value) =
                (serde_json::from_str(&text).unwrap(), serde_json::from_str(answer).unwrap());
            assert!(matches(&got, &wanted), "{line}\n     got {got}");
            assert_eq!(got["status"].to_string(), status);
        } else {
            let wanted = json!({ "error": answer, "status": got });
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), wanted, "{line}");
            assert!(text.ends_with("}\n"), "{line}: {text}");
            assert_eq!(content_type, "text/plain; charset=utf-8", "{line}");
            assert_eq!(headers["x-content-type-options"], "nosniff", "{line}");
        }
    }
}

fn matches(got: &Value, wanted: &Value) -> bool {
    match (got, wanted) {
        (_, Value::String(any)) if any == "*" => true,
        (Value::Object(got), Value::Object(wanted)) => {
            got.len() == wanted.len()
                && wanted.iter().all(|(name, wanted)| got.get(name).is_some_and(|got| matches(got, wanted)))
        }
        (Value::Array(got), Value::Array(wanted)) => {
            got.len() == wanted.len() && got.iter().zip(wanted).all(|(got, wanted)| matches(got, wanted))
        }
        _ => got == wanted,
    }
}

#[tokio::test]
async fn proxies_are_created_listed_shown_and_deleted() {
    Table::check_all(
        r#"
GET /proxies => 200 {}
POST /proxies {"name":"db","listen":"localhost:$A","upstream":"localhost:20001"} => 201 {"name":"db","listen":"127.0.0.1:$A","upstream":"localhost:20001","enabled":true,"toxics":[]}
POST /proxies {"name":"off","listen":"localhost:$B","upstream":"localhost:20001","enabled":false} => 201 {"name":"off","listen":"localhost:$B","upstream":"localhost:20001","enabled":false,"toxics":[]}
POST /proxies {"name":"any","upstream":"localhost:20001"} => 201 {"name":"any","listen":"*","upstream":"localhost:20001","enabled":true,"toxics":[]}
POST /proxies {"name":"null","upstream":"u:1","listen":null,"enabled":null,"toxics":null} => 201 {"name":"null","listen":"*","upstream":"u:1","enabled":true,"toxics":[]}
POST /proxies {"Name":"case","UPSTREAM":"u:1","Listen":"127.0.0.1:0"} => 201 {"name":"case","listen":"*","upstream":"u:1","enabled":true,"toxics":[]}
POST /proxies {"name":"more","upstream":"u:1","unknown":{"x":[1]}} and more => 201 {"name":"more","listen":"*","upstream":"u:1","enabled":true,"toxics":[]}
POST /proxies {"name":"a b/ü","upstream":"u:1"} => 201 {"name":"a b/ü","listen":"*","upstream":"u:1","enabled":true,"toxics":[]}
GET /proxies/a%20b%2F%C3%BC => 200 {"name":"a b/ü","listen":"*","upstream":"u:1","enabled":true,"toxics":[]}
DELETE /proxies/a%20b%2F%C3%BC => 204
GET /proxies/db => 200 {"name":"db","listen":"127.0.0.1:$A","upstream":"localhost:20001","enabled":true,"toxics":[]}
GET /proxies => 200 {"any":"*","case":"*","db":{"name":"db","listen":"127.0.0.1:$A","upstream":"localhost:20001","enabled":true,"toxics":[]},"more":"*","null":"*","off":"*"}
DELETE /proxies/db => 204
DELETE /proxies/db => 404 proxy not found
GET /proxies/db => 404 proxy not found
POST /proxies/db {} => 404 proxy not found
PATCH /proxies/db { => 404 proxy not found
POST /proxies {"name":"db","listen":"localhost:$A","upstream":"localhost:20001"} => 201 "*"
"#,
    )
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_new_proxy_is_said() {
    Table::check_all(
        r#"
POST /proxies => 400 bad request body: EOF
POST /proxies { => 400 bad request body: unexpected EOF
POST /proxies {x} => 400 bad request body: key must be a string at line 1 column 2
POST /proxies [] => 400 bad request body: a proxy must be an object, not a list
POST /proxies 7 => 400 bad request body: a proxy must be an object, not 7
POST /proxies null => 400 missing required field: name
POST /proxies {} => 400 missing required field: name
POST /proxies {"name":""} => 400 missing required field: name
POST /proxies {"name":"db"} => 400 missing required field: upstream
POST /proxies {"name":"db","upstream":""} => 400 missing required field: upstream
POST /proxies {"name":5,"upstream":"u:1"} => 400 bad request body: `name` must be a string, not 5
POST /proxies {"name":"db","upstream":"u:1","enabled":"yes"} => 400 bad request body: `enabled` must be true or false, not the string "yes"
POST /proxies {"name":"db","upstream":"u:1","listen":[]} => 400 bad request body: `listen` must be a string, not a list
POST /proxies {"name":"db","upstream":"u:1","listen":"local373"} => 500 listen tcp: address local373: missing port in address
POST /proxies {"name":"db","upstream":"u:1","listen":"256.0.0.1:1"} => 500 listen tcp: lookup 256.0.0.1: no such host
POST /proxies {"name":"db","upstream":"u:1","listen":"localhost:70000"} => 500 listen tcp: address 70000: invalid port
POST /proxies {"name":"db","upstream":"u:1","listen":"localhost:$TAKEN"} => 500 listen tcp 127.0.0.1:$TAKEN: bind: address already in use
POST /proxies {"name":"db","upstream":"u:1","listen":"192.0.2.1:$A"} => 500 listen tcp 192.0.2.1:$A: bind: cannot assign requested address
GET /proxies => 200 {}
POST /proxies {"name":"db","upstream":"u:1","listen":"localhost:$A"} => 201 "*"
POST /proxies {"name":"db","upstream":"u:1","listen":"localhost:$B"} => 409 proxy already exists
POST /proxies {"name":"db","upstream":"u:1","listen":"local373"} => 409 proxy already exists
POST /proxies {"name":"two","upstream":"u:1","listen":"localhost:$A"} => 500 listen tcp 127.0.0.1:$A: bind: address already in use
DELETE /proxies/db => 204
POST /proxies {"name":"two","upstream":"u:1","listen":"localhost:$A"} => 201 "*"
"#,
    )
    .await;
}

#[tokio::test]
async fn a_proxy_can_be_changed_in_every_field_but_its_name() {
    Table::check_all(
        r#"
POST /proxies {"name":"db","listen":"localhost:$A","upstream":"u:1"} => 201 "*"
POST /proxies/db/toxics {"type":"latency"} => 200 "*"
PATCH /proxies/db {} => 200 {"name":"db","listen":"127.0.0.1:$A","upstream":"u:1","enabled":true,"toxics":["*"]}
PATCH /proxies/db null => 200 {"name":"db","listen":"127.0.0.1:$A","upstream":"u:1","enabled":true,"toxics":["*"]}
PATCH /proxies/db {"enabled":false} => 200 {"name":"db","listen":"127.0.0.1:$A","upstream":"u:1","enabled":false,"toxics":["*"]}
PATCH /proxies/db {"enabled":false} => 200 {"name":"db","listen":"127.0.0.1:$A","upstream":"u:1","enabled":false,"toxics":["*"]}
PATCH /proxies/db {"enabled":null} => 200 {"name":"db","listen":"127.0.0.1:$A","upstream":"u:1","enabled":false,"toxics":["*"]}
POST /proxies/db {"enabled":true} => 200 {"name":"db","listen":"127.0.0.1:$A","upstream":"u:1","enabled":true,"toxics":["*"]}
POST /proxies/db {"name":"other","listen":"localhost:$A","upstream":"u:2","enabled":true,"toxics":[]} => 200 {"name":"db","listen":"127.0.0.1:$A","upstream":"u:2","enabled":true,"toxics":["*"]}
PATCH /proxies/db {"listen":"localhost:$B"} => 200 {"name":"db","listen":"127.0.0.1:$B","upstream":"u:2","enabled":true,"toxics":["*"]}
PATCH /proxies/db {"listen":"127.0.0.1:$A","upstream":"u:3","enabled":false} => 200 {"name":"db","listen":"127.0.0.1:$A","upstream":"u:3","enabled":false,"toxics":["*"]}
PATCH /proxies/db {"listen":"localhost:$B"} => 200 {"name":"db","listen":"localhost:$B","upstream":"u:3","enabled":false,"toxics":["*"]}
PATCH /proxies/db {"enabled":true} => 200 {"name":"db","listen":"127.0.0.1:$B","upstream":"u:3","enabled":true,"toxics":["*"]}
PATCH /proxies/db {"listen":"localhost:$TAKEN"} => 500 listen tcp 127.0.0.1:$TAKEN: bind: address already in use
PATCH /proxies/db {"listen":"local373"} => 500 listen tcp: address local373: missing port in address
PATCH /proxies/db {"upstream":""} => 400 missing required field: upstream
PATCH /proxies/db {"upstream":1} => 400 bad request body: `upstream` must be a string, not 1
PATCH /proxies/db {"name":1} => 400 bad request body: `name` must be a string, not 1
PATCH /proxies/db {"enabled":1} => 400 bad request body: `enabled` must be true or false, not 1
PATCH /proxies/db => 400 bad request body: EOF
GET /proxies/db => 200 {"name":"db","listen":"127.0.0.1:$B","upstream":"u:3","enabled":true,"toxics":["*"]}
PATCH /proxies/db {"listen":"localhost:0"} => 200 {"name":"db","listen":"*","upstream":"u:3","enabled":true,"toxics":["*"]}
POST /proxies {"name":"next","listen":"localhost:$B","upstream":"u:1"} => 201 "*"
POST /proxies {"name":"waits","listen":"localhost:$TAKEN","upstream":"u:1","enabled":false} => 201 {"name":"waits","listen":"localhost:$TAKEN","upstream":"u:1","enabled":false,"toxics":[]}
PATCH /proxies/waits {"enabled":true} => 500 listen tcp 127.0.0.1:$TAKEN: bind: address already in use
"#,
    )
    .await;
}

#[tokio::test]
async fn toxics_are_added_listed_changed_and_removed() {
    Table::check_all(
        r#"
GET /proxies/db/toxics => 404 proxy not found
POST /proxies/db/toxics { => 404 proxy not found
GET /proxies/db/toxics/x => 404 proxy not found
DELETE /proxies/db/toxics/x => 404 proxy not found
POST /proxies {"name":"db","upstream":"u:1"} => 201 "*"
GET /proxies/db/toxics => 200 []
POST /proxies/db/toxics {"type":"latency","attributes":{"latency":100,"jitter":10,"unknown":1}} => 200 {"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":1,"attributes":{"latency":100,"jitter":10}}
POST /proxies/db/toxics {"type":"latency"} => 409 toxic already exists
POST /proxies/db/toxics {"name":"latency_downstream","type":"noop","stream":"upstream"} => 409 toxic already exists
POST /proxies/db/toxics {"name":"latency_downstream","type":"latency","attributes":{"latency":"x"}} => 409 toxic already exists
POST /proxies/db/toxics {"name":"foobar","type":"noop","stream":"UpStream","toxicity":0.2,"attributes":null} => 200 {"name":"foobar","type":"noop","stream":"UpStream","toxicity":0.2,"attributes":{}}
POST /proxies/db/toxics {"type":"timeout","stream":"UPSTREAM"} => 200 {"name":"timeout_UPSTREAM","type":"timeout","stream":"UPSTREAM","toxicity":1,"attributes":{"timeout":0}}
POST /proxies/db/toxics {"name":"","Type":"bandwidth","stream":null,"toxicity":null,"Attributes":{"RATE":5}} => 200 {"name":"bandwidth_downstream","type":"bandwidth","stream":"downstream","toxicity":1,"attributes":{"rate":5}}
GET /proxies/db/toxics => 200 [{"name":"foobar","type":"*","stream":"*","toxicity":0.2,"attributes":{}},{"name":"timeout_UPSTREAM","type":"*","stream":"*","toxicity":1,"attributes":"*"},{"name":"latency_downstream","type":"*","stream":"*","toxicity":1,"attributes":"*"},{"name":"bandwidth_downstream","type":"*","stream":"*","toxicity":1,"attributes":"*"}]
GET /proxies/db => 200 {"name":"db","listen":"*","upstream":"u:1","enabled":true,"toxics":["*","*","*","*"]}
GET /proxies/db/toxics/foobar => 200 {"name":"foobar","type":"noop","stream":"UpStream","toxicity":0.2,"attributes":{}}
GET /proxies/db/toxics/none => 404 toxic not found
PATCH /proxies/db/toxics/none { => 404 toxic not found
PATCH /proxies/db/toxics/latency_downstream {"attributes":{"latency":1000}} => 200 {"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":1,"attributes":{"latency":1000,"jitter":10}}
PATCH /proxies/db/toxics/latency_downstream {"toxicity":0.5,"attributes":{"JITTER":7}} => 200 {"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":0.5,"attributes":{"latency":1000,"jitter":7}}
POST /proxies/db/toxics/latency_downstream {"name":"x","type":"noop","stream":"upstream","attributes":{"latency":null}} => 200 {"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":0.5,"attributes":{"latency":1000,"jitter":7}}
POST /proxies/db/toxics/foobar {"toxicity":0} => 200 {"name":"foobar","type":"noop","stream":"UpStream","toxicity":0,"attributes":{}}
PATCH /proxies/db/toxics/latency_downstream {"attributes":{"latency":1.5}} => 400 bad request body: `latency` must be a whole number from 0 to 9223372036854775807, not 1.5
PATCH /proxies/db/toxics/latency_downstream {"toxicity":"x"} => 400 bad request body: `toxicity` must be a number, not the string "x"
PATCH /proxies/db/toxics/latency_downstream {"toxicity":-1} => 400 bad request body: toxicity -1 is not between 0 and 1
PATCH /proxies/db/toxics/latency_downstream => 400 bad request body: EOF
GET /proxies/db/toxics/latency_downstream => 200 {"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":0.5,"attributes":{"latency":1000,"jitter":7}}
DELETE /proxies/db/toxics/latency_downstream => 204
DELETE /proxies/db/toxics/latency_downstream => 404 toxic not found
"#,
    )
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_new_toxic_is_said() {
    Table::check_all(
        r#"
POST /proxies {"name":"db","upstream":"u:1"} => 201 "*"
POST /proxies/db/toxics => 400 bad request body: EOF
POST /proxies/db/toxics [] => 400 bad request body: a toxic must be an object, not a list
POST /proxies/db/toxics {} => 400 invalid toxic type
POST /proxies/db/toxics {"type":"fog"} => 400 invalid toxic type
POST /proxies/db/toxics {"type":"LATENCY"} => 400 invalid toxic type
POST /proxies/db/toxics {"type":1} => 400 bad request body: `type` must be a string, not 1
POST /proxies/db/toxics {"type":"fog","stream":"up"} => 400 stream was invalid, can be either upstream or downstream
POST /proxies/db/toxics {"type":"noop","stream":""} => 400 stream was invalid, can be either upstream or downstream
POST /proxies/db/toxics {"type":"noop","toxicity":2} => 400 bad request body: toxicity 2 is not between 0 and 1
POST /proxies/db/toxics {"type":"noop","attributes":5} => 400 bad request body: `attributes` must be an object, not 5
POST /proxies/db/toxics {"type":"latency","attributes":{"latency":1.5}} => 400 bad request body: `latency` must be a whole number from 0 to 9223372036854775807, not 1.5
POST /proxies/db/toxics {"type":"latency","attributes":{"latency":1.0}} => 400 bad request body: `latency` must be a whole number from 0 to 9223372036854775807, not 1.0
POST /proxies/db/toxics {"type":"latency","attributes":{"latency":"1"}} => 400 bad request body: `latency` must be a whole number from 0 to 9223372036854775807, not the string "1"
POST /proxies/db/toxics {"type":"latency","attributes":{"latency":9223372036854775808}} => 400 bad request body: `latency` must be a whole number from 0 to 9223372036854775807, not 9223372036854775808
POST /proxies/db/toxics {"type":"bandwidth","attributes":{"rate":-1}} => 400 bad request body: `rate` must be a whole number from 0 to 9223372036854775807, not -1
GET /proxies/db/toxics => 200 []
"#,
    )
    .await;
}

#[tokio::test]
async fn every_toxic_has_its_attributes_and_their_defaults() {
    Table::check_all(
        r#"
POST /proxies {"name":"p","upstream":"u:1"} => 201 "*"
POST /proxies/p/toxics {"name":"1","type":"latency"} => 200 {"name":"1","type":"latency","stream":"downstream","toxicity":1,"attributes":{"latency":0,"jitter":0}}
POST /proxies/p/toxics {"name":"2","type":"bandwidth"} => 200 {"name":"2","type":"bandwidth","stream":"downstream","toxicity":1,"attributes":{"rate":0}}
POST /proxies/p/toxics {"name":"3","type":"slow_close","attributes":{"delay":3}} => 200 {"name":"3","type":"slow_close","stream":"downstream","toxicity":1,"attributes":{"delay":3}}
POST /proxies/p/toxics {"name":"4","type":"timeout","attributes":{"timeout":4}} => 200 {"name":"4","type":"timeout","stream":"downstream","toxicity":1,"attributes":{"timeout":4}}
POST /proxies/p/toxics {"name":"5","type":"reset_peer"} => 200 {"name":"5","type":"reset_peer","stream":"downstream","toxicity":1,"attributes":{"timeout":0}}
POST /proxies/p/toxics {"name":"6","type":"slicer","attributes":{"average_size":1,"size_variation":2,"delay":3}} => 200 {"name":"6","type":"slicer","stream":"downstream","toxicity":1,"attributes":{"average_size":1,"size_variation":2,"delay":3}}
POST /proxies/p/toxics {"name":"7","type":"slicer"} => 200 {"name":"7","type":"slicer","stream":"downstream","toxicity":1,"attributes":{"average_size":0,"size_variation":0,"delay":0}}
POST /proxies/p/toxics {"name":"8","type":"limit_data","attributes":{"bytes":9223372036854775807}} => 200 {"name":"8","type":"limit_data","stream":"downstream","toxicity":1,"attributes":{"bytes":9223372036854775807}}
POST /proxies/p/toxics {"name":"9","type":"noop"} => 200 {"name":"9","type":"noop","stream":"downstream","toxicity":1,"attributes":{}}
POST /proxies/p/toxics {"name":"10","type":"stall","attributes":{"share":0.5}} => 200 {"name":"10","type":"stall","stream":"downstream","toxicity":1,"attributes":{"share":0.5,"pause":200}}
POST /proxies/p/toxics {"name":"11","type":"corrupt","attributes":{"rate":0.001}} => 200 {"name":"11","type":"corrupt","stream":"downstream","toxicity":1,"attributes":{"rate":0.001}}
POST /proxies/p/toxics {"name":"12","type":"blackhole"} => 200 {"name":"12","type":"blackhole","stream":"downstream","toxicity":1,"attributes":{}}
POST /proxies/p/toxics {"name":"13","type":"refuse"} => 200 {"name":"13","type":"refuse","stream":"downstream","toxicity":1,"attributes":{}}
POST /proxies/p/toxics {"name":"14","type":"half_open","attributes":{"timeout":5}} => 200 {"name":"14","type":"half_open","stream":"downstream","toxicity":1,"attributes":{"timeout":5}}
POST /proxies/p/toxics {"type":"stall","attributes":{"share":1.5}} => 400 bad request body: toxic `stall_downstream`: attribute `share` 1.5 is not between 0 and 1
POST /proxies/p/toxics {"type":"corrupt","attributes":{"rate":-0.1}} => 400 bad request body: toxic `corrupt_downstream`: attribute `rate` -0.1 is not between 0 and 1
POST /proxies/p/toxics {"type":"corrupt","attributes":{"rat":0.1}} => 400 bad request body: toxics of type corrupt have no attribute `rat`; they have rate
POST /proxies/p/toxics {"type":"blackhole","attributes":{"timeout":1}} => 400 bad request body: toxics of type blackhole have no attribute `timeout`; they have none
"#,
    )
    .await;
}

#[tokio::test]
async fn faults_on_messages_are_described_by_their_attributes() {
    Table::check_all(
        r#"
POST /proxies {"name":"p","upstream":"u:1"} => 201 "*"
POST /proxies/p/toxics {"type":"redis"} => 200 {"name":"redis_upstream","type":"redis","stream":"upstream","toxicity":1,"attributes":{"command":"","key":"","action":"fail","when":"before"},"hits":0}
POST /proxies/p/toxics {"name":"r","type":"redis","attributes":{"command":"EVALSHA","key":"cart:","error":"BUSY a script runs","first":3,"at_most":9}} => 200 {"name":"r","type":"redis","stream":"upstream","toxicity":1,"attributes":{"command":"EVALSHA","key":"cart:","action":"fail","error":"BUSY a script runs","when":"before","first":3,"at_most":9},"hits":0}
PATCH /proxies/p/toxics/r {"attributes":{"nth":2,"action":"delay","delay":50,"when":"after"}} => 200 {"name":"r","type":"redis","stream":"upstream","toxicity":1,"attributes":{"command":"EVALSHA","key":"cart:","action":"delay","delay":50,"when":"after","nth":2,"at_most":9},"hits":0}
POST /proxies/p/toxics {"type":"postgres","attributes":{"query":"COMMIT","action":"cut","when":"after","nth":1}} => 200 {"name":"postgres_upstream","type":"postgres","stream":"upstream","toxicity":1,"attributes":{"query":"COMMIT","action":"cut","when":"after","nth":1},"hits":0}
PATCH /proxies/p/toxics/postgres_upstream {"attributes":{"message":"Parse","text":"select"}} => 200 {"name":"postgres_upstream","type":"postgres","stream":"upstream","toxicity":1,"attributes":{"message":"Parse","text":"select","action":"cut","when":"after","nth":1},"hits":0}
PATCH /proxies/p/toxics/postgres_upstream {"attributes":{"query":"ROLLBACK"}} => 200 {"name":"postgres_upstream","type":"postgres","stream":"upstream","toxicity":1,"attributes":{"query":"ROLLBACK","action":"cut","when":"after","nth":1},"hits":0}
POST /proxies/p/toxics {"type":"postgres","attributes":{"answer":"CommandComplete","text":"INSERT","action":"duplicate"}} => 200 {"name":"postgres_downstream","type":"postgres","stream":"downstream","toxicity":1,"attributes":{"answer":"CommandComplete","text":"INSERT","action":"duplicate","when":"before"},"hits":0}
POST /proxies/p/toxics {"type":"websocket","attributes":{"frame":"text","text":"{","action":"reorder"}} => 200 {"name":"websocket_downstream","type":"websocket","stream":"downstream","toxicity":1,"attributes":{"frame":"text","text":"{","action":"reorder","when":"before"},"hits":0}
POST /proxies/p/toxics {"name":"w","type":"websocket","stream":"upstream","attributes":{"action":"drop"}} => 200 {"name":"w","type":"websocket","stream":"upstream","toxicity":1,"attributes":{"frame":"any","text":"","action":"drop","when":"before"},"hits":0}
POST /proxies/p/toxics {"name":"x","type":"redis","stream":"downstream"} => 400 bad request body: toxic `x`: attribute `stream` must be upstream: that is where these messages flow
POST /proxies/p/toxics {"name":"x","type":"redis","attributes":{"comand":"GET"}} => 400 bad request body: toxics of type redis have no attribute `comand`; they have command, key, action, error, delay, when, nth, first, at_most
POST /proxies/p/toxics {"name":"x","type":"redis","attributes":{"nth":1,"first":1}} => 400 bad request body: only one of `nth` and `first` can be there
POST /proxies/p/toxics {"name":"x","type":"redis","attributes":{"nth":0}} => 400 bad request body: toxic `x`: attribute `nth` is counted from 1
POST /proxies/p/toxics {"name":"x","type":"redis","attributes":{"action":"explode"}} => 400 bad request body: `action` must be fail, delay, cut, drop, duplicate or reorder, not "explode"
POST /proxies/p/toxics {"name":"x","type":"redis","attributes":{"action":"cut","error":"ERR"}} => 400 bad request body: `error` goes with the action fail
POST /proxies/p/toxics {"name":"x","type":"redis","attributes":{"delay":5}} => 400 bad request body: `delay` goes with the action delay
POST /proxies/p/toxics {"name":"x","type":"redis","attributes":{"when":"later"}} => 400 bad request body: `when` must be one of before, after, not "later"
POST /proxies/p/toxics {"name":"x","type":"postgres","attributes":{"query":"COMMIT","answer":"DataRow"}} => 400 bad request body: only one of `query`, `message` and `answer` can be there
POST /proxies/p/toxics {"name":"x","type":"postgres","attributes":{"query":"COMMIT","text":"a"}} => 400 bad request body: `text` goes with `message` or `answer`
POST /proxies/p/toxics {"name":"x","type":"websocket","attributes":{"frame":"big"}} => 400 bad request body: `frame` must be one of any, text, binary, close, ping, pong, not "big"
"#,
    )
    .await;
}

#[tokio::test]
async fn populating_makes_what_is_missing_and_replaces_what_differs() {
    Table::check_all(
        r#"
POST /populate [] => 201 {"proxies":[]}
POST /populate null => 201 {"proxies":[]}
POST /populate [{"name":"one","listen":"localhost:$A","upstream":"u:1"},{"name":"two","listen":"localhost:$B","upstream":"u:2","enabled":false}] => 201 {"proxies":[{"name":"one","listen":"127.0.0.1:$A","upstream":"u:1","enabled":true,"toxics":[]},{"name":"two","listen":"localhost:$B","upstream":"u:2","enabled":false,"toxics":[]}]}
POST /proxies/one/toxics {"type":"noop"} => 200 "*"
PATCH /proxies/one {"enabled":false} => 200 "*"
POST /populate [{"name":"one","listen":"localhost:$A","upstream":"u:1","enabled":true,"toxics":[]},{"name":"two","listen":"127.0.0.1:$B","upstream":"u:2","enabled":true}] => 201 {"proxies":[{"name":"one","listen":"127.0.0.1:$A","upstream":"u:1","enabled":false,"toxics":["*"]},{"name":"two","listen":"localhost:$B","upstream":"u:2","enabled":false,"toxics":[]}]}
POST /populate [{"name":"one","listen":"localhost:$A","upstream":"u:9"}] => 201 {"proxies":[{"name":"one","listen":"127.0.0.1:$A","upstream":"u:9","enabled":true,"toxics":[]}]}
POST /populate [{"name":"one","listen":"localhost:$C","upstream":"u:9"}] => 201 {"proxies":[{"name":"one","listen":"127.0.0.1:$C","upstream":"u:9","enabled":true,"toxics":[]}]}
POST /populate => 400 {"error":"bad request body: EOF","status":400,"proxies":null}
POST /populate {} => 400 {"error":"bad request body: the body must be a list, not an object","status":400,"proxies":null}
POST /populate [{"name":"x","upstream":"u:1"},{"upstream":"u:1"}] => 400 {"error":"missing required field: name at proxy 2","status":400,"proxies":null}
POST /populate [{"name":"x","upstream":"u:1"},{"name":"y"}] => 400 {"error":"missing required field: upstream at proxy 2","status":400,"proxies":null}
POST /populate [{"name":"x","upstream":"u:1","toxics":[{"type":"fog"}]}] => 400 {"error":"invalid toxic type at toxic 1 at proxy 1","status":400,"proxies":null}
GET /proxies => 200 {"one":"*","two":"*"}
POST /populate [{"name":"x","listen":"localhost:$D","upstream":"u:1"},{"name":"y","listen":"local373","upstream":"u:1"},{"name":"z","upstream":"u:1"}] => 500 {"error":"listen tcp: address local373: missing port in address","status":500,"proxies":[{"name":"x","listen":"127.0.0.1:$D","upstream":"u:1","enabled":true,"toxics":[]}]}
POST /populate [{"name":"one","listen":"localhost:$TAKEN","upstream":"u:9"}] => 500 {"error":"listen tcp 127.0.0.1:$TAKEN: bind: address already in use","status":500,"proxies":null}
GET /proxies => 200 {"one":{"name":"one","listen":"127.0.0.1:$C","upstream":"u:9","enabled":true,"toxics":[]},"two":"*","x":"*"}
"#,
    )
    .await;
}

#[tokio::test]
async fn a_reset_enables_every_proxy_and_removes_every_toxic() {
    Table::check_all(
        r#"
POST /reset => 204
POST /proxies {"name":"a","listen":"localhost:$A","upstream":"u:1"} => 201 "*"
POST /proxies {"name":"b","listen":"localhost:$B","upstream":"u:1","enabled":false} => 201 "*"
POST /proxies/a/toxics {"type":"noop"} => 200 "*"
POST /proxies/a/toxics {"type":"noop","stream":"upstream"} => 200 "*"
POST /proxies/b/toxics {"type":"noop"} => 200 "*"
POST /reset {"ignored":true} => 204
GET /proxies => 200 {"a":{"name":"a","listen":"127.0.0.1:$A","upstream":"u:1","enabled":true,"toxics":[]},"b":{"name":"b","listen":"127.0.0.1:$B","upstream":"u:1","enabled":true,"toxics":[]}}
"#,
    )
    .await;
}

#[tokio::test]
async fn toxics_can_be_given_with_the_proxy() {
    Table::check_all(
        r#"
POST /proxies {"name":"a","upstream":"u:1","toxics":[{"type":"latency","attributes":{"latency":5}},{"name":"n","type":"noop","stream":"upstream"}]} => 201 {"name":"a","listen":"*","upstream":"u:1","enabled":true,"toxics":[{"name":"n","type":"noop","stream":"upstream","toxicity":1,"attributes":{}},{"name":"latency_downstream","type":"latency","stream":"downstream","toxicity":1,"attributes":{"latency":5,"jitter":0}}]}
POST /populate [{"name":"b","upstream":"u:1","toxics":[{"type":"corrupt","attributes":{"rate":1}}]}] => 201 {"proxies":[{"name":"b","listen":"*","upstream":"u:1","enabled":true,"toxics":[{"name":"corrupt_downstream","type":"corrupt","stream":"downstream","toxicity":1,"attributes":{"rate":1.0}}]}]}
POST /proxies {"name":"c","upstream":"u:1","toxics":[{"type":"noop"},{"type":"noop"}]} => 409 toxic already exists
POST /proxies {"name":"c","upstream":"u:1","toxics":[{"type":"noop"},{"type":"noop","stream":"up"}]} => 400 stream was invalid, can be either upstream or downstream at toxic 2
POST /proxies {"name":"c","upstream":"u:1","toxics":[{"type":"noop","toxicity":9}]} => 400 bad request body: toxicity 9 is not between 0 and 1
POST /proxies {"name":"c","upstream":"u:1","toxics":{}} => 400 bad request body: `toxics` must be a list, not an object
GET /proxies/c => 404 proxy not found
"#,
    )
    .await;
}

#[tokio::test]
async fn the_log_of_decisions_can_be_had() {
    let table = Table::new().await;
    table.check("POST /decisions {} => 400 missing required field: limit").await;
    table.check("POST /decisions {\"limit\":100001} => 400 bad request body: `limit` must be at most 100000, not 100001").await;
    table.check("POST /decisions {\"limit\":10} => 204").await;
    let echo = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = echo.local_addr().unwrap();
    let line = format!(
        r#"POST /proxies {{"name":"p","listen":"localhost:$A","upstream":"{upstream}","toxics":[{{"type":"noop","toxicity":0.5}}]}} => 201 "*""#
    );
    table.check(&line).await;
    let _client = tokio::net::TcpStream::connect(("127.0.0.1", table.ports[0].1)).await.unwrap();
    let url = format!("http://{}/decisions", table.api.address());
    let asking = async {
        loop {
            let response = table.client.get(&url).send().await.unwrap();
            assert_eq!(response.headers()["x-missed-decisions"], "0");
            let text = response.text().await.unwrap();
            if !text.is_empty() {
                return text;
            }
        }
    };
    let text = tokio::time::timeout(std::time::Duration::from_secs(10), asking).await.unwrap();
    assert!(
        text.starts_with(r#"{"proxy":"p","connection":0,"stream":"downstream","toxic":"noop_downstream","#),
        "{text}"
    );
}

async fn raw(api: &Api, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut socket = tokio::net::TcpStream::connect(api.address()).await.unwrap();
    let request = format!("{request}\r\nhost: x\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn answers_outside_of_the_contracts_json_are_those_of_toxiproxy() {
    let api = running_api().await;
    #[track_caller]
    fn check(answer: &str, status: u16, headers: &[&str], body: &str) {
        let (head, got) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        let head = head.to_ascii_lowercase();
        for header in headers.iter().chain(&["x-toxiproxy-request-id: ", "server: seaworthy-fault-proxy/"]) {
            assert!(head.contains(header), "{header} is not in {head}");
        }
        assert_eq!(got, body);
    }
    let plain = ["content-type: text/plain; charset=utf-8", "x-content-type-options: nosniff"];
    for path in ["/", "/nowhere", "/proxies/", "/proxies/x/toxics/", "/proxies/x/toxics/y/z", "/metrics"] {
        check(&raw(&api, &format!("GET {path} HTTP/1.1")).await, 404, &plain, "404 page not found\n");
    }
    for (method, path) in
        [("PUT", "/proxies"), ("DELETE", "/proxies"), ("GET", "/populate"), ("GET", "/reset")]
    {
        check(&raw(&api, &format!("{method} {path} HTTP/1.1")).await, 405, &[], "");
    }
    let version = raw(&api, "GET /version HTTP/1.1").await;
    check(&version, 200, &["content-type: application/json;charset=utf-8"], "{\"version\": \"2.12.0\"}\n");
    let browser = raw(&api, "GET /proxies HTTP/1.1\r\nuser-agent: Mozilla/5.0 (X11)").await;
    check(&browser, 403, &plain, "User agent not allowed\n");
    let tool = raw(&api, "GET /proxies HTTP/1.1\r\nuser-agent: Wget/2.1 Mozilla/5.0").await;
    check(&tool, 200, &["content-type: application/json"], "{}");
    let not_text = raw(&api, "GET /proxies/%ff HTTP/1.1").await;
    let error = "{\"error\":\"bad request path: it is not UTF-8\",\"status\":400}\n";
    check(&not_text, 400, &plain, error);
}

#[tokio::test]
async fn metrics_have_the_names_of_toxiproxy_and_are_there_only_when_asked_for() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let echo = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = echo.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = echo.accept().await.unwrap();
        socket.read_exact(&mut [0; 5]).await.unwrap();
        socket.write_all(b"pong!!!").await.unwrap();
        socket.read_to_end(&mut Vec::new()).await
    });
    let proxies = Proxies::with_seed(1);
    let config = seaworthy_fault_proxy::ProxyConfig::new("a \"name\"\\", upstream.to_string());
    let proxy = proxies.create(config).await.unwrap();
    let settings = Settings::default().proxy_metrics().more_metrics(|| "more 1\n".to_owned());
    let api = api::serve_with(proxies, "127.0.0.1:0".parse().unwrap(), settings).await.unwrap();

    let mut client = tokio::net::TcpStream::connect(proxy.listen()).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    client.read_exact(&mut [0; 7]).await.unwrap();
    let labels = |direction| {
        let listener = proxy.listen();
        format!(r#"direction="{direction}",listener="{listener}",proxy="a \"name\"\\",upstream="{upstream}""#)
    };
    let wanted = [
        ("received", "downstream", 7),
        ("received", "upstream", 5),
        ("sent", "downstream", 7),
        ("sent", "upstream", 5),
    ];
    let wanted: Vec<String> = wanted
        .into_iter()
        .map(|(what, stream, bytes)| {
            format!("toxiproxy_proxy_{what}_bytes_total{{{}}} {bytes}", labels(stream))
        })
        .collect();
    let asking = async {
        loop {
            let answer = raw(&api, "GET /metrics HTTP/1.1").await;
            assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{answer}");
            assert!(answer.contains("# TYPE toxiproxy_proxy_sent_bytes_total counter\n"), "{answer}");
            assert!(answer.ends_with("more 1\n"), "{answer}");
            if wanted.iter().all(|line| answer.lines().any(|told| told == line)) {
                return;
            }
        }
    };
    let wait = tokio::time::timeout(std::time::Duration::from_secs(10), asking);
    wait.await.unwrap_or_else(|_| panic!("never saw {wanted:#?}"));
}
