//! The attribute `#[seaworthy_harness::test]`. It is re-exported by `seaworthy-harness`, where its settings are described: use it from there.
//!
//! ```
//! // What a user writes, with `seaworthy_harness` in place of the crate of this example.
//! let test = "#[seaworthy_harness::test] async fn an_order_is_kept(env: Env) {}";
//! assert!(test.contains("env: Env"));
//! ```

mod settings;

use proc_macro::TokenStream;
use quote::quote;
use syn::{ItemFn, parse_macro_input, spanned::Spanned};

use settings::Settings;

/// Gives a test real services of its own: a database with the schema in it, a Redis, faults, processes of the application.
///
/// The function takes an `Env`, or nothing if `Env::current()` is enough, as in cases of `rstest` and `proptest`. It may be async, and runs on
/// tokio's multi-threaded runtime then, or not, and `env.block_on(…)` waits for what is async. It returns nothing or a `Result`.
///
/// | setting | meaning | default |
/// |---|---|---|
/// | `migrations = "folder"` | sqlx migrations for the test's database, from the crate's folder | `migrations`, if it is there |
/// | `migrator = PATH` | a static `sqlx::migrate::Migrator`, as `sqlx::migrate!` gives it | |
/// | `seeds = "file.sql"` | SQL that is run after the migrations | |
/// | `schema = EXPRESSION` | a `Schema`, instead of all of these | |
/// | `isolation = "database"`, `"server"` or `"transaction"` | a database of its own; a server of its own, for roles and settings; or `env.transaction()` | `"database"` |
/// | `durability = "off"` or `"on"` | with `"on"`, a Postgres of its own that survives a crash and can be killed | `"off"` |
/// | `connections = 5` | how many connections the test and its applications open at most | 5 |
/// | `timeout_secs = 300` | how long the test may take, if it is async | 300 |
#[proc_macro_attribute]
pub fn test(settings: TokenStream, item: TokenStream) -> TokenStream {
    let settings = parse_macro_input!(settings as Settings);
    let item = parse_macro_input!(item as ItemFn);
    expand(&settings, &item).unwrap_or_else(syn::Error::into_compile_error).into()
}

fn expand(settings: &Settings, item: &ItemFn) -> syn::Result<proc_macro2::TokenStream> {
    let ItemFn { attrs, vis, sig, block } = item;
    if !sig.generics.params.is_empty() {
        return Err(syn::Error::new(sig.generics.span(), "a test has no generic parameters"));
    }
    let call = match sig.inputs.len() {
        0 => quote!(|_| test()),
        1 => quote!(test),
        _ => {
            let why = "a test takes an `Env`, or nothing; for more, put `#[rstest]` above this attribute";
            return Err(syn::Error::new(sig.inputs.span(), why));
        }
    };
    let name = &sig.ident;
    let output = &sig.output;
    let mut inner = sig.clone();
    inner.ident = syn::Ident::new("test", name.span());
    let run = if sig.asyncness.is_some() { quote!(run) } else { quote!(run_blocking) };
    let settings = settings.expand(name);
    Ok(quote! {
        #[::core::prelude::v1::test]
        #(#attrs)*
        #vis fn #name() #output {
            #inner #block
            ::seaworthy_harness::env::#run(#settings, #call)
        }
    })
}
