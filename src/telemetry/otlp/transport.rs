//! Room `telemetry`: the way to a Collector.

use std::time::Duration;

use opentelemetry_otlp::{
    MetricExporter, Protocol as Wire, SpanExporter, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanExporter as _;
use tokio::time::timeout;

use super::http_client::{Reason, TellingClient};
use super::{PATIENCE, Protocol, Target};

/// What a sending may take beyond its time before it is given up from outside.
const MARGIN: Duration = Duration::from_millis(500);

/// What goes over a way, and how long one sending may take.
pub(super) struct Exporter<E> {
    pub(super) inner: E,
    patience: Duration,
    reason: Reason,
    url: String,
}

/// For metrics.
pub(super) fn metrics(target: &Target) -> Result<Exporter<MetricExporter>, String> {
    let (patience, reason) = (patience("METRICS")?, Reason::default());
    let inner = match target.protocol {
        Protocol::Http => MetricExporter::builder()
            .with_http()
            .with_protocol(Wire::HttpBinary)
            .with_http_client(client("METRICS", patience, &reason)?)
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
    Ok(Exporter { inner, patience, reason, url: target.url.clone() })
}

/// For spans, which all come from `resource`.
pub(super) fn spans(
    target: &Target,
    resource: &Resource,
) -> Result<Exporter<SpanExporter>, String> {
    let (patience, reason) = (patience("TRACES")?, Reason::default());
    let inner = match target.protocol {
        Protocol::Http => SpanExporter::builder()
            .with_http()
            .with_protocol(Wire::HttpBinary)
            .with_http_client(client("TRACES", patience, &reason)?)
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
    Ok(Exporter { inner, patience, reason, url: target.url.clone() })
}

/// How long one sending may take: `OTEL_EXPORTER_OTLP_TIMEOUT` or that of the signal, in milliseconds.
fn patience(signal: &str) -> Result<Duration, String> {
    let Some((name, value)) = standard(signal, "TIMEOUT") else { return Ok(PATIENCE) };
    match value.parse() {
        Ok(millis @ 1..=300_000) => Ok(Duration::from_millis(millis)),
        _ => Err(format!("{name}: {value} is not a time-out in milliseconds (1 to 300000)")),
    }
}

fn client(signal: &str, patience: Duration, reason: &Reason) -> Result<TellingClient, String> {
    TellingClient::new(|what| standard(signal, what), patience, reason.clone())
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

/// Whether a sending failed because of what was sent, so that it would always fail.
pub(super) fn is_refusal(reason: &str) -> bool {
    // The exporter says it in its text only. 408 and 429 are about the moment.
    let status = reason.rsplit_once("status code: ").and_then(|(_, code)| code.parse().ok());
    status.is_some_and(|code: u16| (400..500).contains(&code) && !matches!(code, 408 | 429))
        || reason.contains("InvalidArgument")
}

/// The exporter's words without what only its authors understand: `Unavailable: Connection refused`.
fn plain(words: &str) -> String {
    let words = words.trim_start_matches("Operation failed: ");
    let Some((_, grpc)) = words.split_once("export failed with gRPC code: ") else {
        return words.to_owned();
    };
    match (grpc.split_once(": "), grpc.rsplit_once(": ")) {
        (Some((code, _)), Some((_, root))) => format!("{code}: {root}"),
        _ => grpc.to_owned(),
    }
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
        Ok(Err(error)) => exporter.reason.take().unwrap_or_else(|| plain(&error.to_string())),
        Err(_) => format!("no answer within {} ms", exporter.patience.as_millis()),
    };
    Err(format!("{}: {why}", exporter.url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exporters_words_are_made_plain() {
        let grpc = "Operation failed: TonicMetricsClient export failed with gRPC code: Unavailable: \
                    transport error: tcp connect error: Connection refused (os error 111)";
        assert_eq!(plain(grpc), "Unavailable: Connection refused (os error 111)");
        let http = "Operation failed: HTTP export failed with status code: 503";
        assert_eq!(plain(http), "HTTP export failed with status code: 503");
        assert_eq!(plain("x export failed with gRPC code: Internal"), "Internal");
    }

    #[test]
    fn only_what_would_always_fail_is_a_refusal() {
        let status =
            |code: u16| is_refusal(&format!("u: HTTP export failed with status code: {code}"));
        assert!(status(400) && status(401) && status(413));
        assert!(!status(408) && !status(429) && !status(500) && !status(503));
        assert!(is_refusal("u: InvalidArgument: no") && !is_refusal("u: Unavailable: gone"));
    }
}
