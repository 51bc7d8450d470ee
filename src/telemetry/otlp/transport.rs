//! Room `telemetry`: the way to a Collector.

use std::time::Duration;

use opentelemetry_otlp::{
    MetricExporter, Protocol as Wire, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanExporter as _;
use tokio::time::timeout;

use super::{PATIENCE, Protocol, Target};

/// What a sending may take beyond its time before it is given up from outside.
const MARGIN: Duration = Duration::from_millis(500);

/// What goes over a way, and how long one sending may take.
pub(super) struct Exporter<E> {
    pub(super) inner: E,
    pub(super) patience: Duration,
    pub(super) url: String,
}

/// For metrics.
pub(super) fn metrics(target: &Target) -> Result<Exporter<MetricExporter>, String> {
    let patience = patience("METRICS")?;
    let inner = match target.protocol {
        Protocol::Http => MetricExporter::builder()
            .with_http()
            .with_protocol(Wire::HttpBinary)
            .with_http_client(client("METRICS", patience)?)
            .with_endpoint(&target.url)
            .with_timeout(patience)
            .build(),
        Protocol::Grpc => MetricExporter::builder()
            .with_tonic()
            .with_endpoint(&target.url)
            .with_timeout(patience)
            .build(),
    };
    let inner = inner.map_err(|error| format!("{}: {error}", target.url))?;
    Ok(Exporter { inner, patience, url: target.url.clone() })
}

/// For spans, which all come from `resource`.
pub(super) fn spans(
    target: &Target,
    resource: &Resource,
) -> Result<Exporter<SpanExporter>, String> {
    let patience = patience("TRACES")?;
    let inner = match target.protocol {
        Protocol::Http => SpanExporter::builder()
            .with_http()
            .with_protocol(Wire::HttpBinary)
            .with_http_client(client("TRACES", patience)?)
            .with_endpoint(&target.url)
            .with_timeout(patience)
            .build(),
        Protocol::Grpc => SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&target.url)
            .with_timeout(patience)
            .build(),
    };
    let mut inner = inner.map_err(|error| format!("{}: {error}", target.url))?;
    inner.set_resource(resource);
    Ok(Exporter { inner, patience, url: target.url.clone() })
}

/// How long one sending may take: `OTEL_EXPORTER_OTLP_TIMEOUT` or that of the signal, in milliseconds.
fn patience(signal: &str) -> Result<Duration, String> {
    let Some((name, value)) = standard(signal, "TIMEOUT") else { return Ok(PATIENCE) };
    match value.parse() {
        Ok(millis @ 1..=300_000) => Ok(Duration::from_millis(millis)),
        _ => Err(format!("{name}: {value} is not a time-out in milliseconds (1 to 300000)")),
    }
}

/// An HTTP client that trusts the system's certificates, or those of `OTEL_EXPORTER_OTLP_CERTIFICATE`,
/// and shows the ones of `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE` and `..._CLIENT_KEY`.
fn client(signal: &str, patience: Duration) -> Result<reqwest::Client, String> {
    let mut client = reqwest::Client::builder().timeout(patience);
    if let Some((name, path)) = standard(signal, "CERTIFICATE") {
        let pem = read(&name, &path)?;
        let trusted = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|error| format!("{name}: {path} holds no certificate in PEM: {error}"))?;
        client = client.tls_certs_only(trusted);
    }
    let own = standard(signal, "CLIENT_CERTIFICATE").zip(standard(signal, "CLIENT_KEY"));
    if let Some(((name, path), (name_of_key, path_of_key))) = own {
        let (certificate, key) = (read(&name, &path)?, read(&name_of_key, &path_of_key)?);
        let identity = reqwest::Identity::from_pkcs8_pem(&certificate, &key).map_err(|error| {
            format!("{name}: {path} and {path_of_key} are no certificate and key in PEM: {error}")
        })?;
        client = client.identity(identity);
    }
    client.build().map_err(|error| format!("no HTTP client for OTLP: {error}"))
}

/// A standard variable, that of the signal before the general one, by its name.
fn standard(signal: &str, what: &str) -> Option<(String, String)> {
    let names =
        [format!("OTEL_EXPORTER_OTLP_{signal}_{what}"), format!("OTEL_EXPORTER_OTLP_{what}")];
    let set = |name: String| {
        let value = std::env::var(&name).ok().filter(|value| !value.is_empty())?;
        Some((name, value))
    };
    names.into_iter().find_map(set)
}

fn read(name: &str, path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{name}: {path}: {error}"))
}

/// Whether a sending failed because of what was sent, so that it would always fail.
pub(super) fn is_refusal(reason: &str) -> bool {
    // The exporter says it in its text only. 408 and 429 are about the moment.
    let status = reason.rsplit_once("status code: ").and_then(|(_, code)| code.parse().ok());
    status.is_some_and(|code: u16| (400..500).contains(&code) && !matches!(code, 408 | 429))
        || reason.contains("InvalidArgument")
}

/// Waits for a sending as long as it may take; why it failed, in words.
pub(super) async fn sent<E>(
    sending: impl Future<Output = OTelSdkResult>,
    exporter: &Exporter<E>,
) -> Result<(), String> {
    // The exporter keeps to its time by itself, but for a peer that neither takes nor refuses.
    let result = timeout(exporter.patience + MARGIN, sending).await;
    let why = match result {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} ms", exporter.patience.as_millis()),
    };
    Err(format!("{}: {why}", exporter.url))
}
