//! Many rows at once: how many statements they take, and what comes back.

use seaworthy_factories::{Error, Seed};
use seaworthy_harness::{Env, assert_queries};
use sqlx::Row;

use crate::count;
use crate::shop::{
    EventFactory, LineItemFactory, OrderFactory, ProductFactory, Role, Settings, User, UserFactory, schema,
};

#[seaworthy_harness::test(schema = schema())]
async fn what_is_written_is_what_comes_back(env: Env) -> Result<(), Error> {
    let db = env.postgres().await;
    // Both ways to write: arrays of few rows, and COPY of many. (The array column has users copied anyway.)
    for many in [1, 1_100] {
        let users = UserFactory::new().count(many).create(&db).await?;
        for user in [&users[0], &users[users.len() - 1]] {
            let row = sqlx::query("select name, email::text, role::text, tags, roles::text[], settings, raw, age, initial from users where id = $1")
                .bind(user.id)
                .fetch_one(&*db)
                .await?;
            let settings: sqlx::types::Json<Settings> = row.get("settings");
            assert_eq!(user.name, row.get::<String, _>("name"));
            assert_eq!(user.email, row.get::<String, _>("email"));
            assert_eq!(format!("{:?}", user.role).to_lowercase(), row.get::<String, _>("role"));
            assert_eq!(user.tags, row.get::<Vec<String>, _>("tags"));
            assert_eq!(row.get::<Vec<String>, _>("roles"), [row.get::<String, _>("role")]);
            assert_eq!(user.settings, settings.0);
            assert_eq!(user.raw, row.get("raw"));
            assert_eq!(user.age, row.get::<i16, _>("age"));
            assert_eq!(user.initial, row.get("initial"));
            assert_eq!(user.initial, user.name.chars().next().map(String::from));
        }
    }
    for many in [3, 500] {
        let orders = OrderFactory::new().count(many).create(&db).await?;
        let cents: Vec<i32> = sqlx::query_scalar("select cents from orders where id = any($1) order by id")
            .bind(orders.iter().map(|order| order.id).collect::<Vec<_>>())
            .fetch_all(&*db)
            .await?;
        assert_eq!(cents, orders.iter().map(|order| order.cents).collect::<Vec<_>>());
        let products = ProductFactory::new().count(many).create(&db).await?;
        let code: i32 = sqlx::query_scalar("select code from products where id = $1")
            .bind(products[1].id)
            .fetch_one(&*db)
            .await?;
        assert_eq!(code, products[1].code);
    }
    Ok(())
}

#[seaworthy_harness::test(schema = schema())]
async fn a_table_takes_the_same_few_statements_at_any_count(env: Env) -> Result<(), Error> {
    let db = env.postgres().await;
    // Once, so that the statements are prepared.
    UserFactory::new().create(&db).await?;
    // The database, the tables, the keys; COPY; the generated column.
    assert_queries!(env, <= 5, { UserFactory::new().count(10).create(&db).await })?;
    assert_queries!(env, <= 5, { UserFactory::new().count(10_000).create(&db).await })?;
    // COPY for users, orders, products and line items; nothing of orders is to be read back.
    let order = || OrderFactory::new().count(2_000).has(LineItemFactory::new().count(3));
    assert_queries!(env, <= 7, { order().create(&db).await })?;
    Ok(())
}

#[seaworthy_harness::test(schema = schema())]
async fn numbers_go_on_so_that_what_is_unique_stays_unique(env: Env) -> Result<(), Error> {
    let db = env.postgres().await;
    let first = UserFactory::new().count(3).create(&db).await?;
    let second = UserFactory::new().count(3).create(&db).await?;
    let made: Vec<String> = UserFactory::new()
        .seed(Seed(env.seed()))
        .count(6)
        .make()?
        .into_iter()
        .map(|user| user.email)
        .collect();
    let created: Vec<String> = first.into_iter().chain(second).map(|user| user.email).collect();
    assert_eq!(created, made);
    Ok(())
}

