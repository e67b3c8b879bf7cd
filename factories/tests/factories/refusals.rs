//! What is wrong is told with the factory, the field and the record, and nothing is left behind.

use seaworthy_factories::{Buildable, Error, Factory};
use seaworthy_harness::Env;
use sqlx::PgPool;

use crate::shop::{CategoryFactory, LineItemFactory, OrderFactory, ProductFactory, UserFactory, schema};

async fn refused<F: Buildable>(db: &PgPool, factory: F) -> String {
    let error = factory.into_builder().create(db).await.err().expect("it is refused");
    let rows: i64 = sqlx::query_scalar(
        "select (select count(*) from users) + (select count(*) from orders) + (select count(*) from products) + (select count(*) from categories)",
    )
    .fetch_one(db)
    .await
    .unwrap();
    assert_eq!(rows, 0, "{error}");
    error.to_string()
}

#[seaworthy_harness::test(schema = schema())]
async fn a_value_that_its_column_does_not_take(env: Env) {
    let db = env.postgres().await;
    let long = "a name that is much too long for it";
    let said = refused(&db, CategoryFactory::new().count(3).name_cycle(["ok", long])).await;
    insta::assert_snapshot!(said, @"factory `category`: field `name` of record number 1: `a name that is much too long for it` has 35 characters, and the column takes 20");
    let said = refused(&db, CategoryFactory::new().name("a\0b")).await;
    insta::assert_snapshot!(said, @"factory `category`: field `name` of record number 3: the text has a NUL character, which Postgres does not keep");
}

#[seaworthy_harness::test(schema = schema())]
async fn a_constraint_that_the_database_checks(env: Env) {
    let db = env.postgres().await;
    // Few are written as arrays, of which Postgres does not say which one it was: it is found all the same.
    let said = refused(&db, CategoryFactory::new().count(3).id_cycle([5, 6, 5])).await;
    insta::assert_snapshot!(said, @r#"factory `category`: field `id` of record number 2: duplicate key value violates unique constraint "categories_pkey" (Key (id)=(5) already exists.)"#);
    let said =
        refused(&db, OrderFactory::new().count(400).has(LineItemFactory::new().quantity_cycle([3, 0]))).await;
    assert!(said.starts_with("factory `line_item`: field `quantity` of record number 1: "), "{said}");
    let said = refused(&db, UserFactory::new().count(200).age_cycle([20, 30, 17])).await;
    assert!(said.starts_with("factory `user`: field `age` of record number 402: "), "{said}");
    let said = refused(&db, UserFactory::new().email("nowhere")).await;
    assert!(said.starts_with("factory `user`: field `email` of record number "), "{said}");
    let said = refused(&db, OrderFactory::new().user_id(99)).await;
    assert!(said.starts_with("factory `order`: field `user_id` of record number "), "{said}");
}

#[seaworthy_harness::test(schema = schema())]
async fn more_unique_values_than_there_are(env: Env) {
    let db = env.postgres().await;
    let said = refused(&db, ProductFactory::new().count(9_001)).await;
    insta::assert_snapshot!(said, @"factory `product`: field `code` has 9000 unique values, and record number 9000 needs one more: widen it, or make fewer");
}

#[seaworthy_harness::test(schema = schema())]
async fn no_parents_to_choose_from(env: Env) {
    let db = env.postgres().await;
    let said = refused(&db, OrderFactory::new().count(2).user(&[])).await;
    insta::assert_snapshot!(said, @"factory `order`: field `user_id` was given no parents to choose from");
}

#[seaworthy_harness::test(schema = schema())]
async fn a_caller_s_transaction_goes_on_after_a_refusal(env: Env) -> Result<(), Error> {
    let db = env.postgres().await;
    let mut tx = db.begin().await?;
    UserFactory::new().create(&mut tx).await?;
    OrderFactory::new().user_id(99).create(&mut tx).await.unwrap_err();
    tx.commit().await?;
    let users: i64 = sqlx::query_scalar("select count(*) from users").fetch_one(&*db).await?;
    assert_eq!(users, 1);
    Ok(())
}

/// A factory of `categories` that does not fit.
macro_rules! drifted {
    ($name:ident, $factory:ident, $table:literal, { $($field:tt)* }) => {
        #[derive(Debug, Factory)]
        #[factory(table = $table)]
        struct $name { $($field)* }
    };
}

drifted!(Nowhere, NowhereFactory, "nowhere", { #[factory(key)] id: i64 });
drifted!(Renamed, RenamedFactory, "categories", { #[factory(key)] id: i32, #[factory(value = "a")] title: String });
drifted!(Retyped, RetypedFactory, "categories", { #[factory(key)] id: i64, #[factory(value = "a")] name: String });
drifted!(Lacking, LackingFactory, "categories", { #[factory(key)] id: i32 });
drifted!(Uncounted, UncountedFactory, "line_items", { #[factory(key)] quantity: i32 });
drifted!(Generated, GeneratedFactory, "users", { #[factory(key)] id: i64, #[factory(value = "a")] initial: String });

#[seaworthy_harness::test(schema = schema())]
async fn a_factory_that_its_table_has_drifted_away_from(env: Env) {
    let db = env.postgres().await;
    insta::assert_snapshot!(refused(&db, NowhereFactory::new()).await, @"factory `nowhere`: there is no table `nowhere`");
    insta::assert_snapshot!(refused(&db, RenamedFactory::new()).await, @"factory `renamed`: field `title` has no column: table `categories` has no `title`");
    insta::assert_snapshot!(refused(&db, RetypedFactory::new()).await, @"factory `retyped`: field `id` is a `i64` (int8), and column `id` of table `categories` takes integer");
    insta::assert_snapshot!(refused(&db, LackingFactory::new()).await, @"factory `lacking`: column `name` of table `categories` must not be null and has no default, and no field gives it a value");
    insta::assert_snapshot!(refused(&db, UncountedFactory::new()).await, @"factory `uncounted`: no sequence counts the key `quantity` of table `line_items`: make the column an identity, or say how the field is made");
    insta::assert_snapshot!(refused(&db, GeneratedFactory::new()).await, @"factory `generated`: column `initial` of table `users` is generated, and takes no value: `#[factory(database)]` reads field `initial` back");
}
