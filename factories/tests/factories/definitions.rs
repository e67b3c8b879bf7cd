//! How records are defined, and what may change their values.

use std::collections::HashSet;

use proptest::prelude::*;
use seaworthy_factories::{Factory, Locale, Many, Record, Seed, localized};

use crate::shop::{CategoryFactory, OrderFactory, ProductFactory, Role, User, UserFactory};

#[test]
fn one_is_a_record_and_many_are_a_vec() {
    let user: User = UserFactory::new().make().unwrap();
    let users: Vec<User> = UserFactory::new().count(3).make().unwrap();
    assert_eq!(users[0], user);
    assert_eq!(UserFactory::new().count(0).make().unwrap(), []);
}

#[test]
fn values_stay_the_same_over_releases_and_platforms() {
    let users = UserFactory::new().seed(Seed(7)).count(2).make().unwrap();
    insta::assert_json_snapshot!(users);
    let products = ProductFactory::new().seed(Seed(7)).count(3).make().unwrap();
    insta::assert_json_snapshot!(products);
    let record = |number| Record::new(Seed(7), "sale", number);
    let ranks: Vec<u64> = (0..20).map(|number| record(number).zipf("product", 1_000, 1.07)).collect();
    insta::assert_compact_debug_snapshot!(ranks);
    let bursts = seaworthy_factories::Bursts::over(std::time::Duration::from_secs(86_400));
    let moments: Vec<_> = (0..6).map(|number| record(number).burst("placed_at", &bursts)).collect();
    insta::assert_compact_debug_snapshot!(moments);
    let names: Vec<String> = Locale::ALL
        .iter()
        .map(|locale| localized!(record(0).in_locale(*locale), "name", fake::faker::name::raw::Name))
        .collect();
    insta::assert_compact_debug_snapshot!(names);
}

#[test]
fn a_field_that_is_added_changes_no_other_value() {
    #[derive(Factory)]
    #[factory(name = "user")]
    struct Wider {
        #[factory(fake = 0..9)]
        _new: u8,
        #[factory(fake = 18..100)]
        age: i16,
        #[factory(fake = fake::faker::name::en::Name())]
        name: String,
    }
    let wider = WiderFactory::new().count(5).make().unwrap();
    let users = UserFactory::new().count(5).make().unwrap();
    let narrow: Vec<_> = users.into_iter().map(|user| (user.name, user.age)).collect();
    assert_eq!(wider.into_iter().map(|wider| (wider.name, wider.age)).collect::<Vec<_>>(), narrow);
}

#[test]
fn states_and_setters_apply_in_the_order_in_which_they_are_said() {
    let user = UserFactory::new().admin().age(50).make().unwrap();
    assert_eq!((user.role, user.age), (Role::Admin, 50));
    let user = UserFactory::new().age(50).admin().make().unwrap();
    assert_eq!(user.age, 40);
    let user = UserFactory::new().name("Ada").renamed().starting_at(5).make().unwrap();
    assert_eq!(user.name, "Ada the 5th");
}

#[test]
fn a_closure_sees_the_other_fields() {
    let user = UserFactory::new()
        .name("Ada Lovelace")
        .email_with(|user| format!("{}@example.com", user.name.replace(' ', ".").to_lowercase()))
        .after_make(|user| user.tags.push(user.email.clone()))
        .make()
        .unwrap();
    assert_eq!(user.email, "ada.lovelace@example.com");
    assert_eq!(user.tags.last(), Some(&user.email));
}

#[test]
fn sequences_go_round_and_crossed_ones_through_all_combinations() {
    let names = |factory: CategoryFactory<Many>| -> Vec<String> {
        factory.make().unwrap().into_iter().map(|category| category.name).collect()
    };
    assert_eq!(names(CategoryFactory::new().count(5).name_cycle(["a", "b"])), ["a", "b", "a", "b", "a"]);
    let crossed = UserFactory::new().count(6).name_cross(["a", "b"]).age_cross([20, 30, 40]).make().unwrap();
    let pairs: Vec<_> = crossed.iter().map(|user| (&*user.name, user.age)).collect();
    assert_eq!(pairs, [("a", 20), ("b", 20), ("a", 30), ("b", 30), ("a", 40), ("b", 40)]);
    // By the place in the call, whatever the numbers are.
    assert_eq!(names(CategoryFactory::new().count(2).starting_at(7).name_cycle(["a", "b"])), ["a", "b"]);
}

#[test]
fn parents_without_a_database_are_numbered_as_if_they_were_made() {
    let users = UserFactory::new().count(2).make().unwrap();
    let orders = OrderFactory::new().count(2).for_each(&users).make().unwrap();
    let pairs: Vec<_> = orders.iter().map(|order| (order.id, order.user_id)).collect();
    assert_eq!(pairs, [(1, 1), (2, 1), (3, 2), (4, 2)]);
}

#[test]
fn a_derived_factory_is_a_factory_like_one_by_hand() {
    let by_number = UserFactory::new().make_one(Seed(7), 3);
    assert_eq!(by_number, UserFactory::new().seed(Seed(7)).starting_at(3).make().unwrap());
}

proptest! {
    #[test]
    fn a_record_is_the_same_alone_and_among_others(seed: u64, number in 0u64..40) {
        let factory = || UserFactory::new().seed(Seed(seed));
        let alone = factory().starting_at(number).make().unwrap();
        let mut among = factory().count(number + 1).make().unwrap();
        prop_assert_eq!(among.pop().map(|user| (user.name, user.email, user.age)), Some((alone.name, alone.email, alone.age)));
    }

    #[test]
    fn unique_values_are_unique(seed: u64) {
        let products = ProductFactory::new().seed(Seed(seed)).count(2_000).make().unwrap();
        prop_assert_eq!(products.iter().map(|product| product.code).collect::<HashSet<_>>().len(), 2_000);
        let users = UserFactory::new().seed(Seed(seed)).count(500).make().unwrap();
        prop_assert_eq!(users.iter().map(|user| &user.email).collect::<HashSet<_>>().len(), 500);
    }
}
