//! Toxiproxy's wire contract for toxics, and the toxics that only this proxy has.

mod table;

use table::Table;

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
