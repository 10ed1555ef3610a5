//! Traces: what happened to one booking, from the HTTP request through the broker to the batch and its outcome, in both
//! programs. docs/TRACING.md describes the spans.
//!
//! A trace is exported by OTLP if a collector is configured (`OTEL_EXPORTER_OTLP_ENDPOINT`) and the sampler selects it.
//! Without a collector, [`Traces`] is empty and creates nothing. The spans of `tracing` are not used: the span of each
//! request alone reduces the intake's rate by a sixth. What is not sampled leaves the hot path as [`None`].
//!
//! No attribute is about a person, and a ticket is named by its log id.

mod collector;
mod config;
mod context;
mod export;
mod sampler;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

pub use opentelemetry::KeyValue;
pub use opentelemetry::propagation::Extractor;
pub use opentelemetry::trace::SpanKind;
use opentelemetry::trace::{Link, Span as _, SpanBuilder, Status, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, Key, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span, SpanExporter as _};
use uuid::Uuid;

use self::collector::exporter;
pub use self::config::TracesConfig;
pub use self::context::{TraceContext, deserialize_lenient, trace_id};
pub use self::export::TraceExport;
use self::sampler::LinkedOr;
use super::LogIds;
use crate::domain::TicketId;

/// Links of a span: all bookings of a batch may be sampled.
const LINKS_MAX: u32 = 65_536;

/// Creates the spans of a program, or none.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Enabled>>);

struct Enabled {
    tracer: SdkTracer,
    log_ids: LogIds,
}

/// A sampled span. It ends when it is dropped.
pub struct ActiveSpan {
    span: Span,
    context: TraceContext,
    enabled: Arc<Enabled>,
}

/// Starts the export, if one is configured. `program` is the name of the service. Must be called in the runtime.
pub fn start(
    config: &TracesConfig,
    program: &'static str,
    log_ids: LogIds,
) -> anyhow::Result<(Traces, TraceExport)> {
    let Some((mut exporter, last_error)) = exporter(config)? else {
        return Ok((Traces::default(), TraceExport::none()));
    };
    let resource = resource(config, program);
    exporter.set_resource(&resource);
    let host = config.endpoint.as_ref().map(|endpoint| endpoint.host.clone()).unwrap_or_default();
    let (export, queue) = TraceExport::start(exporter, host, last_error);
    let provider = SdkTracerProvider::builder()
        .with_span_processor(queue)
        .with_sampler(LinkedOr(config.sampler.clone()))
        .with_max_links_per_span(LINKS_MAX)
        .with_resource(resource)
        .build();
    let enabled = Enabled { tracer: provider.tracer("hamro-concert"), log_ids };
    Ok((Traces(Some(Arc::new(enabled))), export))
}

fn resource(config: &TracesConfig, program: &'static str) -> Resource {
    let mut resource = Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_service_name(program)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", Uuid::new_v4().to_string()))
        .with_attributes(config.attributes.iter().cloned());
    if let Some(name) = &config.service_name {
        resource = resource.with_service_name(name.clone());
    }
    resource.build()
}

impl Traces {
    /// Whether spans are exported at all.
    pub fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// The span of a request, whose caller may name a parent. `None` if it is not sampled.
    pub fn start_for_caller(
        &self,
        caller: &dyn Extractor,
        name: impl FnOnce() -> Cow<'static, str>,
        attributes: impl FnOnce() -> Vec<KeyValue>,
    ) -> Option<ActiveSpan> {
        let enabled = self.0.as_ref()?;
        let parent = context::remote_parent(caller);
        // The name and the attributes are added once it is certain that the span is exported.
        let mut active = enabled.build(SpanBuilder::from_name("").with_kind(SpanKind::Server), &parent)?;
        active.span.update_name(name());
        active.span.set_attributes(attributes());
        Some(active)
    }

    /// A child of a sampled span. `None` without a parent.
    pub fn start_child(
        &self,
        parent: Option<TraceContext>,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
    ) -> Option<ActiveSpan> {
        self.start_linked_child(parent, kind, name, None)
    }

    /// A child of a span of another program, with a link to a second span.
    pub fn start_linked_child(
        &self,
        parent: Option<TraceContext>,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
        link: Option<TraceContext>,
    ) -> Option<ActiveSpan> {
        let (enabled, parent) = (self.0.as_ref()?, parent?);
        let is_remote = kind == SpanKind::Consumer;
        let parent = Context::new().with_remote_span_context(parent.span_context(is_remote));
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_links(links(link));
        enabled.build(builder, &parent)
    }

    /// The first span of a trace of its own, with links to sampled spans. `None` without links.
    pub fn start_linked(
        &self,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
        linked: impl IntoIterator<Item = TraceContext>,
    ) -> Option<ActiveSpan> {
        let enabled = self.0.as_ref()?;
        let links = links(linked);
        if links.is_empty() {
            return None;
        }
        let builder = SpanBuilder::from_name(name).with_kind(kind).with_links(links);
        enabled.build(builder, &Context::new())
    }
}

fn links(linked: impl IntoIterator<Item = TraceContext>) -> Vec<Link> {
    linked.into_iter().map(|context| Link::with_context(context.span_context(true))).collect()
}

impl Enabled {
    fn build(self: &Arc<Self>, builder: SpanBuilder, parent: &Context) -> Option<ActiveSpan> {
        let span = self.tracer.build_with_context(builder, parent);
        let context = TraceContext::of(span.span_context())?;
        Some(ActiveSpan { span, context, enabled: self.clone() })
    }
}

impl fmt::Debug for ActiveSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActiveSpan({})", self.context)
    }
}

impl ActiveSpan {
    /// What children and links refer to.
    pub fn context(&self) -> TraceContext {
        self.context
    }

    pub fn set(&mut self, key: impl Into<Key>, value: impl Into<Value>) {
        self.span.set_attribute(KeyValue::new(key, value));
    }

    /// Names a ticket by its log id.
    pub fn set_ticket(&mut self, ticket: TicketId) {
        let log_id = self.enabled.log_ids.of(ticket);
        self.set("ticket.log_id", log_id.to_string());
    }

    /// Marks the span as failed. `code` is one of a few names.
    pub fn fail(&mut self, code: impl Into<Cow<'static, str>>) {
        let code = code.into();
        self.set("error.type", code.to_string());
        self.span.set_status(Status::error(code));
    }
}
