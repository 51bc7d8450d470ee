#!/usr/bin/env bash
# Runs a Mosquitto broker on loopback for the integration tests.
#
#     mosquitto.sh start DIR [--port N] [--owner PID] [--config 'LINE']...
#     mosquitto.sh stop|kill|restart|pause|continue DIR
#
# DIR holds configuration, log and data; install.sh mosquitto comes first. `start` waits until the
# broker answers and prints MOSQUITTO=127.0.0.1:PORT and MOSQUITTO_PID=PID, also found in DIR/env. A
# LINE of mosquitto.conf(5) comes behind the ones written here. With --owner the broker is stopped
# when that process is gone. `stop` and `kill` (SIGKILL) keep DIR, `restart` keeps the port; `pause`
# and `continue` are SIGSTOP and SIGCONT.

# shellcheck source=tests/systems/process.sh
. "$(dirname "${BASH_SOURCE[0]}")/process.sh"

configuration=mosquitto.conf
ports_needed=1
setting=--config
ready=' running'

installed() {
    command -v mosquitto >/dev/null
}

# The file that the stack in compose/ runs, with a listener on loopback. It logs to stderr, because
# Mosquitto holds back what it writes to a stdout that is no terminal.
configure() {
    local dir=$1
    shift
    {
        sed "s/^listener .*/listener ${ports[0]} 127.0.0.1/" "$systems/../../compose/mosquitto/mosquitto.conf"
        printf '%s\n' "persistence_location $dir/data/" "user $(id -un)" "$@"
    } >"$dir/$configuration"
}

run() {
    exec setsid mosquitto -c "$1/$configuration"
}

answers() {
    mosquitto_sub -h 127.0.0.1 -p "${ports[0]}" -t landfall/ready -E
}

offers() {
    echo "MOSQUITTO=127.0.0.1:${ports[0]}"
}

main "$@"
