//! The settings of the export. Their names and values are those of the specification of OpenTelemetry.

use std::collections::HashMap;
use std::fmt;

use opentelemetry::KeyValue;
use opentelemetry_http::Request;
use opentelemetry_sdk::trace::ShouldSample;
use percent_encoding::percent_decode_str;

use super::sampler::{Ratio, SamplerName};
use crate::config::connection_url::{ConnectionUrl, UrlForm};
use crate::config::{Env, Setting};

/// The path of traces at a collector, below `OTEL_EXPORTER_OTLP_ENDPOINT`.
const TRACES_PATH: &str = "/v1/traces";

/// What to export, and where to.
#[derive(Clone, Debug)]
pub struct TracesConfig {
    /// `None`: nothing is exported.
    pub(super) endpoint: Option<Endpoint>,
    pub(super) headers: Headers,
    pub(super) sampler: Box<dyn ShouldSample>,
    pub(super) service_name: Option<String>,
    pub(super) attributes: Vec<KeyValue>,
}

impl TracesConfig {
    pub fn read(env: &mut Env) -> Option<Self> {
        let form = "a URL such as http://127.0.0.1:4318";
        let base = env
            .variable(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "Collector that receives traces, by OTLP over HTTP; /v1/traces is appended. By default there are no traces.",
                form,
            )
            .optional::<Endpoint>();
        let endpoint = env
            .variable(
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "The same for traces only, with the complete path.",
                "a URL such as http://127.0.0.1:4318/v1/traces",
            )
            .optional::<Endpoint>();
        let protocol = env
            .variable("OTEL_EXPORTER_OTLP_PROTOCOL", "Protocol of the export.", "http/protobuf")
            .or_default::<HttpProtobuf>("http/protobuf");
        let headers = env
            .variable(
                "OTEL_EXPORTER_OTLP_HEADERS",
                "Headers of the export, such as credentials.",
                "comma-separated pairs such as authorization=Bearer%20SECRET, with percent-encoded values",
            )
            .secret()
            .optional::<Headers>();
        let sampler = env
            .variable(
                "OTEL_TRACES_SAMPLER",
                "Which traces are exported. With parentbased_…, the flag in the traceparent of a request decides. The \
                 same on all programs.",
                "always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off or \
                 parentbased_traceidratio",
            )
            .or_default::<SamplerName>("parentbased_traceidratio");
        let ratio = env
            .variable(
                "OTEL_TRACES_SAMPLER_ARG",
                "Share of the traces that traceidratio exports.",
                "a number from 0 to 1 such as 0.01",
            )
            .or_default::<Ratio>("0.01");
        let service_name = env
            .variable(
                "OTEL_SERVICE_NAME",
                "Name of the program in traces; hamro-api or hamro-worker by default.",
                "a text such as hamro-api-eu",
            )
            .optional::<String>();
        let attributes = env
            .variable(
                "OTEL_RESOURCE_ATTRIBUTES",
                "Attributes of the program in traces.",
                "comma-separated pairs such as deployment.environment.name=staging, with percent-encoded values",
            )
            .optional::<Pairs>();
        protocol?;
        Some(Self {
            endpoint: endpoint?.or(base?.map(Endpoint::with_traces_path)),
            headers: headers?.unwrap_or_default(),
            sampler: sampler?.sampler(ratio?),
            service_name: service_name?,
            attributes: attributes?
                .map(|Pairs(pairs)| pairs.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect())
                .unwrap_or_default(),
        })
    }
}

/// The only supported protocol.
struct HttpProtobuf;

impl Setting for HttpProtobuf {
    fn parse(text: &str) -> Option<Self> {
        (text == "http/protobuf").then_some(Self)
    }

    fn problem(_: &str) -> Option<String> {
        Some("only OTLP over HTTP is supported (usually port 4318, not 4317)".to_owned())
    }
}

/// The URL of a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub url: String,
    pub is_encrypted: bool,
    /// What a log may contain of it: a path may be a key.
    pub host: String,
}

impl Endpoint {
    const FORM: UrlForm = UrlForm { schemes: &["http", "https"], path: "the path", is_parameter: |_| false };

