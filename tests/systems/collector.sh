#!/usr/bin/env bash
# Runs an OpenTelemetry Collector with the configuration that ships, otel/collector.yaml, on loopback
# for the integration tests.
#
#     collector.sh start DIR [--port N] [--owner PID] [--config NAME=VALUE]...
#     collector.sh stop|kill|restart|pause|continue DIR
#
# DIR holds log and settings; install.sh collector comes first. `start` waits until the Collector
# answers and prints, as 127.0.0.1:PORT, COLLECTOR_HTTP (OTLP over HTTP; what --port decides),
# COLLECTOR_GRPC (OTLP over gRPC), COLLECTOR_PROMETHEUS (its scrape endpoint), COLLECTOR_HEALTH and
# COLLECTOR_SELF (metrics about itself), and COLLECTOR_PID; also found in DIR/env. NAME=VALUE sets one
# of the environment variables of otel/collector.yaml. With --owner the Collector is stopped when
# that process is gone. `stop` and `kill` (SIGKILL) keep DIR, `restart` keeps ports and settings;
# `pause` and `continue` are SIGSTOP and SIGCONT.

# shellcheck source=tests/systems/process.sh
. "$(dirname "${BASH_SOURCE[0]}")/process.sh"

configuration=collector.yaml
ports_needed=5
setting=--config
ready='Everything is ready'

installed() {
    [[ -x $cache/collector/otelcol && -e $cache/collector/complete ]]
}

# A link, so that it is the file that ships and nothing else.
configure() {
    local dir=$1
    shift
    ln -sf "$systems/../../otel/collector.yaml" "$dir/$configuration"
    {
        offers "$dir"
        printf '%s\n' "COLLECTOR_SELF_PORT=${ports[4]}" "$@"
    } >"$dir/settings"
}

run() {
    local settings
    mapfile -t settings <"$1/settings"
    exec setsid env "${settings[@]}" "$cache/collector/otelcol" --config "$1/$configuration"
}

answers() {
    answers_http "127.0.0.1:${ports[3]}" /
}

offers() {
    local index=0 name
    for name in HTTP GRPC PROMETHEUS HEALTH SELF; do
        echo "COLLECTOR_$name=127.0.0.1:${ports[index++]}"
    done
}

main "$@"