#[seaworthy_harness::test(schema = schema())]
async fn the_seed_is_that_of_the_test_and_prints_with_its_failure(env: Env) -> Result<(), Error> {
    let db = env.postgres().await;
    let name = UserFactory::new().create(&db).await?.name;
    assert_eq!(name, UserFactory::new().seed(Seed(env.seed())).make()?.name);
    Ok(())
}

#[seaworthy_harness::test(schema = schema())]
async fn a_stream_writes_what_create_writes(env: Env) -> Result<(), Error> {
    const SUM: &str = "select md5(string_agg(o.cents || '-' || u.email || '-' || i.quantity, ',' order by u.email, o.cents, i.quantity))
        from orders o join users u on u.id = o.user_id join line_items i on i.order_id = o.id";
    let (created, streamed) = (env.fresh(), env.fresh());
    // More than one part.
    let factory = || {
        let items = LineItemFactory::new().count(2).product(ProductFactory::new().count(50));
        UserFactory::new().count(7_200).has(OrderFactory::new().count(2).has(items))
    };
    let db = created.postgres().await;
    factory().create(&db).await?;
    let expected: String = sqlx::query_scalar(SUM).fetch_one(&*db).await?;
    let db = streamed.postgres().await;
    let told = std::sync::Mutex::new(Vec::new());
    let rows = factory().insert_telling(&db, |progress| told.lock().unwrap().push(progress)).await?;
    assert_eq!(rows, 7_200 * 7 + 50);
    assert_eq!(sqlx::query_scalar::<_, String>(SUM).fetch_one(&*db).await?, expected);
    let told = told.into_inner().unwrap();
    assert!(told.windows(2).all(|two| two[0].rows < two[1].rows));
    assert_eq!(told.last().map(|progress| (progress.rows, progress.total)), Some((rows, rows)));
    Ok(())
}

#[seaworthy_harness::test(schema = schema())]
async fn partitions_take_their_rows(env: Env) -> Result<(), Error> {
    let db = env.postgres().await;
    EventFactory::new().count(10).create(&db).await?;
    EventFactory::new().count(1_000).create(&db).await?;
    assert_eq!(count(&db, "events_2025").await + count(&db, "events_2026").await, 1_010);
    Ok(())
}

#[seaworthy_harness::test(schema = schema())]
async fn in_a_transaction_everything_goes_with_it(env: Env) -> Result<(), Error> {
    let db = env.postgres().await;
    let mut tx = db.begin().await?;
    let user = UserFactory::new().create(&mut tx).await?;
    OrderFactory::new().belonging_to(&user).create(&mut *tx).await?;
    tx.rollback().await?;
    assert_eq!((count(&db, "users").await, count(&db, "orders").await), (0, 0));
    let mut connection = db.acquire().await?;
    UserFactory::new().create(&mut *connection).await?;
    assert_eq!(count(&db, "users").await, 1);
    Ok(())
}

#[seaworthy_harness::test(schema = schema())]
async fn hooks_run_in_the_transaction_and_can_take_everything_back(env: Env) -> Result<(), Error> {
    let db = env.postgres().await;
    let promoted = UserFactory::new()
        .count(3)
        .after_create(|users: &mut [User], db| {
            Box::pin(async move {
                sqlx::query("update users set role = 'admin'").execute(db).await?;
                users.iter_mut().for_each(|user| user.role = Role::Admin);
                Ok(())
            })
        })
        .create(&db)
        .await?;
    assert!(promoted.iter().all(|user| user.role == Role::Admin));
    let children = OrderFactory::new().count(2).after_create(|orders, _| {
        let made = orders.len();
        Box::pin(async move { if made == 6 { Err(sqlx::Error::RowNotFound) } else { Ok(()) } })
    });
    let error = UserFactory::new().count(3).has(children).create(&db).await.unwrap_err();
    assert!(matches!(error, Error::Database(sqlx::Error::RowNotFound)), "{error}");
    assert_eq!((count(&db, "users").await, count(&db, "orders").await), (3, 0));
    Ok(())
}
