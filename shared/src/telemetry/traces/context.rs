//! Where a sampled span is in its trace, in the form in which it travels: W3C Trace Context.

use std::fmt::{self, Display};

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use tracing::field::{DisplayValue, display};

const TRACEPARENT: &str = "traceparent";

/// A sampled span, as its children and links refer to it. Its text is a `traceparent`.
///
/// Only sampled spans have one, so that whatever is not sampled carries nothing. The `tracestate` of a caller is exported
/// with the span of the request and goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: TraceId,
    span: SpanId,
}

impl TraceContext {
    /// `None` if the span is not sampled.
    pub(super) fn of(span: &SpanContext) -> Option<Self> {
        (span.is_valid() && span.is_sampled()).then(|| Self { trace: span.trace_id(), span: span.span_id() })
    }

    /// The id of the trace, as logs and trace viewers write it.
    pub fn trace_id(self) -> TraceId {
        self.trace
    }

    /// `None` if it is not the `traceparent` of a sampled span.
    pub fn parse(traceparent: &str) -> Option<Self> {
        Self::of(remote_parent(&Traceparent(traceparent)).span().span_context())
    }

    pub(super) fn span_context(self, is_remote: bool) -> SpanContext {
        SpanContext::new(self.trace, self.span, TraceFlags::SAMPLED, is_remote, TraceState::default())
    }
}

/// The value of the log field `trace_id`, which is left out without a trace.
pub fn trace_id(context: Option<TraceContext>) -> Option<DisplayValue<TraceId>> {
    context.map(|context| display(context.trace))
}

/// The parent that a caller names, sampled or not. Anything that is not valid is ignored.
pub(super) fn remote_parent(caller: &dyn Extractor) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), caller)
}

struct Traceparent<'a>(&'a str);

impl Extractor for Traceparent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

impl Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-01", self.trace, self.span)
    }
}

impl Serialize for TraceContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// For a field that may be missing. A value that is not the `traceparent` of a sampled span counts as missing: no booking
/// fails because of its trace.
pub fn deserialize_lenient<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<TraceContext>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value.as_str().and_then(TraceContext::parse))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_traceparent_of_a_sampled_span_is_written_as_it_was_read() {
        let context = TraceContext::parse(SAMPLED).unwrap();
        assert_eq!(context.to_string(), SAMPLED);
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn what_is_not_sampled_or_not_valid_has_no_context() {
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-नेपाल-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(text), None, "{text}");
        }
    }
}
