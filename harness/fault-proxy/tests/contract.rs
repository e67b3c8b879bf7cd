//! Toxiproxy's wire contract for proxies.

mod table;

use table::Table;

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
