//! Room `telemetry` (edge): the metric catalogue, the recorder, `/metrics`, OTLP, traces, health and
//! HTTP.
//!
//! # Design
//!
//! * One table, [`CATALOGUE`], declares every metric. Registration, the zero of every counter and
//!   histogram, the exposition and the reference text follow from it.
//! * Whole counters and histograms are on the hot path. They live in recorders behind the
//!   `metrics` facade, prepared once for the roster, so that an event costs an index and no look-up
//!   by name, and so that a second recorder can be put beside the first. Durations are counted in their
//!   buckets at once, which a load asks for a million times a second.
//! * Gauges and totals of seconds change once a second or less. The recorder can neither take a
//!   gauge away again nor hold a counter with a fraction, so both live on a board of our own, where
//!   a series without a value is absent and not zero.
//! * A metric is in the catalogue only when something counts it. Connect times and schema violations
//!   are not: a series that is zero because nobody counts is a false figure.
//! * Good and valid slots of an objective are counted where the event is, against the target itself: a
//!   bucket would round it. Both only rise, so that what was announced as lost and came out after all
//!   stays a failure in them; the verdict of a run is judged on the net books.
//! * `landfall_late_recoveries_total` has label `lane` beside those of the design, and every outcome,
//!   so that net figures are one subtraction: `landfall_slots_total - landfall_late_recoveries_total`.
//!   The other anomalies are summed over lanes.
//! * Metrics without label `lane` speak of the messages that are published over MQTT: control messages
//!   are in those that have it, and the probe's own lateness counts whatever it was late for.
//! * Negative latencies are recorded as they are: they count in the first bucket and lower the sum.
//! * One request a connection, and ten seconds for it: no client can hold one of the few connections
//!   for longer, however slowly it reads or writes. Streams of events have a bound of their own.

mod board;
mod both;
mod catalogue;
mod durations;
mod edition;
mod families;
mod figures;
mod handles;
mod health;
mod health_client;
mod http;
mod objectives;
mod otlp;
mod page;
mod recorder;
mod reference;
mod streams;
mod traces;

pub use catalogue::{Kind, Label, Metric, buckets};
pub use edition::{Edition, Press, Readers, press};
pub use families::CATALOGUE;
pub use figures::{Build, HostFigures, ProcessFigures, Resource, ScopeFigures};
pub use health::{Component, ComponentState, Health, Readiness};
pub use health_client::{Answer, get};
pub use http::{HttpServer, Pages};
pub use otlp::{Histograms, Identity, Otlp, OtlpConfig, Protocol, Target};
pub use recorder::Telemetry;
pub use reference::{reference, series_of_path};
pub use traces::{Choice, Source, SpanQueue, SpanSink, Tracer, span_queue};
