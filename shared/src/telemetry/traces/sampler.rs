//! Which traces are exported: `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.

use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

use crate::config::Setting;

/// The names of the samplers in the specification of OpenTelemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SamplerName {
    AlwaysOn,
    AlwaysOff,
    TraceIdRatio,
    ParentBasedAlwaysOn,
    ParentBasedAlwaysOff,
    ParentBasedTraceIdRatio,
}

impl Setting for SamplerName {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "always_on" => Self::AlwaysOn,
            "always_off" => Self::AlwaysOff,
            "traceidratio" => Self::TraceIdRatio,
            "parentbased_always_on" => Self::ParentBasedAlwaysOn,
            "parentbased_always_off" => Self::ParentBasedAlwaysOff,
            "parentbased_traceidratio" => Self::ParentBasedTraceIdRatio,
            _ => return None,
        })
    }
}

impl SamplerName {
    pub fn sampler(self, ratio: Ratio) -> Sampler {
        let ratio = Sampler::TraceIdRatioBased(ratio.0);
        match self {
            Self::AlwaysOn => Sampler::AlwaysOn,
            Self::AlwaysOff => Sampler::AlwaysOff,
            Self::TraceIdRatio => ratio,
            Self::ParentBasedAlwaysOn => Sampler::ParentBased(Box::new(Sampler::AlwaysOn)),
            Self::ParentBasedAlwaysOff => Sampler::ParentBased(Box::new(Sampler::AlwaysOff)),
            Self::ParentBasedTraceIdRatio => Sampler::ParentBased(Box::new(ratio)),
        }
    }
}

/// A share of all traces, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ratio(f64);

impl Setting for Ratio {
    fn parse(text: &str) -> Option<Self> {
        let ratio = text.parse().ok()?;
        (0.0..=1.0).contains(&ratio).then_some(Self(ratio))
    }
}

/// Decides as the configured sampler does, except that a span without a parent is sampled if it has links: only sampled
/// spans are linked.
#[derive(Clone, Debug)]
pub(super) struct LinkedOr(pub Sampler);

impl ShouldSample for LinkedOr {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let mut result = self.0.should_sample(parent, trace, name, kind, attributes, links);
        if !links.is_empty() && parent.is_none_or(|parent| !parent.has_active_span()) {
            result.decision = SamplingDecision::RecordAndSample;
        }
        result
    }
}
