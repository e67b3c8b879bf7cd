//! What the derive says of mistakes.

use syn::parse_quote;

use super::*;

#[track_caller]
fn check(item: &DeriveInput, says: &str) {
    match Definition::read(item) {
        Ok(_) => panic!("it is understood"),
        Err(error) => assert_eq!(error.to_string(), says),
    }
}

#[test]
fn a_field_that_nothing_makes() {
    check(
        &parse_quote!(
            struct User {
                name: String,
            }
        ),
        "say how `name` is made: `#[factory(fake = …)]`, `value`, `with`, `weighted`, `localized`, `unique = …`, `key`, `parent` or `database`",
    );
    check(
        &parse_quote!(
            struct User {
                #[factory(fake = Name(), value = "Ada")]
                name: String,
            }
        ),
        "`name` is made in two ways: one is enough",
    );
}

#[test]
fn attributes_that_there_are_not() {
    check(
        &parse_quote!(
            #[factory(tabel = "users")]
            struct User {}
        ),
        "unknown; a record has `table`, `name`, `factory` and `state`",
    );
    check(
        &parse_quote!(
            struct User {
                #[factory(fkae = Name())]
                name: String,
            }
        ),
        "unknown; a field is made by `key`, `fake`, `localized`, `value`, `with`, `weighted`, `unique`, `parent` (and `kind`) or `database`, \
         and may have `column`, `json`, `no_column` and `as`",
    );
}

#[test]
fn states_of_fields_that_there_are_not() {
    check(
        &parse_quote!(
            #[factory(state(admin(rule = 1)))]
            struct User {
                #[factory(value = 0)]
                role: u8,
                #[factory(value = 0)]
                age: u8,
            }
        ),
        "`User` has no field `rule`; it has role, age",
    );
    check(
        &parse_quote!(
            #[factory(state(admin))]
            struct User {
                #[factory(value = 0)]
                role: u8,
            }
        ),
        "say what is so about the state: `admin(field = value)` or `admin = |row, record| …`",
    );
}

#[test]
fn keys_and_parents_that_are_not_clear() {
    check(
        &parse_quote!(
            struct User {
                #[factory(key)]
                a: i64,
                #[factory(key)]
                b: i64,
            }
        ),
        "a second key: children refer to one field; of a key of several columns mark none",
    );
    check(
        &parse_quote!(
            struct User {
                #[factory(database)]
                at: String,
            }
        ),
        "what the database makes is read back by the record's key: mark one with `#[factory(key)]`",
    );
    check(
        &parse_quote!(
            struct Comment {
                #[factory(parent(Post, Video))]
                subject_id: i64,
            }
        ),
        "parents of several types need a field that says which one it is: `parent(Post, Video), kind = subject_type`",
    );
    check(
        &parse_quote!(
            struct Comment {
                #[factory(parent(Post, Video), kind = subject)]
                subject_id: i64,
            }
        ),
        "there is no field `subject`",
    );
}

#[test]
fn methods_that_there_would_be_twice() {
    check(
        &parse_quote!(
            struct Crate {
                #[factory(value = 0)]
                count: u8,
            }
        ),
        "every factory has a method `count` of its own: rename this one, a field's with `#[factory(as = …)]`",
    );
    check(
        &parse_quote!(
            struct Order {
                #[factory(parent = User)]
                user_id: i64,
                #[factory(value = 0)]
                user: u8,
            }
        ),
        "there is another method `user`: rename one, a field's with `#[factory(as = …)]`",
    );
    assert!(
        Definition::read(&parse_quote!(
            struct Crate {
                #[factory(value = 0, as = tins)]
                count: u8,
            }
        ))
        .is_ok()
    );
}

#[test]
fn what_is_no_record() {
    check(
        &parse_quote!(
            enum Role {
                Admin,
            }
        ),
        "a factory makes structs; an enum can be one of their fields",
    );
    check(
        &parse_quote!(
            struct User(u8);
        ),
        "a record with a factory has named fields",
    );
    check(
        &parse_quote!(
            struct User<T> {
                a: T,
            }
        ),
        "a record with a factory has no generic parameters",
    );
}

#[test]
fn a_factory_is_named_after_its_record() {
    let named =
        |item: DeriveInput| Definition::read(&item).ok().map(|read| (read.name, read.factory.to_string()));
    assert_eq!(
        named(parse_quote!(
            struct LineItem {}
        )),
        Some(("line_item".into(), "LineItemFactory".into()))
    );
    let said = named(parse_quote!(
        #[factory(name = "item", factory = Items)]
        struct LineItem {}
    ));
    assert_eq!(said, Some(("item".into(), "Items".into())));
}
