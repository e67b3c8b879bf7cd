//! The record's `Model`, and what it belongs to.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Expr, Lit, Path, spanned::Spanned};

use crate::attributes::{Definition, Field, Made};

pub(crate) fn expand(definition: &Definition) -> TokenStream {
    let Definition { record, name, table, fields, .. } = definition;
    let table = match table {
        Some(table) => quote!(::core::option::Option::Some(#table)),
        None => quote!(::core::option::Option::None),
    };
    let (key_type, key, get_key, set_key) = key(fields);
    let lets = fields.iter().map(define);
    let names = fields.iter().map(|field| &field.name);
    let parents = fields.iter().filter_map(|field| parent_field(record, field));
    let unique = fields.iter().filter_map(unique_field);
    // Records that no table takes need no types that Postgres knows.
    let written: Vec<&Field> =
        fields.iter().filter(|field| definition.table.is_some() && field.is_column).collect();
    let columns = written.iter().map(|field| column(field));
    let encode =
        written.iter().filter(|field| !matches!(field.made, Made::Database(_))).map(|field| encode(field));
    let adopt = written.iter().filter(|field| matches!(field.made, Made::Database(_))).map(|field| {
        let (name, column) = (&field.name, &field.column);
        quote! { self.#name = ::seaworthy_factories::__private::sqlx::Row::try_get(row, #column)?; }
    });
    let belongs = belongs_to(definition);
    quote! {
        #[automatically_derived]
        #[allow(clippy::all, unused_variables, unused_mut)]
        impl ::seaworthy_factories::Model for #record {
            type Key = #key_type;
            const NAME: &'static str = #name;
            const TABLE: ::core::option::Option<&'static str> = #table;
            const KEY: ::core::option::Option<(&'static str, bool)> = #key;

            fn define(record: &::seaworthy_factories::Record) -> Self {
                #(#lets)*
                #record { #(#names),* }
            }

            fn key(&self) -> Self::Key {
                #get_key
            }

            fn set_key(&mut self, key: Self::Key) {
                #set_key
            }

            fn parents() -> ::std::vec::Vec<::seaworthy_factories::__private::ParentField<Self>> {
                ::std::vec![#(#parents),*]
            }

            fn unique_fields() -> ::std::vec::Vec<(&'static str, u64)> {
                ::std::vec![#(#unique),*]
            }

            fn columns() -> ::std::vec::Vec<::seaworthy_factories::__private::Column> {
                ::std::vec![#(#columns),*]
            }

            fn encode(
                &self,
                row: &mut ::seaworthy_factories::__private::RowWriter<'_>,
            ) -> ::core::result::Result<(), ::seaworthy_factories::__private::Refusal> {
                #(#encode)*
                ::core::result::Result::Ok(())
            }

            fn adopt(
                &mut self,
                row: &::seaworthy_factories::__private::sqlx::postgres::PgRow,
            ) -> ::seaworthy_factories::__private::sqlx::Result<()> {
                #(#adopt)*
                ::core::result::Result::Ok(())
            }

            fn write_json(
                &self,
                json: &mut ::std::vec::Vec<u8>,
            ) -> ::core::option::Option<::seaworthy_factories::__private::serde_json::Result<()>> {
                use ::seaworthy_factories::__private::{NoSerde as _, ViaSerde as _};
                (&::seaworthy_factories::__private::Json(self)).write(json)
            }
        }

        #belongs
    }
}

/// Where the compiler points to in its errors; names mean what they do in the derive's own code all the same.
fn at(tokens: &impl Spanned) -> Span {
    tokens.span().resolved_at(Span::call_site())
}

fn key(fields: &[Field]) -> (TokenStream, TokenStream, TokenStream, TokenStream) {
    match fields.iter().find(|field| field.is_key) {
        None => (quote!(()), quote!(::core::option::Option::None), quote!(), quote!()),
        Some(field) => {
            let (name, ty, text) = (&field.name, &field.ty, field.text());
            let counted = match field.made {
                Made::Key => quote!(<#ty as ::seaworthy_factories::Key>::COUNTED),
                _ => quote!(false),
            };
            (
                ty.to_token_stream(),
                quote!(::core::option::Option::Some((#text, #counted))),
                quote!(::core::clone::Clone::clone(&self.#name)),
                quote!(self.#name = key;),
            )
        }
    }
}

/// The value of a field, under its name.
fn define(field: &Field) -> TokenStream {
    let (name, ty, text) = (&field.name, &field.ty, field.text());
    let private = quote!(::seaworthy_factories::__private);
    let value = match &field.made {
        Made::Key => quote_spanned!(at(ty)=> <#ty as ::seaworthy_factories::Key>::made(record, #text)),
        Made::Fake(faker) => quote!(record.fake(#text, #faker)),
        Made::Localized(faker) => quote!(::seaworthy_factories::localized!(*record, #text, #faker)),
        Made::Value(value) => given(value),
        Made::With(make) => quote!(#private::made_with(record, #make)),
        Made::Weighted(choices) => quote!(#private::weighted(record, #text, &#choices).into()),
        Made::Unique(space @ Expr::Range(_)) => {
            quote!(#private::unique_of::<#ty, _>(record, #text, &(#space)))
        }
        Made::Unique(space) => quote!(#private::unique(record, #text, &(#space)).into()),
        Made::Parent { .. } if field.is_optional() => quote!(::core::option::Option::None),
        Made::Parent { parents, .. } => {
            let parent = &parents[0];
            quote!(#private::parent_key::<#parent>(record))
        }
        Made::KindOf(parent) => quote!(<#parent as ::seaworthy_factories::Model>::NAME.into()),
        Made::Database(Some(value)) => given(value),
        Made::Database(None) => quote_spanned!(at(ty)=> <#ty as ::core::default::Default>::default()),
    };
    let unique = field.made_unique.then(|| quote!(let #name: #ty = record.made_unique(&#name).into();));
    quote! { let #name: #ty = #value; #unique }
}

/// A text literal is made what the field is; of everything else that would leave open what it is.
pub(crate) fn given(value: &Expr) -> TokenStream {
    match value {
        Expr::Lit(literal) if matches!(literal.lit, Lit::Str(_)) => quote!(#value.into()),
        _ => quote!(#value),
    }
}

fn parent_field(record: &syn::Ident, field: &Field) -> Option<TokenStream> {
    let Made::Parent { parents, .. } = &field.made else { return None };
    let (parent, text, required) = (&parents[0], field.text(), !field.is_optional());
    let set = set_parent(field, parent);
    Some(quote_spanned! {at(parent)=>
        ::seaworthy_factories::__private::ParentField::new::<#parent>(
            #text,
            #required,
            |row: &mut #record, key: &<#parent as ::seaworthy_factories::Model>::Key| { #set },
        )
    })
}

/// Statements that refer `row` to the parent of `key`.
pub(crate) fn set_parent(field: &Field, parent: &Path) -> TokenStream {
    let name = &field.name;
    let key = quote!(::core::clone::Clone::clone(key));
    let key = if field.is_optional() { quote!(::core::option::Option::Some(#key)) } else { key };
    let kind = match &field.made {
        Made::Parent { kind: Some(kind), .. } => {
            quote!(row.#kind = <#parent as ::seaworthy_factories::Model>::NAME.into();)
        }
        _ => quote!(),
    };
    quote! { row.#name = #key; #kind }
}

fn unique_field(field: &Field) -> Option<TokenStream> {
    let Made::Unique(space) = &field.made else { return None };
    let (ty, text) = (&field.ty, field.text());
    Some(match space {
        Expr::Range(_) => quote!((#text, ::seaworthy_factories::__private::space_of::<#ty, _>(&(#space)))),
        _ => quote!((#text, ::seaworthy_factories::UniqueSpace::size(&(#space)))),
    })
}

fn column(field: &Field) -> TokenStream {
    let (ty, text, column) = (&field.ty, field.text(), &field.column);
    let constructor = match field.made {
        Made::Database(_) => quote!(made_by_database),
        _ => quote!(written),
    };
    let ty = if field.is_json && !matches!(field.made, Made::Database(_)) {
        quote_spanned!(at(ty)=> ::seaworthy_factories::__private::sqlx::types::Json<&#ty>)
    } else {
        quote!(#ty)
    };
    quote_spanned!(at(&field.ty)=> ::seaworthy_factories::__private::Column::#constructor::<#ty>(#text, #column))
}

fn encode(field: &Field) -> TokenStream {
    let name = &field.name;
    if field.is_json {
        quote_spanned!(at(&field.ty)=> row.field(&::seaworthy_factories::__private::sqlx::types::Json(&self.#name))?;)
    } else {
        quote_spanned!(at(&field.ty)=> row.field(&self.#name)?;)
    }
}

/// One for each type of parents, through the first field that refers to it.
fn belongs_to(definition: &Definition) -> TokenStream {
    let record = &definition.record;
    let mut seen: Vec<String> = Vec::new();
    let mut belongs = TokenStream::new();
    for field in &definition.fields {
        let Made::Parent { parents, .. } = &field.made else { continue };
        for parent in parents {
            let known = parent.to_token_stream().to_string();
            if seen.contains(&known) {
                continue;
            }
            seen.push(known);
            let (text, set) = (field.text(), set_parent(field, parent));
            belongs.extend(quote! {
                #[automatically_derived]
                #[allow(clippy::all)]
                impl ::seaworthy_factories::BelongsTo<#parent> for #record {
                    const FIELD: &'static str = #text;

                    fn set_parent(&mut self, key: &<#parent as ::seaworthy_factories::Model>::Key) {
                        let row = self;
                        #set
                    }
                }
            });
        }
    }
    belongs
}
