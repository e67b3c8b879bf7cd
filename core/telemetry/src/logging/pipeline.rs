//! The layer that turns events into lines.

use std::{borrow::Cow, sync::Arc, time::SystemTime};

use tracing::{Event, Subscriber, span};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::{
    Layer,
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

use super::{
    Counts, bounds,
    fields::Fields,
    line::{Field, Ids, Line, SpanFields},
    queue::Queue,
    sampling::Sampling,
    writer,
};
use crate::{
    redaction::{Redaction, scrub_id},
    trace::{self, Work},
};

/// The most spans that a line names.
const MAX_SPANS: usize = 16;

pub(super) struct Pipeline {
    pub(super) redaction: Redaction,
    pub(super) sampling: Sampling,
    pub(super) queue: Arc<Queue>,
    pub(super) counts: Arc<Counts>,
}

/// The fields of a span as they may be shown, kept with the span.
struct Shown(Arc<Vec<Field>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Pipeline {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let mut fields = Fields::new(&self.redaction, &[], false);
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Shown(Arc::new(fields.fields)));
        }
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        // Values are formatted before the span is locked: their `Debug` may log.
        let mut fields = Fields::new(&self.redaction, &[], false);
        values.record(&mut fields);
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        let Some(Shown(own)) = extensions.get_mut::<Shown>() else { return };
        let own = Arc::make_mut(own);
        for field in fields.fields {
            let place = own.iter().position(|old| old.name == field.name);
            match place {
                Some(place) => own[place] = field,
                None if own.len() < bounds::MAX_FIELDS => own.push(field),
                None => {}
            }
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        // What the sink's own transport logs would be sent by the sink, which would log again.
        if writer::is_this_thread() {
            return;
        }
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let ids = trace::current_work().map(|work| ids_of(&work));
        let trace_id = ids.as_ref().map(|ids| ids.trace_id.as_str());
        if !self.sampling.keeps(*metadata.level(), metadata.target(), trace_id) {
            Counts::add(&self.counts.sampled_out, 1);
            return;
        }
        let may_stay = ids.as_ref().map(|ids| [ids.trace_id.as_str(), ids.request_id.as_str()]);
        let may_stay = may_stay.as_ref().map_or(&[][..], |ids| ids);
        let mut fields = Fields::new(&self.redaction, may_stay, normalized.is_some());
        event.record(&mut fields);
        let Fields { message, fields, left_out, .. } = fields;
        let mut line = Line {
            time: SystemTime::now(),
            level: *metadata.level(),
            target: bounds::cut_name(metadata.target()).into(),
            message,
            fields,
            spans: context.event_scope(event).map(|scope| spans(scope.collect())).unwrap_or_default(),
            ids,
            file: metadata.file().map(|file| Cow::Owned(bounds::cut_name(file))),
            line: metadata.line(),
            left_out,
        };
        bounds::fit(&mut line);
        self.queue.push(line);
    }
}

fn spans<'a, S: LookupSpan<'a>>(innermost_first: Vec<SpanRef<'a, S>>) -> Vec<SpanFields> {
    let mut spans: Vec<SpanFields> = innermost_first
        .iter()
        .take(MAX_SPANS)
        .map(|span| {
            let fields = span.extensions().get::<Shown>().map(|shown| shown.0.clone()).unwrap_or_default();
            SpanFields { name: bounds::name(span.name()), fields }
        })
        .collect();
    spans.reverse();
    spans
}

fn ids_of(work: &Work) -> Ids {
    let context = work.context();
    Ids {
        // A client chooses this one: it may have put a token or an address there.
        request_id: scrub_id(context.request_id()).into_owned(),
        trace_id: context.trace_id(),
        span_id: context.span_id(),
        sampled: context.is_sampled(),
    }
}
