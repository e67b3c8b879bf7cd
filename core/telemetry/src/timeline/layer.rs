//! The layer that puts spans on timelines.

use std::sync::Arc;

use tracing::{
    Subscriber,
    span::{Attributes, Id},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::Track;
use crate::trace;

/// Puts each span on the timeline of the work in which it was opened.
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

impl<S> Layer<S> for SpanLayer
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(work) = trace::current_work() else { return };
        let (Some(track), Some(span)) = (work.timeline(), context.span(id)) else { return };
        let metadata = attributes.metadata();
        let parent = span.parent().map(|parent| parent.id().into_u64());
        track.open(metadata.name(), metadata.target(), id.into_u64(), parent);
        span.extensions_mut().insert(track.clone());
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        Self::with_track(id, &context, Track::enter);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        Self::with_track(id, &context, Track::exit);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        Self::with_track(&id, &context, Track::close);
    }
}
