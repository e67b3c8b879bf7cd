//! The derive of `seaworthy-factories`, which re-exports it: use it from there.
//!
//! ```
//! // What a user writes.
//! let record = r#"
//!     #[derive(Factory)]
//!     #[factory(table = "users", state(admin(role = "admin")))]
//!     struct User { #[factory(key)] id: i64, #[factory(value = "member")] role: String }
//! "#;
//! assert!(record.contains("derive(Factory)"));
//! ```

mod attributes;
mod factory;
mod model;

use proc_macro::TokenStream;
use quote::quote;
use syn::{DeriveInput, parse_macro_input};

use attributes::Definition;

/// Defines a record's factory: for `User` it writes `UserFactory`, with a setter for each field and a method for each state.
///
/// On the struct, in `#[factory(…)]`:
///
/// | | |
/// |---|---|
/// | `table = "shop.users"` | where records are written to; without it they can be made, and put into files and Redis |
/// | `name = "user"` | the factory's name, one of the inputs of every value; the struct's in snake case otherwise |
/// | `factory = UserFactory` | the name of the factory's type |
/// | `state(admin(role = "admin", age = 40))` | a state: the method `admin()` gives these fields these values |
/// | `state(late = \|order, record\| …)` | a state that a closure makes: it gets `&mut Order` and the values of the record |
///
/// On a field, one of these says how its value is made. In each expression `record` is the record's values, and the fields above are there by their names.
///
/// | | |
/// |---|---|
/// | `key` | counted by the column's sequence, if it is an integer; random for this record, if it is a UUID; beside one of the others: given by that |
/// | `fake = Name()`, `fake = 18..100` | any faker of the crate `fake`, or a range |
/// | `localized = fake::faker::name::raw::Name` | a faker in the language of `locale(…)` |
/// | `value = 5` | an expression |
/// | `with = \|record\| …` | a closure of the record's values |
/// | `weighted = [("member", 9), ("admin", 1)]` | one of these, by weight; values of the field's type, or texts |
/// | `unique = 1_000..10_000` | a range, a slice or an array, of which no two records get the same |
/// | `unique`, beside `fake`, `localized`, `value` or `with` | a text that is made unique by the record's number |
/// | `parent = User` | the key of a parent: of a new one, if none is given and the field is no `Option` |
/// | `parent(Post, Video), kind = subject_type` | the key of a parent of one of these types, the factory's name of which is in the other field |
/// | `database`, `database = expression` | made by the database, and read back; `Default`, or the expression, without a database |
///
/// and beside it: `column = "e_mail"` for a column of another name, `json` for a value that is written as JSON, `no_column` for what is not written, `as = owner` for
/// the name of its setter or, with `parent`, of the method that says which parents there are.
#[proc_macro_derive(Factory, attributes(factory))]
pub fn derive_factory(item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as DeriveInput);
    let expanded = Definition::read(&item).map(|definition| {
        let (model, factory) = (model::expand(&definition), factory::expand(&definition));
        quote! { #model #factory }
    });
    expanded.unwrap_or_else(syn::Error::into_compile_error).into()
}
