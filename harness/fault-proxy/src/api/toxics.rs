//! Toxics as JSON.

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{
    attributes::{self, Attributes},
    fields::{Fields, first_value},
    refusal::Refusal,
};
use crate::{Error, Proxy, Stream, Toxic, ToxicKind};

/// A toxic as clients see it.
#[derive(Debug, Serialize)]
pub(super) struct ToxicBody {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    stream: String,
    #[serde(serialize_with = "as_short_as_it_goes")]
    toxicity: f64,
    attributes: Attributes,
    #[serde(skip_serializing_if = "Option::is_none")]
    hits: Option<u64>,
}

impl ToxicBody {
    pub(super) fn of(proxy: &Proxy, toxic: &Toxic) -> Self {
        let counts = matches!(toxic.kind(), ToxicKind::Message(_));
        ToxicBody {
            name: toxic.name(),
            kind: toxic.kind().type_name(),
            stream: toxic.spelling().to_owned(),
            toxicity: toxic.share(),
            attributes: attributes::of(toxic.kind()),
            hits: counts.then(|| proxy.hits(&toxic.name()).unwrap_or_default()),
        }
    }

    pub(super) fn all_of(proxy: &Proxy) -> Vec<Self> {
        proxy.toxics().iter().map(|toxic| ToxicBody::of(proxy, toxic)).collect()
    }
}

/// Reads the body that adds a toxic to this proxy.
pub(super) fn new_on(proxy: &Proxy, body: &[u8]) -> Result<Toxic, Refusal> {
    let described = Described::of(first_value(body)?)?;
    if proxy.toxic(&described.name).is_ok() {
        let (proxy, toxic) = (proxy.name().to_owned(), described.name);
        return Err(Error::ToxicExists { proxy, toxic }.into());
    }
    described.toxic()
}

/// Reads a toxic that shall be made.
pub(super) fn new(value: Value) -> Result<Toxic, Refusal> {
    Described::of(value)?.toxic()
}

/// Whether a toxic that shall be made is right by itself.
pub(crate) fn check(value: Value) -> Result<(), Refusal> {
    Ok(new(value)?.validate()?)
}

/// Reads the body that changes a toxic. Its name, type and stream stay, and so does every attribute that is not
/// mentioned.
pub(super) fn change(old: &Toxic, body: &[u8]) -> Result<Toxic, Refusal> {
    let fields = Fields::of(first_value(body)?, "a toxic")?;
    let kind = attributes::changed(old.kind(), &fields.object("attributes")?)?;
    let toxicity = fields.number("toxicity")?.unwrap_or(old.share());
    Ok(Toxic::new(kind).named(old.name()).on(old.stream()).spelled(old.spelling()).toxicity(toxicity))
}

/// A toxic before its attributes are looked at: what is wrong with them comes after a name that is taken.
struct Described {
    name: String,
    kind: &'static str,
    stream: Option<(Stream, String)>,
    toxicity: f64,
    attributes: Fields,
}

impl Described {
    fn of(value: Value) -> Result<Self, Refusal> {
        let fields = Fields::of(value, "a toxic")?;
        let (name, kind) = (fields.text("name")?, fields.text("type")?.unwrap_or_default());
        let toxicity = fields.number("toxicity")?.unwrap_or(1.0);
        let attributes = fields.object("attributes")?;
        let stream = match fields.text("stream")? {
            Some(text) => Some((stream(text)?, text.to_owned())),
            None => None,
        };
        let kind = attributes::known_type(kind).ok_or_else(|| Refusal::bad("invalid toxic type"))?;
        let spelling = stream.as_ref().map_or_else(
            || attributes::default_stream(kind, &attributes).as_str(),
            |(_, spelling)| spelling.as_str(),
        );
        let name = match name {
            Some(name) if !name.is_empty() => name.to_owned(),
            _ => format!("{kind}_{spelling}"),
        };
        Ok(Described { name, kind, stream, toxicity, attributes })
    }

    fn toxic(self) -> Result<Toxic, Refusal> {
        let kind = attributes::kind(self.kind, &self.attributes)?;
        let toxic = Toxic::new(kind).named(self.name).toxicity(self.toxicity);
        Ok(match self.stream {
            Some((stream, spelling)) => toxic.on(stream).spelled(&spelling),
            None => toxic,
        })
    }
}

fn stream(text: &str) -> Result<Stream, Refusal> {
    [Stream::Upstream, Stream::Downstream]
        .into_iter()
        .find(|stream| stream.as_str().eq_ignore_ascii_case(text))
        .ok_or_else(|| Refusal::bad("stream was invalid, can be either upstream or downstream"))
}

/// Writes `1`, not `1.0`, as Go does.
fn as_short_as_it_goes<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        serializer.serialize_i64(*number as i64)
    } else {
        serializer.serialize_f64(*number)
    }
}
