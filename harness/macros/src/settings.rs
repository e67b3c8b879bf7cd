//! What stands in the attribute's parentheses.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote};
use syn::{
    Expr, LitInt, LitStr, Path, Token,
    parse::{Parse, ParseStream},
};

/// The settings of one test.
#[derive(Default)]
pub(crate) struct Settings {
    schema: Schema,
    seeds: Option<LitStr>,
    calls: Vec<TokenStream>,
    known: Vec<String>,
}

#[derive(Default)]
enum Schema {
    #[default]
    OfTheCrate,
    Migrations(LitStr),
    Migrator(Path),
    Expression(Box<Expr>),
}

const KNOWN: &str =
    "`migrations`, `migrator`, `seeds`, `schema`, `isolation`, `durability`, `connections`, `timeout_secs`";

impl Parse for Settings {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut settings = Settings::default();
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            settings.set(&name, input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(settings)
    }
}

impl Settings {
    fn set(&mut self, name: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
        let text = name.to_string();
        if self.known.contains(&text) {
            return Err(syn::Error::new(name.span(), format!("`{text}` is set twice")));
        }
        match text.as_str() {
            "migrations" | "migrator" | "schema" => {
                if !matches!(self.schema, Schema::OfTheCrate) {
                    let why = "one of `migrations`, `migrator` and `schema` is enough";
                    return Err(syn::Error::new(name.span(), why));
                }
                self.schema = match text.as_str() {
                    "migrations" => Schema::Migrations(input.parse()?),
                    "migrator" => Schema::Migrator(input.parse()?),
                    _ => Schema::Expression(input.parse()?),
                };
            }
            "seeds" => self.seeds = Some(input.parse()?),
            "isolation" => {
                let isolation = choice(
                    &input.parse()?,
                    &[("database", "Database"), ("server", "Server"), ("transaction", "Transaction")],
                )?;
                self.calls.push(quote!(.isolation(::seaworthy_harness::env::Isolation::#isolation)));
            }
            "durability" => {
                let durable = choice(&input.parse()?, &[("off", "false"), ("on", "true")])?;
                self.calls.push(quote!(.durable(#durable)));
            }
            "connections" => {
                let connections: LitInt = input.parse()?;
                self.calls.push(quote!(.connections(#connections)));
            }
            "timeout_secs" => {
                let seconds: LitInt = input.parse()?;
                self.calls.push(quote!(.timeout(::core::time::Duration::from_secs(#seconds))));
            }
            _ => {
                return Err(syn::Error::new(
                    name.span(),
                    format!("there is no setting `{text}`; there are {KNOWN}"),
                ));
            }
        }
        self.known.push(text);
        Ok(())
    }

    /// The `EnvBuilder` of a test of this name.
    pub(crate) fn expand(&self, name: &Ident) -> TokenStream {
        let schema = match &self.schema {
            Schema::OfTheCrate => {
                quote!(::seaworthy_harness::env::Schema::of_crate(env!("CARGO_MANIFEST_DIR")))
            }
            Schema::Migrations(folder) => quote!(::seaworthy_harness::env::Schema::new().migrations(#folder)),
            Schema::Migrator(path) => quote!(::seaworthy_harness::env::Schema::new().migrator(&#path)),
            Schema::Expression(expression) => expression.to_token_stream(),
        };
        let seeds = self
            .seeds
            .iter()
            .map(|file| quote!(.sql(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", #file)))));
        let calls = &self.calls;
        quote! {
            ::seaworthy_harness::Env::builder()
                .of_test(env!("CARGO_PKG_NAME"), concat!(module_path!(), "::", stringify!(#name)))
                .base(env!("CARGO_MANIFEST_DIR"))
                .schema(#schema #(#seeds)*)
                #(#calls)*
        }
    }
}

fn choice(given: &LitStr, choices: &[(&str, &str)]) -> syn::Result<TokenStream> {
    let value = given.value();
    match choices.iter().find(|(name, _)| *name == value) {
        Some((_, variant)) => variant.parse().map_err(syn::Error::from),
        None => {
            let names =
                choices.iter().map(|(name, _)| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ");
            Err(syn::Error::new(given.span(), format!("expected {names}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_setting_is_said_in_words() {
        let cases = [
            ("isolation = \"galaxy\"", "expected \"database\" or \"server\" or \"transaction\""),
            ("durability = on", "expected string literal"),
            ("connection = 5", "there is no setting `connection`; there are `migrations`"),
            ("connections = 5, connections = 6", "`connections` is set twice"),
            ("migrations = \"a\", schema = b()", "one of `migrations`, `migrator` and `schema` is enough"),
            ("connections", "expected `=`"),
        ];
        for (text, why) in cases {
            let error = syn::parse_str::<Settings>(text).map(drop).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn every_setting_is_taken() {
        let text = "migrations = \"db\", seeds = \"seeds.sql\", isolation = \"server\", durability = \"on\", connections = 7, timeout_secs = 9,";
        let settings: Settings = syn::parse_str(text).unwrap();
        let expanded = settings.expand(&Ident::new("a_test", proc_macro2::Span::call_site())).to_string();
        for call in [
            "migrations (\"db\")",
            "seeds.sql",
            "Isolation :: Server",
            "durable (true)",
            "connections (7)",
            "from_secs (9)",
        ] {
            assert!(expanded.contains(call), "{call} is not in {expanded}");
        }
    }
}
