//! The layer that puts spans on timelines.

use std::sync::Arc;

use tracing::{
    Subscriber,
    span::{Attributes, Id},
};
use tracing_subscriber::{
    Layer,
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

use super::Track;
use crate::trace;

/// Puts each span on the timeline of the work in which it is opened or first entered.
#[derive(Debug)]
pub(super) struct SpanLayer;

impl SpanLayer {
    fn with_track<S>(id: &Id, context: &Context<'_, S>, act: impl FnOnce(&Track, u64))
    where
        S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    {
        if let Some(span) = context.span(id)
            && let Some(track) = span.extensions().get::<Arc<Track>>()
        {
            act(track, id.into_u64());
        }
    }
}

/// Puts a span on the timeline of the current work, if there is one.
fn open<'a, R: LookupSpan<'a>>(span: &SpanRef<'a, R>) -> Option<Arc<Track>> {
    let track = trace::current_track()?;
    let (metadata, parent) = (span.metadata(), span.parent().map(|parent| parent.id().into_u64()));
    track.open(metadata.name(), metadata.target(), span.id().into_u64(), parent);
    span.extensions_mut().insert(track.clone());
    Some(track)
}

impl<S> Layer<S> for SpanLayer
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn on_new_span(&self, _attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            open(&span);
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let track = span.extensions().get::<Arc<Track>>().cloned();
        // A request's own span is mostly opened outside of its work.
        if let Some(track) = track.or_else(|| open(&span)) {
            track.enter(id.into_u64());
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        Self::with_track(id, &context, Track::exit);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        Self::with_track(&id, &context, Track::close);
    }
}
