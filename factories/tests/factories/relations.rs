//! Parents, children, and what is between them.

use std::collections::{HashMap, HashSet};

use seaworthy_factories::{Error, Factory, by_popularity};
use seaworthy_harness::Env;

use crate::count;
use crate::shop::{
    CategoryFactory, CommentFactory, LineItemFactory, OrderFactory, ProductFactory, ProductLineFactory,
    UserFactory, schema,
};

#[seaworthy_harness::test(schema = schema())]
async fn the_front_page_holds(env: Env) -> Result<(), Error> {
    let db = env.postgres().await;
    let admin = UserFactory::new().admin().create(&db).await?;
    let users = UserFactory::new().count(10).create(&db).await?;
    let orders = OrderFactory::new()
        .count(100)
        .for_each(&users)
        .has(LineItemFactory::new().count(3))
        .create(&db)
        .await?;
    assert_eq!((orders.len(), count(&db, "line_items").await), (1_000, 3_000));
    assert!(orders.iter().all(|order| order.user_id != admin.id));
    let of: HashMap<i64, usize> = orders.iter().fold(HashMap::new(), |mut of, order| {
        *of.entry(order.user_id).or_default() += 1;
        of
    });
    assert_eq!(of.values().copied().collect::<Vec<_>>(), [100; 10]);
    Ok(())
}

#[seaworthy_harness::test(schema = schema())]
async fn a_required_parent_is_made_where_none_is_given(env: Env) -> Result<(), Error> {
    let db = env.postgres().await;
    let orders = OrderFactory::new().count(3).create(&db).await?;
    assert_eq!(count(&db, "users").await, 3);
    assert_eq!(orders.iter().map(|order| order.user_id).collect::<HashSet<_>>().len(), 3);
    assert!(orders.iter().all(|order| order.gift_for.is_none()));
    let user = UserFactory::new().create(&db).await?;
    let order = OrderFactory::new().user_id(user.id).create(&db).await?;
    assert_eq!((order.user_id, count(&db, "users").await), (user.id, 4));
    Ok(())
}

#[seaworthy_harness::test(schema = schema())]
async fn parents_are_existing_ones_new_ones_or_shared_ones(env: Env) -> Result<(), Error> {
    let db = env.postgres().await;
    let user = UserFactory::new().create(&db).await?;
    let order = OrderFactory::new().belonging_to(&user).create(&db).await?;
    assert_eq!(order.user_id, user.id);
    let orders = OrderFactory::new()
        .count(20)
        .user(UserFactory::new().admin().count(4))
        .gift(&user)
        .create(&db)
        .await?;
    let users: HashSet<i64> = orders.iter().map(|order| order.user_id).collect();
    assert_eq!((users.len(), count(&db, "users").await), (4, 5));
    assert!(orders.iter().all(|order| order.gift_for == Some(user.id)));
    OrderFactory::new().count(2).user(UserFactory::new()).create(&db).await?;
    assert_eq!(count(&db, "users").await, 7);
    Ok(())
}

#[seaworthy_harness::test(schema = schema())]
async fn many_belong_to_many_and_each_gets_different_ones(env: Env) -> Result<(), Error> {
    let db = env.postgres().await;
    let products = ProductFactory::new().count(5).create(&db).await?;
    // The table refuses the same product twice in an order.
    let items = LineItemFactory::new().count(5).product(&products);
    OrderFactory::new().count(30).has(items).create(&db).await?;
    assert_eq!((count(&db, "line_items").await, count(&db, "products").await), (150, 5));
    // Shared new ones.
    OrderFactory::new()
        .count(4)
        .has(LineItemFactory::new().count(2).product(ProductFactory::new().count(3)))
        .create(&db)
        .await?;
    assert_eq!(count(&db, "products").await, 8);
    Ok(())
}

#[seaworthy_harness::test(schema = schema())]
async fn a_parent_may_be_of_several_types(env: Env) -> Result<(), Error> {
    let db = env.postgres().await;
    let line = ProductLineFactory::new().create(&db).await?;
    let comments = CommentFactory::new().count(2).subject(&line).create(&db).await?;
    assert!(
        comments
            .iter()
            .all(|comment| comment.subject_type == "product_line" && comment.subject_id == line.id)
    );
    let comment = CommentFactory::new().create(&db).await?;
    let order: i64 = sqlx::query_scalar("select id from orders").fetch_one(&*db).await?;
    assert_eq!((&*comment.subject_type, comment.subject_id), ("order", order));
    OrderFactory::new().has(CommentFactory::new().count(3)).create(&db).await?;
    assert_eq!(count(&db, "comments").await, 6);
    Ok(())
}

#[seaworthy_harness::test(schema = schema())]
async fn a_record_may_belong_to_one_of_its_own_kind(env: Env) -> Result<(), Error> {
    let db = env.postgres().await;
    let tree =
        CategoryFactory::new().has(CategoryFactory::new().count(2).has(CategoryFactory::new().count(3)));
    let root = tree.create(&db).await?;
    assert_eq!(root.parent_id, None);
    let depths: Vec<i64> = sqlx::query_scalar(
        "with recursive tree as (select id, 1 as depth from categories where parent_id is null
         union all select c.id, depth + 1 from categories c join tree on c.parent_id = tree.id)
         select count(*) from tree group by depth order by depth",
    )
    .fetch_all(&*db)
    .await?;
    assert_eq!(depths, [1, 2, 6]);
    Ok(())
}

#[seaworthy_harness::test(schema = schema())]
async fn some_parents_have_more_children_than_others(env: Env) -> Result<(), Error> {
    let db = env.postgres().await;
    let users = UserFactory::new().count(20).create(&db).await?;
    let orders = OrderFactory::new().count(2_000).user(by_popularity(&users, 1.07)).create(&db).await?;
    let of = |user: &crate::shop::User| orders.iter().filter(|order| order.user_id == user.id).count();
    assert!(of(&users[0]) > 3 * of(&users[9]), "{} and {}", of(&users[0]), of(&users[9]));
    Ok(())
}

#[test]
fn parents_that_need_one_another_are_an_error_that_names_the_circle() {
    #[derive(Debug, Factory)]
    struct Egg {
        #[factory(key)]
        id: i64,
        #[factory(parent = Hen)]
        hen_id: i64,
    }
    #[derive(Debug, Factory)]
    struct Hen {
        #[factory(key)]
        id: i64,
        #[factory(parent = Egg)]
        egg_id: i64,
    }
    let error = EggFactory::new().make().unwrap_err();
    insta::assert_snapshot!(error, @"factory `egg` needs itself as a parent (egg → hen → egg): give one of these an existing parent, or make its column optional");
    // With an end given it is none.
    let hen = Hen { id: 7, egg_id: 1 };
    let egg = EggFactory::new().hen(&hen).make().unwrap();
    assert_eq!((egg.id, egg.hen_id, hen.egg_id), (1, 7, 1));
}
