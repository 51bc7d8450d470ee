#!/usr/bin/env bash
# Everything that landfall shows, of one run with faults in it, held against its report: real Mosquitto and
# Apache Kafka, the reference bridge between them, a real Prometheus and a real OpenTelemetry Collector,
# with the configurations and rules that ship.
#
#     benches/observed.sh [SECONDS]     that it measures (180 without it; 30 to 280)
#
# The bridge stands still for longer than the deadline, so that losses are announced that are none; then it
# dies with messages that it had acknowledged. In the end counts must be those of report.json to the last
# message, both ways to Prometheus the same series by series, the gauges of quantiles within 3 % of the
# report, `histogram_quantile` within a bucket of it, and the alerts that the faults set off must be firing,
# and no others. Prints the figures, and what a scrape costs: of this run, and of 20 paths that measure
# everything. Exit code 0 when all of it holds.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${1:-180}
echo "# Observed for $seconds s"
echo
LANDFALL_TEST_OBSERVED_SECONDS=$seconds cargo test --locked --quiet --test observed -- \
    --nocapture report_prometheus_and_collector_count_the_same
cargo test --locked --quiet --test telemetry -- --nocapture a_scrape_of_20_paths
