//! What `#[factory(…)]` says about a record and its fields.

use proc_macro2::Span;
use syn::{
    Data, DeriveInput, Error, Expr, Fields, Ident, LitStr, Path, Result, Token, Type, Visibility,
    ext::IdentExt, parenthesized, punctuated::Punctuated, spanned::Spanned,
};

/// A record and how it is made.
pub(crate) struct Definition {
    pub(crate) record: Ident,
    pub(crate) visibility: Visibility,
    pub(crate) factory: Ident,
    pub(crate) name: String,
    pub(crate) table: Option<LitStr>,
    pub(crate) states: Vec<State>,
    pub(crate) fields: Vec<Field>,
}

pub(crate) struct State {
    pub(crate) name: Ident,
    pub(crate) change: Change,
}

pub(crate) enum Change {
    Fields(Vec<(Ident, Expr)>),
    Closure(Expr),
}

pub(crate) struct Field {
    pub(crate) name: Ident,
    pub(crate) ty: Type,
    pub(crate) is_key: bool,
    pub(crate) made: Made,
    /// Made one that no other record has, by its number.
    pub(crate) made_unique: bool,
    pub(crate) column: String,
    pub(crate) is_column: bool,
    pub(crate) is_json: bool,
    /// The setter's name, or that of the method which says the parents.
    pub(crate) renamed: Option<Ident>,
}

pub(crate) enum Made {
    /// As keys are.
    Key,
    Fake(Expr),
    Localized(Path),
    Value(Expr),
    With(Expr),
    Weighted(Expr),
    Unique(Expr),
    Parent {
        parents: Vec<Path>,
        kind: Option<Ident>,
    },
    /// The name of the factory of the polymorphic parent in that field.
    KindOf(Path),
    Database(Option<Expr>),
}

impl Field {
    pub(crate) fn is_optional(&self) -> bool {
        self.type_name().is_some_and(|name| name == "Option")
    }

    /// Whether it is a number or the like, of which a literal is one only where nothing is to be converted.
    pub(crate) fn is_plain(&self) -> bool {
        const PLAIN: &[&str] = &[
            "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize", "f32",
            "f64", "bool", "char",
        ];
        self.type_name().is_some_and(|name| PLAIN.iter().any(|plain| name == plain))
    }

    fn type_name(&self) -> Option<&Ident> {
        match &self.ty {
            Type::Path(path) => path.path.segments.last().map(|last| &last.ident),
            _ => None,
        }
    }

    /// What its parents are called: `user` for `user_id`.
    pub(crate) fn relation(&self) -> Ident {
        let name = self.name.unraw().to_string();
        let name = name.strip_suffix("_id").map_or_else(|| format!("of_{name}"), str::to_owned);
        self.renamed.clone().unwrap_or_else(|| Ident::new(&name, self.name.span()))
    }

    pub(crate) fn setter(&self) -> Ident {
        match (&self.made, &self.renamed) {
            (Made::Parent { .. }, _) | (_, None) => self.name.clone(),
            (_, Some(renamed)) => renamed.clone(),
        }
    }

    pub(crate) fn text(&self) -> String {
        self.name.unraw().to_string()
    }
}

/// Methods that every factory has.
const METHODS: &[&str] = &[
    "new",
    "count",
    "seed",
    "starting_at",
    "locale",
    "with",
    "after_make",
    "after_create",
    "belonging_to",
    "has",
    "for_each",
    "make",
    "create",
    "insert",
    "insert_telling",
    "write_json_lines",
    "write_csv",
    "store",
    "strategy",
    "into_builder",
    "default",
    "clone",
];

impl Definition {
    pub(crate) fn read(item: &DeriveInput) -> Result<Self> {
        if !item.generics.params.is_empty() {
            return Err(Error::new(
                item.generics.span(),
                "a record with a factory has no generic parameters",
            ));
        }
        let fields = match &item.data {
            Data::Struct(data) => match &data.fields {
                Fields::Named(fields) => &fields.named,
                other => return Err(Error::new(other.span(), "a record with a factory has named fields")),
            },
            _ => {
                return Err(Error::new(
                    item.ident.span(),
                    "a factory makes structs; an enum can be one of their fields",
                ));
            }
        };
        let record = item.ident.clone();
        let mut definition = Definition {
            factory: Ident::new(&format!("{record}Factory"), record.span()),
            name: snake(&record.to_string()),
            visibility: item.vis.clone(),
            table: None,
            states: Vec::new(),
            fields: fields.iter().map(read_field).collect::<Result<_>>()?,
            record,
        };
        for attribute in item.attrs.iter().filter(|attribute| attribute.path().is_ident("factory")) {
            attribute.parse_nested_meta(|meta| definition.read_setting(&meta))?;
        }
        definition.name_kinds()?;
        definition.check()?;
        Ok(definition)
    }

