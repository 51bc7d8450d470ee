//! Room `telemetry`: the table of all metrics.

use super::catalogue::{Kind, Label, Metric};

use Label::{
    Bystander, Carrier, Commit, Component, ConnectLeg, DropCause, DroppedBy, DuplicateCause,
    Exporter, InvalidCause, Lane, LateCause, Leg, Mode, Outcome, Partition, Path, Peer, Process,
    Qos, Quantile, Resource, Scope, SkipCause, Slo, StampOutcome, Version,
};

/// Declares metrics as constants, for the code that feeds them, and the table of all of them.
macro_rules! catalogue {
    ($($constant:ident = $kind:ident $name:literal $unit:literal [$($label:ident),*] $help:literal;)*) => {
        $(pub(super) const $constant: Metric = Metric {
            name: $name,
            kind: Kind::$kind,
            unit: $unit,
            labels: &[$($label),*],
            help: $help,
        };)*

        /// Every metric that landfall exports. Names are a public interface.
        pub const CATALOGUE: [Metric; [$($name),*].len()] = [$($constant),*];
    };
}

catalogue! {
    END_TO_END = Histogram "landfall_end_to_end_latency_seconds" "s" [Path, Lane, Qos]
        "Time from the intended send time of a message to its receipt.";
    LEG = Histogram "landfall_leg_latency_seconds" "s" [Path, Qos, Leg]
        "Time that a stretch of a message's way took.";
    DURABILITY_GAP = Histogram "landfall_durability_gap_seconds" "s" [Path, Qos]
        "How long before its append to Kafka a message had been acknowledged to its publisher: what a crash would have lost. Zero where the acknowledgement came later.";
    QUANTILE = Gauge "landfall_latency_quantile_seconds" "s" [Path, Lane, Qos, Quantile]
        "Quantile of the end-to-end latency over the last window, or over as many last windows as hold enough samples; absent below that.";
    SLOTS = Counter "landfall_slots_total" "{slot}" [Path, Lane, Qos, Outcome]
        "Slots by the outcome that was announced; late recoveries say which were wrong.";
    OFFERED = Counter "landfall_offered_messages_total" "{message}" [Path, Qos]
        "Slots of the schedule that came due.";
    PUBLISHED = Counter "landfall_published_messages_total" "{message}" [Path, Qos]
        "Messages handed to the socket, resends left out.";
    ACKNOWLEDGED = Counter "landfall_acknowledged_messages_total" "{message}" [Path, Qos]
        "Messages that the MQTT broker took: PUBACK or PUBREC with a reason code below 0x80.";
    DELIVERIES = Counter "landfall_deliveries_total" "{message}" [Path, Qos]
        "Messages that the MQTT subscribers of a path were handed, all of them together, copies too; of paths with more than one.";
    DELIVERY_LATENCY = Histogram "landfall_delivery_latency_seconds" "s" [Path, Qos]
        "Time from the intended send time of a message to its receipt by an MQTT subscriber, whichever; of paths with more than one.";
    BACKGROUND_CLIENTS = Gauge "landfall_background_clients" "{client}" [Path, Bystander]
        "MQTT clients that are connected and measure nothing (mqtt.background).";
    BACKGROUND_MESSAGES = FloatCounter "landfall_background_messages_total" "{message}" [Path, Bystander]
        "Messages that MQTT clients were handed that measure nothing (mqtt.background).";
    SKIPPED = Counter "landfall_skipped_slots_total" "{slot}" [Path, Qos, SkipCause]
        "Slots that were not sent: offered slots are published, skipped, or still waiting.";
    SENT_LATE = Counter "landfall_late_sends_total" "{message}" [Path, Qos, LateCause]
        "Messages that were sent more than 10 ms after they were due, by what they waited for: the probe, or the system (a full socket, or too much that the broker had not answered).";
    CONNECT = Histogram "landfall_connect_seconds" "s" [Path, ConnectLeg]
        "Time that MQTT connections took: to TCP, from there to TLS where it is spoken, and from there to CONNACK.";
    BUSIEST = Gauge "landfall_busiest_thread_ratio" "1" [Path]
        "The largest share of a quarter of a second of the last window in which a thread that sends for the path was at work; at 1 the probe is the limit.";
    LOAD_INFO = Gauge "landfall_load_info" "1" [Path, Mode]
        "1: how the load of the path goes. open: messages are sent when they are due, whatever the system does; closed: the system decides the rate.";
    CONSUMED = Counter "landfall_consumed_records_total" "{record}" [Path, Partition]
        "Kafka records that carried a stamp of this run.";
    STAMPS = Counter "landfall_stamps_total" "{stamp}" [Path, Carrier, StampOutcome]
        "Stamps that were sent in a carrier, by whether they came through.";
    PARTITIONS = Gauge "landfall_partitions" "{partition}" [Path]
        "Partitions of the topics that are consumed.";
    PARTITIONS_COVERED = Gauge "landfall_partitions_covered" "{partition}" [Path]
        "Partitions out of which a stamp of this run came.";
    DUPLICATES = Counter "landfall_duplicates_total" "{message}" [Path, Qos, DuplicateCause]
        "Further arrivals of messages.";
    REORDERED = Counter "landfall_reordered_total" "{message}" [Path, Qos]
        "Arrivals after a later message of the same publisher.";
    CORRUPT = Counter "landfall_corrupt_total" "{message}" [Path, Qos]
        "Arrivals whose payload is not what was sent.";
    FOREIGN = Counter "landfall_foreign_records_total" "{record}" [Path]
        "Records or messages without a stamp of this run.";
    LATE_RECOVERIES = Counter "landfall_late_recoveries_total" "{message}" [Path, Lane, Qos, Outcome]
        "Announced outcomes that proved wrong because the message came out after all.";
    NEGATIVE = Counter "landfall_negative_latency_total" "{message}" [Path, Qos]
        "End-to-end latencies below zero; they are in the histogram all the same.";
    IN_FLIGHT = Gauge "landfall_in_flight_messages" "{message}" [Path, Lane, Qos]
        "Messages that were sent and have no outcome yet.";
    WINDOW_VALID = Gauge "landfall_window_valid" "1" [Path]
        "1 when the last window is valid, 0 when not; absent before the first.";
    INVALID_WINDOWS = Counter "landfall_invalid_windows_total" "{window}" [Path, InvalidCause]
        "Windows that are not valid, by each of their causes.";
    SLO_OBJECTIVE = Gauge "landfall_slo_objective" "1" [Path, Slo]
        "Share of what counts that has to be good: of p99 0.99, of an availability its own; absent where a number of failures is allowed, which is no share.";
    SLO_GOOD = Counter "landfall_slo_good_total" "{slot}" [Path, Slo]
        "Slots (of duplicates: records) that count for an objective and were good when they were announced; exact, whatever the target.";
    SLO_VALID = Counter "landfall_slo_valid_total" "{slot}" [Path, Slo]
        "Slots (of duplicates: records) that count for an objective.";
    SCHEDULER_LAG = Histogram "landfall_scheduler_lag_seconds" "s" []
        "How late the probe itself woke up to send.";
    CLOCK_OFFSET = Gauge "landfall_clock_offset_seconds" "s" [Peer]
        "How far the clock of a Kafka leader is ahead of this host's, by LogAppendTime; negative where it is behind; absent until known.";
    CLOCK_OFFSET_BOUND = Gauge "landfall_clock_offset_bound_seconds" "s" [Peer]
        "The true offset is at most so far from the estimate.";
    HOST_CPU = Gauge "landfall_host_cpu_utilization_ratio" "1" [Scope]
        "Share of the CPU time of the machine, or of the control group's limit, that was used.";
    HOST_MEMORY_USED = Gauge "landfall_host_memory_used_bytes" "By" [Scope]
        "Memory in use.";
    HOST_MEMORY_TOTAL = Gauge "landfall_host_memory_total_bytes" "By" [Scope]
        "Memory of the machine; the control group's limit, where it has one.";
    HOST_PRESSURE = Gauge "landfall_host_pressure_ratio" "1" [Resource]
        "Share of the last 10 s in which some task waited for the resource (PSI).";
    PROCESS_CPU = FloatCounter "landfall_process_cpu_seconds_total" "s" [Process]
        "CPU time of a process, user and system.";
    PROCESS_RESIDENT = Gauge "landfall_process_resident_memory_bytes" "By" [Process]
        "Resident memory of a process.";
    COMPONENT_UP = Gauge "landfall_component_up" "1" [Component]
        "1 while every connection to the system is up (journal: while state is kept; load: while it runs), else 0.";
    RECONNECTS = Counter "landfall_reconnects_total" "{connection}" [Component]
        "Connections that were made again after they had been lost (journal: how often state was kept again; load: how often it was started again).";
    EXPORT_FAILURES = Counter "landfall_export_failures_total" "{attempt}" [Exporter]
        "Attempts to send metrics or spans to a Collector that it did not take.";
    DROPPED = Counter "landfall_dropped_total" "{event}" [DroppedBy, DropCause]
        "What the probe itself had to drop to stay within its bounds.";
    BUILD_INFO = Gauge "landfall_build_info" "1" [Version, Commit]
        "1, with what is running.";
}
