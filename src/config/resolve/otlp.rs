//! Room `config` (wiring): where metrics and traces are sent.

use super::super::grammar;
use super::super::keys;
use super::super::tree::Origin;
use super::super::wording::quote;
use super::{Reader, View};
use crate::telemetry::{OtlpConfig, Protocol, Target};

/// What differs between metrics and traces.
struct Signal {
    exporter: &'static str,
    endpoint: &'static str,
    protocol: &'static str,
    path: &'static str,
}

const METRICS: Signal = Signal {
    exporter: "OTEL_METRICS_EXPORTER",
    endpoint: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    path: "/v1/metrics",
};
const TRACES: Signal = Signal {
    exporter: "OTEL_TRACES_EXPORTER",
    endpoint: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    path: "/v1/traces",
};

impl Reader<'_> {
    /// Everything about OTLP; nothing where nothing is to be sent, or after noting what is wrong.
    pub(super) fn otlp(&mut self, view: &View<'_>) -> Option<OtlpConfig> {
        let interval = view.get(&keys::EXPORT_INTERVAL, self.problems);
        let histograms = view.get(&keys::HISTOGRAMS, self.problems);
        let protocol = view.get(&keys::PROTOCOL, self.problems);
        let traced = view.section(&keys::TRACES);
        let sample = traced.as_ref().and_then(|view| view.get(&keys::SAMPLE, self.problems));
        let slow = traced.as_ref().and_then(|view| view.get(&keys::SLOW, self.problems));
        let base = view.get(&keys::ENDPOINT, self.problems);
        let place = (view.origin_of(&keys::ENDPOINT), view.path_of(&keys::ENDPOINT));
        let general = (base.as_deref(), protocol?, &place);
        let metrics = self.target(&METRICS, general);
        let traces = self.target(&TRACES, general);
        let is_sent = (metrics.is_some() || traces.is_some()) && !self.standard.is_disabled();
        let (interval, histograms, sample, slow) = (interval?, histograms?, sample?, slow?);
        let config = OtlpConfig { metrics, traces, interval, histograms, sample, slow };
        is_sent.then_some(config)
    }

    /// Where a signal goes, if anywhere; nothing, too, after noting what is wrong.
    fn target(
        &mut self,
        signal: &Signal,
        (base, protocol, place): (Option<&str>, Protocol, &(Origin, String)),
    ) -> Option<Target> {
        if let Some((exporter, origin)) = self.standard.get(signal.exporter)
            && exporter != "otlp"
        {
            if exporter != "none" {
                let what = format!("{} is not an exporter (otlp or none)", quote(exporter));
                self.problems.add(origin, "", what);
            }
            return None;
        }
        let protocol = self.protocol(signal, protocol)?;
        let (url, (origin, path)) = match self.standard.get(signal.endpoint) {
            Some((url, origin)) => {
                let url = grammar::endpoint(url);
                (url.map_err(|what| self.problems.add(origin, "", what)).ok()?, (origin, ""))
            }
            None if protocol == Protocol::Http => {
                (format!("{}{}", base?, signal.path), (place.0, &*place.1))
            }
            None => (base?.to_owned(), (place.0, &*place.1)),
        };
        if protocol == Protocol::Grpc && url.starts_with("https://") {
            let what = "https over grpc is known but not built yet; use http/protobuf, or a \
                        Collector on this host";
            self.problems.add(origin, path, what);
            return None;
        }
        Some(Target { url, protocol })
    }

    fn protocol(&mut self, signal: &Signal, general: Protocol) -> Option<Protocol> {
        let Some((protocol, origin)) = self.standard.get(signal.protocol) else {
            return Some(general);
        };
        match protocol {
            "http/protobuf" => Some(Protocol::Http),
            "grpc" => Some(Protocol::Grpc),
            _ => {
                let what = format!("{} is not a protocol (http/protobuf or grpc)", quote(protocol));
                self.problems.add(origin, "", what);
                None
            }
        }
    }
}
