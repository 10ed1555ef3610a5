//! Which traces are exported: `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

use crate::config::Setting;

/// How many traces a second callers may have exported by their flag. Anybody can set it.
const BY_CALLERS_MAX: u32 = 500;

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
    pub fn sampler(self, ratio: Ratio) -> Box<dyn ShouldSample> {
        let ratio = Sampler::TraceIdRatioBased(ratio.0);
        match self {
            Self::AlwaysOn => Sampler::AlwaysOn.into(),
            Self::AlwaysOff => Sampler::AlwaysOff.into(),
            Self::TraceIdRatio => ratio.into(),
            Self::ParentBasedAlwaysOn => parent_based(Sampler::AlwaysOn),
            Self::ParentBasedAlwaysOff => parent_based(Sampler::AlwaysOff),
            Self::ParentBasedTraceIdRatio => parent_based(ratio),
        }
    }
}

fn parent_based(root: Sampler) -> Box<dyn ShouldSample> {
    Sampler::parent_based(root).with_remote_parent_sampled(CallerLimit::default()).into()
}

/// Samples what a caller has sampled, up to the limit. What the api has sampled is always sampled by a worker.
#[derive(Clone, Debug, Default)]
struct CallerLimit(Arc<Mutex<Option<Second>>>);

#[derive(Clone, Copy, Debug)]
struct Second {
    began: Instant,
    traces: u32,
}

impl CallerLimit {
    fn is_reached(&self) -> bool {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        let second = current.get_or_insert(Second { began, traces: 0 });
        if second.began.elapsed() >= Duration::from_secs(1) {
            *second = Second { began, traces: 0 };
        }
        second.traces = second.traces.saturating_add(1);
        second.traces > BY_CALLERS_MAX
    }
}

impl ShouldSample for CallerLimit {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let is_limited = *kind == SpanKind::Server && self.is_reached();
        let sampler = if is_limited { Sampler::AlwaysOff } else { Sampler::AlwaysOn };
        sampler.should_sample(parent, trace, name, kind, attributes, links)
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
pub(super) struct LinkedOr(pub Box<dyn ShouldSample>);

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

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceState};

    use super::*;

    /// How many of a thousand spans with a parent in another program are sampled.
    fn sampled(sampler: SamplerName, kind: &SpanKind, flags: TraceFlags) -> usize {
        let sampler = LinkedOr(sampler.sampler(Ratio::parse("0").unwrap()));
        let trace = TraceId::from(7_u128);
        let parent = SpanContext::new(trace, SpanId::from(7_u64), flags, true, TraceState::default());
        let parent = Context::new().with_remote_span_context(parent);
        let decide = |_| sampler.should_sample(Some(&parent), trace, "", kind, &[], &[]).decision;
        (0..1_000).map(decide).filter(|decision| *decision == SamplingDecision::RecordAndSample).count()
    }

    #[test]
    fn a_flood_of_callers_that_sample_everything_is_limited_and_workers_are_not() {
        let sampler = SamplerName::ParentBasedTraceIdRatio;
        let by_callers = sampled(sampler, &SpanKind::Server, TraceFlags::SAMPLED);
        assert!((500..1_000).contains(&by_callers), "{by_callers}");
        assert_eq!(sampled(sampler, &SpanKind::Server, TraceFlags::default()), 0);
        assert_eq!(sampled(sampler, &SpanKind::Consumer, TraceFlags::SAMPLED), 1_000);
        assert_eq!(sampled(SamplerName::AlwaysOn, &SpanKind::Server, TraceFlags::SAMPLED), 1_000);
        assert_eq!(sampled(SamplerName::TraceIdRatio, &SpanKind::Server, TraceFlags::SAMPLED), 0);
    }

    #[test]
    fn a_first_span_is_sampled_if_it_links_to_others() {
        let sampler = LinkedOr(SamplerName::ParentBasedAlwaysOff.sampler(Ratio::parse("0").unwrap()));
        let decide = |links: &[Link]| {
            let trace = TraceId::from(7_u128);
            sampler.should_sample(Some(&Context::new()), trace, "", &SpanKind::Consumer, &[], links).decision
        };
        assert_eq!(decide(&[]), SamplingDecision::Drop);
        let link = Link::with_context(SpanContext::empty_context());
        assert_eq!(decide(&[link]), SamplingDecision::RecordAndSample);
    }
}
