//! Room `telemetry`: who it is that sends.

use std::sync::LazyLock;

use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};

/// The instrumentation scope of everything that is sent.
pub(in super::super) static SCOPE: LazyLock<InstrumentationScope> = LazyLock::new(|| {
    InstrumentationScope::builder("landfall").with_version(env!("CARGO_PKG_VERSION")).build()
});

/// Which probe sends, and where it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The probe's name: `service.instance.id`.
    pub probe: String,
    /// The machine's name: `host.name`.
    pub host: String,
    /// Version of landfall: `service.version`.
    pub version: String,
}

/// The resource attributes, after OpenTelemetry's conventions. Those of `OTEL_RESOURCE_ATTRIBUTES`
/// and `OTEL_SERVICE_NAME` win.
pub(super) fn resource(identity: &Identity) -> Resource {
    let ours = [
        ("service.name", "landfall"),
        ("service.version", &identity.version),
        ("service.instance.id", &identity.probe),
        ("host.name", &identity.host),
        ("os.type", "linux"),
    ];
    let name = std::env::var("OTEL_SERVICE_NAME").ok().filter(|name| !name.is_empty());
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(ours.map(|(key, value)| KeyValue::new(key, value.to_owned())))
        .with_detector(Box::new(EnvResourceDetector::new()))
        .with_attributes(name.map(|name| KeyValue::new("service.name", name)))
        .build()
}
