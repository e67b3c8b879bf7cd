//! Factories as strategies of proptest.

use proptest::{
    prelude::*,
    strategy::{Strategy, ValueTree},
    test_runner::{Config, TestError, TestRunner},
};

use crate::shop::{ProductFactory, User, UserFactory};

proptest! {
    #[test]
    fn what_a_strategy_makes_is_within_the_definition(user in UserFactory::new().admin().strategy()) {
        prop_assert!((18..100).contains(&user.age) && (8..40).contains(&user.settings.size));
        prop_assert!(user.email.contains('@'));
    }
}

/// What is left of a failing case.
fn simplest(fails: impl Fn(&User) -> bool) -> User {
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(Default::default()),
    );
    let outcome = runner.run(&UserFactory::new().strategy(), |user| {
        prop_assert!(!fails(&user));
        Ok(())
    });
    match outcome {
        Err(TestError::Fail(_, user)) => user,
        other => panic!("it fails: {other:?}"),
    }
}

#[test]
fn what_does_not_matter_for_a_failure_becomes_the_simplest_that_the_definition_allows() {
    let user = simplest(|user| user.age >= 42);
    assert_eq!(user.age, 42, "the border of the failure");
    assert_eq!(
        (user.settings.size, user.name.as_str()),
        (8, "Aaliyah Abbott"),
        "the first of everything else"
    );
}

#[test]
fn simpler_cases_are_within_the_definition_too() {
    let mut runner = TestRunner::deterministic();
    for _ in 0..50 {
        let mut tree = UserFactory::new().strategy().new_tree(&mut runner).unwrap();
        let mut steps = 0;
        while tree.simplify() {
            steps += 1;
            assert!((18..100).contains(&tree.current().age));
            assert!(steps < 1_000, "it comes to an end");
        }
        assert_eq!(tree.current().age, 18);
    }
    let tree = ProductFactory::new().strategy().new_tree(&mut runner).unwrap();
    assert!((1_000..10_000).contains(&tree.current().code));
}
