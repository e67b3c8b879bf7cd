//! Every factory in every state, tried in one call.

use seaworthy_factories::{Error, Lint};
use seaworthy_harness::Env;

use crate::shop::{
    CategoryFactory, CommentFactory, EventFactory, LineItemFactory, OrderFactory, ProductFactory,
    ProductLineFactory, UserFactory, schema,
};

fn everything() -> Lint {
    Lint::new()
        .factory::<UserFactory>()
        .factory::<OrderFactory>()
        .factory::<ProductFactory>()
        .factory::<LineItemFactory>()
        .factory::<CategoryFactory>()
        .factory::<ProductLineFactory>()
        .factory::<CommentFactory>()
        .factory::<EventFactory>()
}

#[seaworthy_harness::test(schema = schema())]
async fn every_factory_in_every_state_fits_and_leaves_nothing(env: Env) -> Result<(), Error> {
    let db = env.postgres().await;
    assert_eq!(everything().run(&db).await?, 10);
    let rows: i64 = sqlx::query_scalar("select count(*) from users").fetch_one(&*db).await?;
    assert_eq!(rows, 0);
    Ok(())
}

#[seaworthy_harness::test(schema = schema())]
async fn a_migration_that_a_factory_does_not_follow_is_named_by_column(env: Env) {
    let db = env.postgres().await;
    sqlx::raw_sql(
        "alter table users add column country text not null; alter table categories drop column parent_id;
        alter table product_lines add check (name <> 'lamps')",
    )
    .execute(&*db)
    .await
    .unwrap();
    insta::assert_snapshot!(everything().run(&db).await.unwrap_err());
}
