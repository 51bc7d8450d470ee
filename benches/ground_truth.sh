#!/usr/bin/env bash
# What landfall reports beside what is true. An in-memory Kafka holds every record by a known
# distribution (uniform, bimodal, heavy tail) and logs, on the clock that landfall reads too, when it
# really let it go. `landfall run` measures that at several rates, from an MQTT broker over the reference
# bridge, and its quantiles and single messages are held against the log.
#
#     benches/ground_truth.sh [SECONDS]     of each run (60 without it)
#
# Prints two tables: quantiles, and message by message how much later than its release each message was
# reported, beside how late the machine woke an idle thread meanwhile, which is not landfall's doing.
# Exit code 1 if a quantile is off by more than 1 % and 100 us, or a single message was reported earlier
# than it was released. From the environment: RATES (messages/s; "100 1000 10000" without it).

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
SECONDS_EACH=${1:-60} exec cargo bench --locked --quiet --bench ground_truth