    fn read(text: &str) -> Result<Self, String> {
        let url = ConnectionUrl::parse(text, &Self::FORM).map_err(|error| error.to_string())?;
        let host = url.only_address().map_err(|error| error.to_string())?.host.clone();
        if url.user.is_some() {
            return Err("it contains credentials: write them into OTEL_EXPORTER_OTLP_HEADERS".to_owned());
        }
        let host = host.filter(|host| !host.starts_with('/')).ok_or("the host is missing")?;
        Ok(Self { url: text.to_owned(), is_encrypted: url.scheme == "https", host })
    }

    fn with_traces_path(self) -> Self {
        Self { url: format!("{}{TRACES_PATH}", self.url.trim_end_matches('/')), ..self }
    }
}

impl Setting for Endpoint {
    fn parse(text: &str) -> Option<Self> {
        Self::read(text).ok()
    }

    fn problem(text: &str) -> Option<String> {
        Self::read(text).err()
    }
}

/// Pairs as the specification of W3C Baggage writes them.
struct Pairs(Vec<(String, String)>);

impl Setting for Pairs {
    fn parse(text: &str) -> Option<Self> {
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=')?;
            let (key, value) = (key.trim(), percent_decode_str(value.trim()).decode_utf8().ok()?);
            (!key.is_empty()).then(|| (key.to_owned(), value.into_owned()))
        };
        let pairs = text.split(',').filter(|text| !text.trim().is_empty());
        pairs.map(pair).collect::<Option<_>>().map(Self)
    }
}

/// Headers of each export. Not printed: they are secret.
#[derive(Clone, Default)]
pub(super) struct Headers(pub HashMap<String, String>);

impl Setting for Headers {
    fn parse(text: &str) -> Option<Self> {
        let Pairs(pairs) = Pairs::parse(text)?;
        let request =
            pairs.iter().fold(Request::builder(), |request, (name, value)| request.header(name, value));
        request.body(()).ok()?;
        Some(Self(pairs.into_iter().collect()))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Headers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<TracesConfig, String> {
        let mut env = Env::of(variables);
        let config = TracesConfig::read(&mut env);
        env.finish(config).map_err(|error| error.to_string())
    }

    fn url(variables: &[(&str, &str)]) -> Option<String> {
        read(variables).unwrap().endpoint.map(|endpoint| endpoint.url)
    }

    #[test]
    fn traces_are_exported_only_to_a_configured_endpoint() {
        const BASE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        const TRACES: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        assert_eq!(url(&[("OTEL_TRACES_SAMPLER", "always_on")]), None);
        assert_eq!(url(&[(BASE, "http://otel:4318")]).unwrap(), "http://otel:4318/v1/traces");
        assert_eq!(url(&[(BASE, "http://[::1]:4318/a/")]).unwrap(), "http://[::1]:4318/a/v1/traces");
        let both = [(BASE, "http://otel:4318"), (TRACES, "https://example.com/t")];
        assert_eq!(url(&both).unwrap(), "https://example.com/t");
    }

    #[test]
    fn an_invalid_setting_is_named_with_its_problem_and_without_its_value() {
        for (name, value, problem) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "otel-secret:4318", "start it with http:// or https://"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://", "host"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel-secret:port", "the port is not a number"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:secret@otel", "OTEL_EXPORTER_OTLP_HEADERS"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://otel/?key=secret", "parameter"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "only OTLP over HTTP"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret", "pairs"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret", "pairs"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0a", "pairs"),
            ("OTEL_TRACES_SAMPLER", "sometimes", "always_on"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.5", "from 0 to 1"),
            ("OTEL_TRACES_SAMPLER_ARG", "NaN", "from 0 to 1"),
            ("OTEL_RESOURCE_ATTRIBUTES", "secret", "pairs"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(error.contains(name) && error.contains(problem), "{name}={value}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn headers_and_attributes_are_percent_decoded() {
        let config = read(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20SECRET,x-a=1,"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name = staging%2C%20EU"),
        ])
        .unwrap();
        assert_eq!(config.headers.0["authorization"], "Bearer SECRET");
        assert_eq!(config.headers.0["x-a"], "1");
        assert_eq!(config.attributes, [KeyValue::new("deployment.environment.name", "staging, EU")]);
        assert!(!format!("{config:?}").contains("SECRET"));
    }
}
