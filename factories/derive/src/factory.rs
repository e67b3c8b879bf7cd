//! The factory's type: what a caller says about the records.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::ext::IdentExt;

use crate::{
    attributes::{Change, Definition, Field, Made, State},
    model::{given, set_parent},
};

pub(crate) fn expand(definition: &Definition) -> TokenStream {
    let Definition { record, factory, visibility, states, fields, .. } = definition;
    let setters = fields
        .iter()
        .filter(|field| !matches!(field.made, Made::Database(_)))
        .map(|field| setters(record, field));
    let relations = fields.iter().filter_map(|field| relation(record, field));
    let state_methods = states.iter().map(|state| state_method(record, state));
    let state_names = states.iter().map(|state| {
        let (name, text) = (&state.name, state.name.unraw().to_string());
        quote!((::core::option::Option::Some(#text), #factory::new().#name().0))
    });
    let about = format!("Makes [`{record}`]s.");
    let methods = methods(record, factory);
    quote! {
        #[doc = #about]
        #[derive(::core::fmt::Debug, ::core::clone::Clone)]
        #[must_use = "a factory makes nothing before `create`, `insert` or `make`"]
        #visibility struct #factory<C = ::seaworthy_factories::One>(::seaworthy_factories::Builder<#record, C>);

        #[allow(dead_code, unreachable_pub, clippy::all)]
        impl #factory {
            /// A factory of one record, as it is defined.
            pub fn new() -> Self {
                #factory(::seaworthy_factories::Builder::new())
            }

            /// So many records.
            pub fn count(self, count: u64) -> #factory<::seaworthy_factories::Many> {
                #factory(self.0.count(count))
            }
        }

        #[allow(dead_code, unreachable_pub, clippy::all)]
        impl #factory<::seaworthy_factories::Many> {
            /// So many records, rather than as many as was said before.
            pub fn count(self, count: u64) -> Self {
                #factory(self.0.count(count))
            }
        }

        #[allow(dead_code, unreachable_pub, clippy::all)]
        impl<C> #factory<C> {
            #(#setters)*
            #(#relations)*
            #(#state_methods)*
        }

        #[allow(dead_code, unreachable_pub, clippy::all)]
        impl<C: ::seaworthy_factories::Quantity> #factory<C> {
            #methods
        }

        impl ::core::default::Default for #factory {
            fn default() -> Self {
                #factory::new()
            }
        }

        impl<C: ::seaworthy_factories::Quantity> ::seaworthy_factories::Buildable for #factory<C> {
            type Model = #record;
            type Quantity = C;

            fn into_builder(self) -> ::seaworthy_factories::Builder<#record, C> {
                self.0
            }
        }

        impl<C: ::seaworthy_factories::Quantity> ::seaworthy_factories::Parents<#record> for #factory<C> {
            fn source(self) -> ::seaworthy_factories::Source<#record> {
                ::seaworthy_factories::Parents::source(self.0)
            }
        }

        impl ::seaworthy_factories::Factory for #factory {
            type Output = #record;
            const NAME: &'static str = <#record as ::seaworthy_factories::Model>::NAME;

            fn make(&self, record: &::seaworthy_factories::Record) -> #record {
                self.0.make_record(record)
            }
        }

        impl ::seaworthy_factories::States for #factory {
            type Model = #record;

            fn states() -> ::std::vec::Vec<(
                ::core::option::Option<&'static str>,
                ::seaworthy_factories::Builder<#record>,
            )> {
                ::std::vec![(::core::option::Option::None, #factory::new().0), #(#state_names),*]
            }
        }
    }
}