    fn read_setting(&mut self, meta: &syn::meta::ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("table") {
            self.table = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("name") {
            self.name = meta.value()?.parse::<LitStr>()?.value();
        } else if meta.path.is_ident("factory") {
            self.factory = meta.value()?.parse()?;
        } else if meta.path.is_ident("state") {
            let content;
            parenthesized!(content in meta.input);
            while !content.is_empty() {
                let name: Ident = content.parse()?;
                let change = if content.peek(Token![=]) {
                    content.parse::<Token![=]>()?;
                    Change::Closure(content.parse()?)
                } else if content.peek(syn::token::Paren) {
                    let fields;
                    parenthesized!(fields in content);
                    let mut values = Vec::new();
                    while !fields.is_empty() {
                        let field: Ident = fields.call(Ident::parse_any)?;
                        fields.parse::<Token![=]>()?;
                        values.push((field, fields.parse()?));
                        if !fields.is_empty() {
                            fields.parse::<Token![,]>()?;
                        }
                    }
                    Change::Fields(values)
                } else {
                    let why = format!(
                        "say what is so about the state: `{name}(field = value)` or `{name} = |row, record| …`"
                    );
                    return Err(Error::new(name.span(), why));
                };
                self.states.push(State { name, change });
                if !content.is_empty() {
                    content.parse::<Token![,]>()?;
                }
            }
        } else {
            return Err(meta.error("unknown; a record has `table`, `name`, `factory` and `state`"));
        }
        Ok(())
    }

    /// The fields that say of which type a polymorphic parent is are made by what refers to it.
    fn name_kinds(&mut self) -> Result<()> {
        let mut kinds = Vec::new();
        for field in &self.fields {
            match &field.made {
                Made::Parent { parents, kind: Some(kind) } => kinds.push((kind.clone(), parents[0].clone())),
                Made::Parent { parents, kind: None } if parents.len() > 1 => {
                    let why = "parents of several types need a field that says which one it is: `parent(Post, Video), kind = subject_type`";
                    return Err(Error::new(field.name.span(), why));
                }
                _ => {}
            }
        }
        for (kind, parent) in kinds {
            match self.fields.iter_mut().find(|field| field.name == kind) {
                Some(field) => field.made = Made::KindOf(parent),
                None => return Err(Error::new(kind.span(), format!("there is no field `{kind}`"))),
            }
        }
        for field in &self.fields {
            if let Made::With(Expr::Verbatim(tokens)) = &field.made
                && tokens.is_empty()
            {
                let name = &field.name;
                let why = format!(
                    "say how `{name}` is made: `#[factory(fake = …)]`, `value`, `with`, `weighted`, `localized`, `unique = …`, `key`, `parent` or `database`"
                );
                return Err(Error::new(name.span(), why));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        let mut keys = self.fields.iter().filter(|field| field.is_key).skip(1);
        if let Some(second) = keys.next() {
            let why = "a second key: children refer to one field; of a key of several columns mark none";
            return Err(Error::new(second.name.span(), why));
        }
        let has_key = self.fields.iter().any(|field| field.is_key);
        if let Some(field) = self.fields.iter().find(|field| matches!(field.made, Made::Database(_)))
            && !has_key
        {
            let why =
                "what the database makes is read back by the record's key: mark one with `#[factory(key)]`";
            return Err(Error::new(field.name.span(), why));
        }
        let mut methods: Vec<(String, Span)> = Vec::new();
        for field in self.fields.iter().filter(|field| !matches!(field.made, Made::Database(_))) {
            methods.push((field.setter().unraw().to_string(), field.name.span()));
            if matches!(field.made, Made::Parent { .. }) {
                methods.push((field.relation().unraw().to_string(), field.name.span()));
            }
        }
        methods.extend(self.states.iter().map(|state| (state.name.unraw().to_string(), state.name.span())));
        for (at, (name, span)) in methods.iter().enumerate() {
            let why = if METHODS.contains(&&**name) {
                format!(
                    "every factory has a method `{name}` of its own: rename this one, a field's with `#[factory(as = …)]`"
                )
            } else if methods[..at].iter().any(|(other, _)| other == name) {
                format!("there is another method `{name}`: rename one, a field's with `#[factory(as = …)]`")
            } else {
                continue;
            };
            return Err(Error::new(*span, why));
        }
        for state in &self.states {
            let Change::Fields(values) = &state.change else { continue };
            for (field, _) in values {
                if !self.fields.iter().any(|known| known.name == *field) {
                    let names: Vec<String> = self.fields.iter().map(Field::text).collect();
                    let why =
                        format!("`{}` has no field `{field}`; it has {}", self.record, names.join(", "));
                    return Err(Error::new(field.span(), why));
                }
            }
        }
        Ok(())
    }
}

fn read_field(field: &syn::Field) -> Result<Field> {
    let Some(name) = field.ident.clone() else {
        return Err(Error::new(field.span(), "a record with a factory has named fields"));
    };
    let mut read = Field {
        column: name.unraw().to_string(),
        name,
        ty: field.ty.clone(),
        is_key: false,
        made: Made::Key,
        made_unique: false,
        is_column: true,
        is_json: false,
        renamed: None,
    };
    let (mut made, mut kind): (Vec<Made>, Option<Ident>) = (Vec::new(), None);
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("factory")) {
        attribute.parse_nested_meta(|meta| {
            let name = meta.path.get_ident().map(|ident| ident.unraw().to_string()).unwrap_or_default();
            let has_value = meta.input.peek(Token![=]);
            match name.as_str() {
                "key" => read.is_key = true,
                "json" => read.is_json = true,
                "no_column" => read.is_column = false,
                "column" => read.column = meta.value()?.parse::<LitStr>()?.value(),
                "as" => read.renamed = Some(meta.value()?.call(Ident::parse_any)?),
                "kind" => kind = Some(meta.value()?.parse()?),
                "fake" => made.push(Made::Fake(meta.value()?.parse()?)),
                "localized" => made.push(Made::Localized(meta.value()?.parse()?)),
                "value" => made.push(Made::Value(meta.value()?.parse()?)),
                "with" => made.push(Made::With(meta.value()?.parse()?)),
                "weighted" => made.push(Made::Weighted(meta.value()?.parse()?)),
                "unique" if has_value => made.push(Made::Unique(meta.value()?.parse()?)),
                "unique" => read.made_unique = true,
                "database" if has_value => made.push(Made::Database(Some(meta.value()?.parse()?))),
                "database" => made.push(Made::Database(None)),
                "parent" if has_value => {
                    made.push(Made::Parent { parents: vec![meta.value()?.parse()?], kind: None });
                }
                "parent" => {
                    let content;
                    parenthesized!(content in meta.input);
                    let parents = Punctuated::<Path, Token![,]>::parse_terminated(&content)?;
                    if parents.is_empty() {
                        return Err(meta.error("say whose key it is: `parent(Post, Video)`"));
                    }
                    made.push(Made::Parent { parents: parents.into_iter().collect(), kind: None });
                }
                _ => {
                    return Err(meta.error(
                        "unknown; a field is made by `key`, `fake`, `localized`, `value`, `with`, `weighted`, `unique`, `parent` (and `kind`) or `database`, \
                         and may have `column`, `json`, `no_column` and `as`",
                    ));
                }
            }
            Ok(())
        })?;
    }
    if made.len() > 1 {
        let why = format!("`{}` is made in two ways: one is enough", read.name);
        return Err(Error::new(read.name.span(), why));
    }
    read.made = match made.pop() {
        Some(Made::Parent { parents, .. }) => Made::Parent { parents, kind },
        Some(made) => made,
        None if read.is_key => Made::Key,
        // Whether that is all right is known once all fields are.
        None => Made::With(Expr::Verbatim(proc_macro2::TokenStream::new())),
    };
    if read.made_unique
        && !matches!(read.made, Made::Fake(_) | Made::Localized(_) | Made::Value(_) | Made::With(_))
    {
        let why = "`unique` makes a text unique that `fake`, `localized`, `value` or `with` makes; `unique = 1_000..10_000` is a space of its own";
        return Err(Error::new(read.name.span(), why));
    }
    Ok(read)
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests;
