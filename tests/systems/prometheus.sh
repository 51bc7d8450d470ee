#!/usr/bin/env bash
# Runs a Prometheus on loopback that scrapes every second, for the integration tests.
#
#     prometheus.sh start DIR [--port N] [--owner PID] [--target HOST:PORT[=JOB]]...
#     prometheus.sh start DIR [--port N] [--owner PID] --target shipped=LANDFALL,COLLECTOR
#     prometheus.sh stop|kill|restart|pause|continue DIR
#
# DIR holds configuration, log and data; install.sh prometheus comes first. `start` waits until
# Prometheus is ready and prints PROMETHEUS=127.0.0.1:PORT and PROMETHEUS_PID=PID, also found in
# DIR/env. Each target is scraped at /metrics under the name JOB, or else under its address; labels
# `job` and `instance` that a series brings along stay. With `shipped` the configuration is otel/prometheus.yaml,
# rules and all; only its two targets (HOST:PORT each), its intervals (1 s) and the path of its rules differ.
# With --owner it is stopped when that process
# is gone. `stop` and `kill` (SIGKILL) keep DIR, `restart` keeps the port; `pause` and `continue` are
# SIGSTOP and SIGCONT.

# shellcheck source=tests/systems/process.sh
. "$(dirname "${BASH_SOURCE[0]}")/process.sh"

configuration=prometheus.yml
ports_needed=1
setting=--target
ready='Server is ready to receive web requests.'

installed() {
    command -v prometheus >/dev/null && command -v promtool >/dev/null
}

configure() {
    local dir=$1
    shift
    if [[ ${1:-} == shipped=* ]]; then
        shipped "${1#shipped=}" >"$dir/$configuration"
    else
        scraping "$@" >"$dir/$configuration"
    fi
    promtool check config "$dir/$configuration" >"$dir/check.log" 2>&1 || {
        cat "$dir/check.log" >&2
        fail "these targets make no configuration; what promtool said is above"
    }
}

# The configuration that ships, for other targets. What it does not say as expected is refused.
shipped() {
    local file=$systems/../../otel/prometheus.yaml text
    for text in '["127.0.0.1:9464"]' '["127.0.0.1:8889"]' '_interval: 15s' '- ../grafana/'; do
        grep -qF -- "$text" "$file" || fail "otel/prometheus.yaml does not say $text any more"
    done
    sed -e "s|127.0.0.1:9464\"|${1%,*}\"|" -e "s|127.0.0.1:8889\"|${1#*,}\"|" \
        -e 's|_interval: 15s|_interval: 1s|' -e "s|- ../grafana/|- $(absolute "$systems/../../grafana")/|" "$file"
}

# A configuration that scrapes each target.
scraping() {
    local target
    printf '%s\n' 'global:' '  scrape_interval: 1s' '  scrape_timeout: 1s' 'scrape_configs:'
    for target in "$@"; do
        printf '%s\n' "  - job_name: '${target#*=}'" '    honor_labels: true' \
            '    static_configs:' "      - targets: ['${target%%=*}']"
    done
}

run() {
    exec setsid prometheus --config.file "$1/$configuration" --storage.tsdb.path "$1/data" \
        --web.listen-address "127.0.0.1:${ports[0]}"
}

answers() {
    answers_http "127.0.0.1:${ports[0]}" /-/ready
}

offers() {
    echo "PROMETHEUS=127.0.0.1:${ports[0]}"
}

main "$@"
