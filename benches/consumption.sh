#!/usr/bin/env bash
# What it costs to consume from a real Apache Kafka: a topic is filled with records of 128 bytes that carry real
# stamps, and read by the real reader into the real books, beside the same poll loop with nothing behind it.
#
#     benches/consumption.sh [RECORDS]     in each topic (1000000 without it)
#
# Prints a table in nanoseconds of processor time a record, from /proc/self/task: librdkafka's own threads, the
# thread that reads, the thread that keeps the books. With the stamp in the value alone, once for a path whose
# messages bear none in a header and once for one that looks there in vain, and with one in a header too. `ours` is
# what the reader's thread takes beyond the bare poll loop of the same round, and the books; the loop asks for
# headers where the reader does.
# From the environment: ROUNDS (3; medians are printed) and LANDFALL_BENCH_KAFKA, an address, for a Kafka that
# runs already; topics bench-value and bench-header must not be there.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
systems=$root/tests/systems
export RECORDS=${1:-1000000}

cd "$root"
# Before Kafka runs: it takes minutes the first time.
cargo bench --locked --bench consumption --no-run
if [[ -z ${LANDFALL_BENCH_KAFKA:-} ]]; then
    scratch=$(mktemp -d)
    trap '"$systems/kafka.sh" stop "$scratch" || true; rm -rf "$scratch"' EXIT
    trap 'exit 130' INT TERM
    "$systems/install.sh" kafka
    LANDFALL_BENCH_KAFKA=$("$systems/kafka.sh" start "$scratch" --owner $$ | sed -n 's/^KAFKA=//p')
    export LANDFALL_BENCH_KAFKA
fi
cargo bench --locked --quiet --bench consumption
