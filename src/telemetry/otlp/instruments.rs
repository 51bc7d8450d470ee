//! Room `telemetry`: the catalogue as instruments of the OpenTelemetry SDK.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{BoundCounter, BoundHistogram, Meter, MeterProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    Aggregation, Instrument, InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Stream,
    Temporality,
};

use super::super::board::Board;
use super::super::catalogue::{Kind, Label, Metric, buckets};
use super::super::families::CATALOGUE;
use super::super::handles::PARTITIONS_MAX;
use super::Histograms;
use super::resource::{Identity, SCOPE, resource};
use crate::stats::PEERS_MAX;

/// Buckets of an exponential histogram (the SDK specification's default).
const EXPONENTIAL_BUCKETS: u32 = 160;
/// The finest scale that it begins with (the same).
const EXPONENTIAL_SCALE: i8 = 20;
/// Processes with series of their own, and `self`.
const PROCESSES_MAX: usize = 257;
/// Values of any other label that nobody enumerates: parts of the probe and their causes.
const VALUES_MAX: usize = 16;

/// Collects the instruments of a run.
pub(in super::super) struct Meters {
    /// Keeps the instruments alive.
    _provider: SdkMeterProvider,
    reader: Reader,
}

impl Meters {
    /// The values as they stand.
    pub(in super::super) fn collect(&self, into: &mut ResourceMetrics) -> OTelSdkResult {
        self.reader.collect(into)
    }
}

/// A recorder whose series are those of the SDK.
pub(in super::super) struct Instruments {
    meter: Meter,
}

impl Instruments {
    /// Every metric of the catalogue. What is on the board is read whenever metrics are collected.
    /// `paths` bounds the number of series.
    pub(in super::super) fn new(
        histograms: Histograms,
        identity: &Identity,
        paths: usize,
        board: &Arc<Board>,
    ) -> (Self, Meters) {
        let reader = Reader::new();
        let provider = SdkMeterProvider::builder()
            .with_resource(resource(identity))
            .with_reader(reader.clone())
            .with_view(move |instrument: &Instrument| stream(instrument, histograms, paths))
            .build();
        let meter = provider.meter_with_scope(SCOPE.clone());
        for metric in &CATALOGUE {
            observe(&meter, metric, board);
        }
        (Self { meter }, Meters { _provider: provider, reader })
    }
}

/// Registers a metric of the board; the others register their series themselves.
fn observe(meter: &Meter, metric: &'static Metric, board: &Arc<Board>) {
    let board = Arc::clone(board);
    let series = move |each: &dyn Fn(f64, &[KeyValue])| {
        for (labels, value) in board.series(metric) {
            let names = metric.labels.iter().map(|label| label.name());
            let labels = names.zip(labels).map(|(name, value)| KeyValue::new(name, value));
            each(value, &labels.collect::<Vec<_>>());
        }
    };
    match metric.kind {
        Kind::Gauge => {
            meter
                .f64_observable_gauge(metric.name)
                .with_unit(metric.unit)
                .with_description(metric.help)
                .with_callback(move |gauge| series(&|value, labels| gauge.observe(value, labels)))
                .build();
        }
        Kind::FloatCounter => {
            meter
                .f64_observable_counter(metric.name)
                .with_unit(metric.unit)
                .with_description(metric.help)
                .with_callback(move |sum| series(&|value, labels| sum.observe(value, labels)))
                .build();
        }
        Kind::Counter | Kind::Histogram => {}
    }
}

/// How an instrument is added up: the SDK's defaults are coarser buckets and 2,000 series.
fn stream(instrument: &Instrument, histograms: Histograms, paths: usize) -> Option<Stream> {
    let metric = CATALOGUE.iter().find(|metric| metric.name == instrument.name())?;
    let mut stream = Stream::builder().with_cardinality_limit(series_max(metric, paths));
    if instrument.kind() == InstrumentKind::Histogram {
        // Smallest and largest of a whole run say nothing about now, and of an empty one nothing.
        let record_min_max = false;
        stream = stream.with_aggregation(match histograms {
            Histograms::Explicit => {
                Aggregation::ExplicitBucketHistogram { boundaries: buckets(), record_min_max }
            }
            Histograms::Exponential => Aggregation::Base2ExponentialHistogram {
                max_size: EXPONENTIAL_BUCKETS,
                max_scale: EXPONENTIAL_SCALE,
                record_min_max,
            },
        });
    }
    // Refused would be a limit of 0 and buckets out of order.
    stream.build().ok()
}

/// How many series a metric can have at most.
fn series_max(metric: &Metric, paths: usize) -> usize {
    let values = |label: &Label| match label {
        Label::Path => paths.max(1),
        Label::Partition => PARTITIONS_MAX + 1,
        Label::Process => PROCESSES_MAX,
        Label::Peer => PEERS_MAX,
        label => match label.values().len() {
            0 => VALUES_MAX,
            values => values,
        },
    };
    metric.labels.iter().map(values).product()
}

fn labels(key: &Key) -> Vec<KeyValue> {
    // Backslashes are doubled for the other recorder.
    let value = |label: &metrics::Label| label.value().replace(r"\\", r"\");
    key.labels().map(|label| KeyValue::new(label.key().to_owned(), value(label))).collect()
}

fn described(key: &Key) -> Option<&'static Metric> {
    CATALOGUE.iter().find(|metric| metric.name == key.name())
}

impl Recorder for Instruments {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let Some(metric) = described(key) else { return Counter::noop() };
        let counter = self.meter.u64_counter(metric.name).with_unit(metric.unit);
        let counter = counter.with_description(metric.help).build();
        Counter::from_arc(Arc::new(Count(counter.bind(&labels(key)))))
    }

    /// Gauges are on the board.
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let Some(metric) = described(key) else { return Histogram::noop() };
        let histogram = self.meter.f64_histogram(metric.name).with_unit(metric.unit);
        let histogram = histogram.with_description(metric.help).build();
        Histogram::from_arc(Arc::new(Distribution(histogram.bind(&labels(key)))))
    }
}

struct Count(BoundCounter<u64>);

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        self.0.add(value);
    }

    /// Nothing here sets a counter to a total.
    fn absolute(&self, _: u64) {}
}

struct Distribution(BoundHistogram<f64>);

impl HistogramFn for Distribution {
    fn record(&self, value: f64) {
        self.0.record(value);
    }
}

/// Collects when it is asked to.
#[derive(Clone)]
struct Reader(Arc<ManualReader>);

impl Reader {
    fn new() -> Self {
        let reader = ManualReader::builder().with_temporality(Temporality::Cumulative).build();
        Self(Arc::new(reader))
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl MetricReader for Reader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, into: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(into)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}
