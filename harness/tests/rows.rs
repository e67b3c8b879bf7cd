//! Rows for snapshots, from a real Postgres: its own text, without what differs from run to run.

use std::time::Duration;

use seaworthy_harness::{Postgres, ProviderChoice, Redactor, Rows, RowsError, Stack};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, postgres::PgPoolOptions};

async fn postgres() -> (Stack, PgConnection) {
    let provider = ProviderChoice::from_env().unwrap();
    let stack = Stack::builder().provider(provider).postgres(Postgres::new()).start().await.unwrap();
    let connection = PgConnection::connect(&stack.postgres().direct_url()).await.unwrap();
    (stack, connection)
}

async fn sql(connection: &mut PgConnection, statements: &str) {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))).await.unwrap();
}

/// What a snapshot of another run would show.
async fn shown(connection: &mut PgConnection, query: &'static str) -> String {
    Rows::of(connection, query).await.unwrap().to_string()
}

const SHOP: &str = "
    create type status as enum ('placed', 'fulfilled');
    create table customers (id uuid primary key default gen_random_uuid(), name text not null);
    create table orders (
        id bigint generated always as identity (start with 4711) primary key,
        customer_id uuid not null references customers,
        status status not null default 'placed',
        total numeric(10, 2) not null,
        placed_at timestamptz not null default now()
    );
    create table lines (
        number serial,
        order_id bigint references orders,
        sku text,
        primary key (order_id, number)
    );
    create table labels (order_id bigint, line int, printed_on date, foreign key (order_id, line) references lines);
    insert into customers (name) values ('Ada'), ('Grace');
    insert into orders (customer_id, total) select id, 12.50 from customers order by name;
    insert into orders (customer_id, total) select id, 3 from customers where name = 'Ada';
    insert into lines (order_id, sku) select id, 'sku-' || total from orders order by id;
    insert into labels select order_id, number, now() from lines order by 1 limit 1;";

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_followed_through_foreign_keys_and_keep_their_names() {
    let (_stack, mut connection) = postgres().await;
    sql(&mut connection, SHOP).await;
    let orders = shown(&mut connection, "select * from orders order by id").await;
    insta::assert_snapshot!(orders, @"
    id            | customer_id | status | total | placed_at
    --------------+-------------+--------+-------+------------
    [orders.id-1] | [uuid-1]    | placed | 12.50 | [timestamp]
    [orders.id-2] | [uuid-2]    | placed | 12.50 | [timestamp]
    [orders.id-3] | [uuid-1]    | placed |  3.00 | [timestamp]
    (3 rows)
    ");
    let mut redactor = Redactor::new();
    // The youngest first: it is the first of its name.
    let lines = redactor
        .rows(&mut connection, "select order_id as parent, number, sku from lines order by 1 desc")
        .await;
    insta::assert_snapshot!(lines.unwrap(), @"
    parent        | number           | sku
    --------------+------------------+----------
    [orders.id-1] | [lines.number-1] | sku-3.00
    [orders.id-2] | [lines.number-2] | sku-12.50
    [orders.id-3] | [lines.number-3] | sku-12.50
    (3 rows)
    ");
    let joined = "select o.id, c.id, c.name, l.* from orders o join customers c on c.id = customer_id
        left join labels l on l.order_id = o.id order by o.id";
    insta::assert_snapshot!(redactor.rows(&mut connection, joined).await.unwrap(), @"
    id            | id       | name  | order_id      | line             | printed_on
    --------------+----------+-------+---------------+------------------+------------
    [orders.id-3] | [uuid-1] | Ada   | [orders.id-3] | [lines.number-3] | [timestamp]
    [orders.id-2] | [uuid-2] | Grace | ∅             | ∅                | ∅
    [orders.id-1] | [uuid-1] | Ada   | ∅             | ∅                | ∅
    (3 rows)
    ");
    let counted = "select count(*), max(id) as newest from orders";
    let mut redactor = redactor.redact_as("newest", "orders.id");
    insta::assert_snapshot!(redactor.rows(&mut connection, counted).await.unwrap(), @"
    count | newest
    ------+--------------
        3 | [orders.id-1]
    (1 row)
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_what_postgres_prints() {
    let (_stack, mut connection) = postgres().await;
    sql(
        &mut connection,
        "create type pair as (at timestamptz, note text);
        create domain since as timestamptz;
        create type span as range (subtype = timestamptz)",
    )
    .await;
    let plain = r#"select true as yes, 1.50::numeric as price, 1e-7::float8 as tiny, 'NaN'::float4 as none, null::int as nothing,
        '' as empty, E'two\nlines' as text, '\x00ff'::bytea as bytes, array['a b', null, 'c'] as list, '1 day'::interval as "for",
        '{"b": 1.10, "a": [null]}'::jsonb as json, int4range(1, 5) as range, row(1, 'x') as record"#;
    let rows = Rows::of(&mut connection, plain).await.unwrap();
    insta::assert_snapshot!(rows, @r#"
    yes | price | tiny  | none | nothing | empty | text       | bytes  | list           | for   | json                     | range | record
    ----+-------+-------+------+---------+-------+------------+--------+----------------+-------+--------------------------+-------+-------
    t   |  1.50 | 1e-07 |  NaN |       ∅ |       | two\nlines | \x00ff | {"a b",NULL,c} | 1 day | {"a": [null], "b": 1.10} | [1,5) | (1,x)
    (1 row)
    "#);
    insta::assert_snapshot!(serde_json::to_string_pretty(&rows).unwrap(), @r#"
    [
      {
        "yes": true,
        "price": "1.50",
        "tiny": 1e-7,
        "none": "NaN",
        "nothing": null,
        "empty": "",
        "text": "two\nlines",
        "bytes": "\\x00ff",
        "list": "{\"a b\",NULL,c}",
        "for": "1 day",
        "json": {
          "a": [
            null
          ],
          "b": 1.1
        },
        "range": "[1,5)",
        "record": "(1,x)"
      }
    ]
    "#);
    let volatile = r#"select now() as at, current_date as day, current_time as tod, 'infinity'::timestamptz as never,
        array[now(), null] as times, tstzrange(now(), null) as span, span(now(), 'infinity') as own,
        datemultirange(daterange(current_date, current_date + 2)) as days, row(now(), 'a "b"')::pair as pair,
        array[row(now(), 'a,b')::pair] as pairs, now()::since as domain, row(1, now(), gen_random_uuid()) as record,
        jsonb_build_object('at', now(), 'id', gen_random_uuid(), 'day', '2026-01-01') as json,
        'see ' || gen_random_uuid() || '!' as text, array[gen_random_uuid()] as uuids"#;
    let rows = Rows::of(&mut connection, volatile).await.unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&rows).unwrap(), @r#"
    [
      {
        "at": "[timestamp]",
        "day": "[timestamp]",
        "tod": "[timestamp]",
        "never": "infinity",
        "times": "{[timestamp],NULL}",
        "span": "[[timestamp],)",
        "own": "[[timestamp],infinity)",
        "days": "{[[timestamp],[timestamp])}",
        "pair": "([timestamp],\"a \"\"b\"\"\")",
        "pairs": "{\"([timestamp],\\\"a,b\\\")\"}",
        "domain": "[timestamp]",
        "record": "(1,[timestamp],[uuid-1])",
        "json": {
          "at": "[timestamp]",
          "day": "2026-01-01",
          "id": "[uuid-2]"
        },
        "text": "see [uuid-3]!",
        "uuids": "{[uuid-4]}"
      }
    ]
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_are_kept_and_redacted_by_choice() {
    let (_stack, mut connection) = postgres().await;
    sql(&mut connection, SHOP).await;
    let mut redactor = Redactor::new().keep("id").keep("due").redact("token").redact_as("backend", "backend");
    let query =
        "select id, date '2026-01-31' as due, md5(random()::text) as token, pg_backend_pid() as backend,
        nullif(id, 4711) as token from orders order by id limit 2";
    insta::assert_snapshot!(redactor.rows(&mut connection, query).await.unwrap(), @"
    id   | due        | token   | backend     | token
    -----+------------+---------+-------------+--------
    4711 | 2026-01-31 | [token] | [backend-1] | ∅
    4712 | 2026-01-31 | [token] | [backend-1] | [token]
    (2 rows)
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_from_pools_and_transactions_and_tables_that_changed() {
    let (stack, mut connection) = postgres().await;
    let pool: PgPool =
        PgPoolOptions::new().max_connections(1).connect(&stack.postgres().direct_url()).await.unwrap();
    sql(&mut connection, "create table notes (id int generated by default as identity, note text)").await;
    insta::assert_snapshot!(Rows::of(&pool, "select * from notes").await.unwrap(), @"
    id | note
    ---+-----
    (0 rows)
    ");
    let mut transaction = pool.begin().await.unwrap();
    let inserted =
        Rows::of(&mut transaction, "insert into notes (note) values ('mine') returning *").await.unwrap();
    insta::assert_snapshot!(inserted, @"
    id           | note
    -------------+-----
    [notes.id-1] | mine
    (1 row)
    ");
    assert!(Rows::of(&mut connection, "select * from notes").await.unwrap().is_empty());
    transaction.rollback().await.unwrap();
    sql(&mut connection, "alter table notes add at timestamptz").await;
    let rows = Rows::of(&pool, "select * from notes").await.unwrap();
    assert_eq!(rows.columns().collect::<Vec<_>>(), ["id", "note", "at"]);
    // It can be spawned.
    let rows = tokio::spawn(async move { Rows::of(&pool, "select 1 as one").await.unwrap().len() });
    assert_eq!(rows.await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_and_defaults_with_sequences_have_their_tables_ids() {
    let (_stack, mut connection) = postgres().await;
    let schema = "create schema shop;
        create sequence shop.numbers;
        create table shop.events (id bigserial, at date, number text default 'E-' || nextval('shop.numbers')) partition by range (at);
        create table shop.events_2026 partition of shop.events for values from ('2026-01-01') to ('2027-01-01');
        create table shop.tree (id serial primary key, parent_id int references shop.tree);
        insert into shop.events (at) values ('2026-02-01');
        insert into shop.tree (parent_id) values (null), (1)";
    sql(&mut connection, schema).await;
    let events = shown(&mut connection, "select id, number from shop.events").await;
    insta::assert_snapshot!(events, @"
    id                 | number
    -------------------+-----------------------
    [shop.events.id-1] | [shop.events.number-1]
    (1 row)
    ");
    assert_eq!(shown(&mut connection, "select id, number from shop.events_2026").await, events);
    insta::assert_snapshot!(shown(&mut connection, "select * from shop.tree order by id").await, @"
    id               | parent_id
    -----------------+-----------------
    [shop.tree.id-1] | ∅
    [shop.tree.id-2] | [shop.tree.id-1]
    (2 rows)
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_query_is_told_with_its_place() {
    let (_stack, mut connection) = postgres().await;
    sql(&mut connection, SHOP).await;
    let mut error = async |query: &'static str| Rows::of(&mut connection, query).await.unwrap_err();
    let column = error("select id,\n  totl\nfrom orders").await;
    insta::assert_snapshot!(column, @r#"
    the query failed: column "totl" does not exist (42703)
      select id,
        totl
        ^
      from orders
      hint: Perhaps you meant to reference the column "orders.total".
    "#);
    assert!(matches!(column, RowsError::Query { .. }), "{column:?}");
    insta::assert_snapshot!(error("select 1 / 0 as x").await, @"
    the query failed: division by zero (22012)
      select 1 / 0 as x
    ");
    insta::assert_snapshot!(error("select id from orders where id = $1").await, @"
    the query takes 1 parameter(s), and `Rows` has no values for them: write them into it
    select id from orders where id = $1
    ");
    insta::assert_snapshot!(error("delete from labels").await, @"
    the statement gives no columns: use `select`, or add `returning`
    delete from labels
    ");
    insta::assert_snapshot!(error("delete from orders; select 1").await, @"
    the query failed: cannot insert multiple commands into a prepared statement (42601)
      delete from orders; select 1
    ");
    insta::assert_snapshot!(error("select n from generate_series(1, 1001) n").await, @"
    the query gives more than 1000 rows: add a `where` or a `limit`
    select n from generate_series(1, 1001) n
    ");
    assert_eq!(
        Rows::of(&mut connection, "select id from orders").await.unwrap().len(),
        3,
        "nothing was deleted"
    );
    let nobody = PgPoolOptions::new()
        .acquire_timeout(Duration::from_millis(200))
        .connect_lazy("postgres://127.0.0.1:1/x");
    let error = Rows::of(&nobody.unwrap(), "select 1").await.unwrap_err();
    assert!(matches!(error, RowsError::Connection(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_random_values_none_is_seen_and_two_runs_look_alike() {
    let (_stack, mut connection) = postgres().await;
    sql(
        &mut connection,
        "create type pair as (at timestamp, id uuid);
        create function some_time() returns timestamptz language sql volatile as
            $$ select timestamptz '1900-01-01' + random() * interval '200 years' $$;",
    )
    .await;
    let query = "select gen_random_uuid() as id, some_time() as at, some_time()::date as day, some_time()::time as tod,
            array[some_time(), some_time()] as times, array[gen_random_uuid(), gen_random_uuid()] as ids,
            tstzrange(least(a, b), greatest(a, b)) as span, row(a, gen_random_uuid())::pair as pair,
            array[row(b, gen_random_uuid())::pair] as pairs,
            jsonb_build_object(gen_random_uuid()::text, a, 'list', jsonb_build_array(b, gen_random_uuid())) as json,
            upper(gen_random_uuid()::text) || gen_random_uuid() as text, row(a, gen_random_uuid()) as record
        from (select some_time() as a, some_time() as b from generate_series(1, 200)) random";
    let (one, other) = (shown(&mut connection, query).await, shown(&mut connection, query).await);
    assert_eq!(one, other);
    for line in one.lines().skip(2) {
        // What is left has no digits but those of names: uuids and timestamps can't be told from it.
        let digits = line.split(['[', ']']).filter(|part| !part.starts_with("uuid-")).collect::<String>();
        assert!(line.ends_with("rows)") || !digits.contains(|c: char| c.is_ascii_digit()), "{line}");
    }
}