fn setters(record: &syn::Ident, field: &Field) -> TokenStream {
    let (name, ty, text, setter) = (&field.name, &field.ty, field.text(), field.setter());
    let plain = setter.unraw();
    let (with, cycle, cross) =
        (format_ident!("{plain}_with"), format_ident!("{plain}_cycle"), format_ident!("{plain}_cross"));
    let (takes, of, item) = if field.is_plain() {
        (quote!(#ty), quote!(), quote!(#ty))
    } else {
        let takes = quote!(impl ::core::convert::Into<#ty>);
        (takes, quote!(<T: ::core::convert::Into<#ty>>), quote!(T))
    };
    let about = format!("Gives `{text}` this value.");
    let about_with = format!("Gives `{text}` what the closure makes of the record as it is so far.");
    let about_cycle = format!("Gives `{text}` these values in turn, again and again.");
    let about_cross = format!(
        "Gives `{text}` these values in turn, such that all combinations with the fields that were crossed before come up."
    );
    quote! {
        #[doc = #about]
        pub fn #setter(self, value: #takes) -> Self {
            let value: #ty = value.into();
            Self(self.0.set(#text, move |row: &mut #record, _| row.#name = ::core::clone::Clone::clone(&value)))
        }

        #[doc = #about_with]
        pub fn #with(self, value: impl Fn(&#record) -> #ty + ::core::marker::Send + ::core::marker::Sync + 'static) -> Self {
            Self(self.0.set(#text, move |row: &mut #record, _| {
                let value = value(row);
                row.#name = value;
            }))
        }

        #[doc = #about_cycle]
        pub fn #cycle #of(self, values: impl ::core::iter::IntoIterator<Item = #item>) -> Self {
            let values = ::core::iter::IntoIterator::into_iter(values).map(::core::convert::Into::into);
            Self(self.0.cycled(#text, values, |row: &mut #record, value: #ty| row.#name = value))
        }

        #[doc = #about_cross]
        pub fn #cross #of(self, values: impl ::core::iter::IntoIterator<Item = #item>) -> Self {
            let values = ::core::iter::IntoIterator::into_iter(values).map(::core::convert::Into::into);
            Self(self.0.crossed(#text, values, |row: &mut #record, value: #ty| row.#name = value))
        }
    }
}

fn relation(record: &syn::Ident, field: &Field) -> Option<TokenStream> {
    let Made::Parent { parents, kind } = &field.made else { return None };
    let (text, relation) = (field.text(), field.relation());
    let about = format!(
        "The parents that `{text}` refers to: records (`&user`, `&users`), or a factory, of which each record gets a new one, or so many are made for all."
    );
    Some(match kind {
        None => {
            let (parent, set) = (&parents[0], set_parent(field, &parents[0]));
            quote! {
                #[doc = #about]
                pub fn #relation(self, parents: impl ::seaworthy_factories::Parents<#parent>) -> Self {
                    Self(self.0.linked(
                        #text,
                        parents.source(),
                        |row: &mut #record, key: &<#parent as ::seaworthy_factories::Model>::Key| { #set },
                    ))
                }
            }
        }
        Some(_) => quote! {
            #[doc = #about]
            pub fn #relation<P: ::seaworthy_factories::Model>(
                self,
                parents: impl ::seaworthy_factories::Parents<P>,
            ) -> Self
            where
                #record: ::seaworthy_factories::BelongsTo<P>,
            {
                Self(self.0.belonging_to(parents))
            }
        },
    })
}

fn state_method(record: &syn::Ident, state: &State) -> TokenStream {
    let name = &state.name;
    let about = format!("In the state `{name}`.");
    let change = match &state.change {
        Change::Fields(values) => {
            let sets = values.iter().map(|(field, value)| {
                let (text, value) = (field.unraw().to_string(), given(value));
                quote!(.set(#text, |row: &mut #record, record: &::seaworthy_factories::Record| {
                    let _ = record;
                    row.#field = #value;
                }))
            });
            quote!(self.0 #(#sets)*)
        }
        Change::Closure(closure) => {
            quote!(self.0.with(::seaworthy_factories::__private::change::<#record>(#closure)))
        }
    };
    quote! {
        #[doc = #about]
        pub fn #name(self) -> Self {
            Self(#change)
        }
    }
}

/// Those of `Builder`, under the factory's own name.
fn methods(record: &syn::Ident, factory: &syn::Ident) -> TokenStream {
    let acquire = quote! {
        A: ::seaworthy_factories::__private::sqlx::Acquire<'c, Database = ::seaworthy_factories::__private::sqlx::Postgres>
            + ::core::marker::Send
            + 'c
    };
    let error = quote!(::seaworthy_factories::Error);
    let result = |ok: TokenStream| quote!(::core::result::Result<#ok, #error>);
    let (made, rows) = (result(quote!(C::Of<#record>)), result(quote!(u64)));
    let later = |what: &TokenStream| quote!(::seaworthy_factories::__private::BoxFuture<'c, #what>);
    let (made_later, rows_later) = (later(&made), later(&rows));
    let thread = quote!(::core::marker::Send + ::core::marker::Sync + 'static);
    quote! {
        /// The root of all values, whatever the run's is.
        pub fn seed(self, seed: ::seaworthy_factories::Seed) -> Self {
            Self(self.0.seed(seed))
        }

        /// The number of the first record, rather than the next one of the run.
        pub fn starting_at(self, number: u64) -> Self {
            Self(self.0.starting_at(number))
        }

        /// The language of names, places and phone numbers.
        pub fn locale(self, locale: ::seaworthy_factories::Locale) -> Self {
            Self(self.0.locale(locale))
        }

        /// Changes each record: the closure sees all of its fields, with what was said before this.
        pub fn with(self, change: impl Fn(&mut #record, &::seaworthy_factories::Record) + #thread) -> Self {
            Self(self.0.with(change))
        }

        /// What is done to each record after everything else, before it is written.
        pub fn after_make(self, change: impl Fn(&mut #record) + #thread) -> Self {
            Self(self.0.after_make(change))
        }

        /// What is done once all are written, in the same transaction.
        pub fn after_create<F>(self, hook: F) -> Self
        where
            F: for<'a> Fn(
                    &'a mut [#record],
                    &'a mut ::seaworthy_factories::__private::sqlx::PgConnection,
                ) -> ::seaworthy_factories::__private::BoxFuture<
                    'a,
                    ::seaworthy_factories::__private::sqlx::Result<()>,
                > + #thread,
        {
            Self(self.0.after_create(hook))
        }

        /// Refers to these parents, through the first field that refers to such.
        pub fn belonging_to<P: ::seaworthy_factories::Model>(self, parents: impl ::seaworthy_factories::Parents<P>) -> Self
        where
            #record: ::seaworthy_factories::BelongsTo<P>,
        {
            Self(self.0.belonging_to(parents))
        }

        /// Makes as many children as was said for each record.
        pub fn has<F: ::seaworthy_factories::Buildable>(self, children: F) -> Self
        where
            F::Model: ::seaworthy_factories::BelongsTo<#record>,
        {
            Self(self.0.has(children))
        }

        /// As many records as was said for each of these parents.
        pub fn for_each<P: ::seaworthy_factories::Model>(
            self,
            parents: impl ::seaworthy_factories::Parents<P>,
        ) -> #factory<::seaworthy_factories::Many>
        where
            #record: ::seaworthy_factories::BelongsTo<P>,
        {
            #factory(self.0.for_each(parents))
        }

        /// Makes the records, in memory alone.
        pub fn make(self) -> #made {
            self.0.make()
        }

        /// Makes the records and writes them, with their parents and children, in one transaction.
        pub fn create<'c, A>(self, db: A) -> #made_later
        where
            #acquire,
        {
            self.0.create(db)
        }

        /// Writes the records, keeps none of them, and says how many rows there are.
        pub fn insert<'c, A>(self, db: A) -> #rows_later
        where
            #acquire,
        {
            self.0.insert(db)
        }

        /// As `insert`, and tells now and then how far it is.
        pub fn insert_telling<'c, A>(
            self,
            db: A,
            tell: impl Fn(::seaworthy_factories::Progress) + ::core::marker::Send + ::core::marker::Sync + 'c,
        ) -> #rows_later
        where
            #acquire,
        {
            self.0.insert_telling(db, tell)
        }

        /// Writes the records, with their parents and children, as lines of JSON into this folder.
        pub fn write_json_lines(self, folder: impl ::core::convert::AsRef<::std::path::Path>) -> #rows {
            self.0.write_json_lines(folder)
        }

        /// Writes the records, with their parents and children, as CSV into this folder.
        pub fn write_csv(self, folder: impl ::core::convert::AsRef<::std::path::Path>) -> #rows {
            self.0.write_csv(folder)
        }

        ::seaworthy_factories::__with_redis! {
            /// Writes the records, with their parents and children, as hashes.
            pub async fn store(
                self,
                redis: &mut (impl ::seaworthy_factories::__private::redis::aio::ConnectionLike + ::core::marker::Send),
            ) -> #rows {
                self.0.store(redis).await
            }
        }

        ::seaworthy_factories::__with_proptest! {
            /// Records of this factory for `proptest`.
            pub fn strategy(self) -> ::seaworthy_factories::FactoryStrategy<#record> {
                self.0.strategy()
            }
        }
    }
}
