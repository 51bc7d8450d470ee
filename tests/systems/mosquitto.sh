#!/usr/bin/env bash
# Runs a Mosquitto broker on loopback for the integration tests.
#
#     mosquitto.sh start DIR [--port N] [--owner PID] [--config 'LINE']...
#     mosquitto.sh stop|kill|restart DIR
#
# DIR holds configuration, log and data; install.sh mosquitto comes first. `start` waits until the
# broker answers and prints MOSQUITTO=127.0.0.1:PORT and MOSQUITTO_PID=PID, also found in DIR/env. A
# LINE of mosquitto.conf(5) comes behind the ones written here. With --owner the broker is stopped
# when that process is gone. `stop` and `kill` (SIGKILL) keep DIR, `restart` keeps the port.

# shellcheck source=tests/systems/process.sh
. "$(dirname "${BASH_SOURCE[0]}")/process.sh"

# Logs to stderr, because Mosquitto holds back what it writes to a stdout that is no terminal.
configure() {
    local dir=$1 port=$2
    shift 2
    mkdir -p "$dir/data"
    printf '%s\n' \
        "listener $port 127.0.0.1" \
        'allow_anonymous true' \
        'max_queued_messages 0' \
        'max_inflight_messages 0' \
        'set_tcp_nodelay true' \
        'persistence false' \
        "persistence_location $dir/data/" \
        "user $(id -un)" \
        'log_dest stderr' \
        'log_type error' 'log_type warning' 'log_type notice' 'log_type information' \
        "$@" >"$dir/mosquitto.conf"
}

# Starts what DIR is configured for; returns 3 if the port was lost to somebody else.
launch() {
    local dir=$1 port from state=0
    port=$(sed -n 's/^listener \([0-9]*\) .*/\1/p' "$dir/mosquitto.conf" | head -n 1)
    from=$(log_size "$dir")
    setsid mosquitto -c "$dir/mosquitto.conf" </dev/null >>"$dir/log" 2>&1 &
    background=$!
    echo "$background" >"$dir/pid"
    await_ready "$dir" "$from" ' running' \
        mosquitto_sub -h 127.0.0.1 -p "$port" -t landfall/ready -E || state=$?
    if ((state == 0)); then
        offer "$dir" "MOSQUITTO=127.0.0.1:$port" "MOSQUITTO_PID=$background"
        return
    fi
    end_process "$dir" "$dir/mosquitto.conf" kill
    ! log_since "$dir" "$from" | grep -F 'Address already in use' >/dev/null || return 3
    not_ready "$dir" "$from"
}

start() {
    local dir=$1 port='' owner='' lines=() attempt state
    shift
    while (($# >= 2)); do
        case $1 in
        --port) port=$2 ;;
        --owner) owner=$2 ;;
        --config) lines+=("$2") ;;
        *) break ;;
        esac
        shift 2
    done
    (($# == 0)) || fail "start: what is '$1'?"
    running "$dir" "$dir/mosquitto.conf" >/dev/null && { cat "$dir/env"; return; }
    command -v mosquitto >/dev/null || fail "no mosquitto: run $systems/install.sh mosquitto first"
    for attempt in 1 2 3 4 5; do
        configure "$dir" "${port:-$(free_ports 1)}" "${lines[@]}"
        state=0
        launch "$dir" || state=$?
        ((state == 3)) || break
        [[ -z $port ]] || fail "port $port of 127.0.0.1 is taken"
    done
    ((state == 0)) || fail "lost $attempt ports to other programs"
    [[ -z $owner ]] || stop_after "$owner" "$dir"
}

(($# >= 2)) || fail "usage: mosquitto.sh start|stop|kill|restart DIR ..."
action=$1
dir=$(absolute "$2")
shift 2
act "$action" "$dir" mosquitto.conf "$@"
