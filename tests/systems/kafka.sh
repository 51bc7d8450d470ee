#!/usr/bin/env bash
# Runs one Apache Kafka node (broker and KRaft controller) on loopback for the integration tests.
#
#     kafka.sh start DIR [--port N] [--owner PID] [--config KEY=VALUE]...
#     kafka.sh stop|kill|restart|pause|continue DIR
#     kafka.sh topic DIR NAME PARTITIONS [KEY=VALUE]...
#     kafka.sh latency DIR TOPIC MESSAGES
#
# DIR holds configuration, log and data; install.sh kafka comes first. `start` waits until the broker
# answers and prints KAFKA=127.0.0.1:PORT and KAFKA_PID=PID, also found in DIR/env. A KEY=VALUE of
# --config overrides the properties written here. With --owner the node is stopped when that process
# is gone. `stop` and `kill` (SIGKILL) keep DIR, `restart` keeps the port; `pause` and `continue` are
# SIGSTOP and SIGCONT. `topic` creates a topic, for instance with
# message.timestamp.type=LogAppendTime, and waits until it has leaders. `latency` becomes Kafka's own
# EndToEndLatency, which sends one message after the other to a topic and waits for each.

# shellcheck source=tests/systems/process.sh
. "$(dirname "${BASH_SOURCE[0]}")/process.sh"

home=$cache/kafka
shipped=$systems/../../compose/kafka
# Any 16 bytes in base64url will do, but a random one that begins with '-' is taken for an option.
cluster=bGFuZGZhbGwtdGVzdHMtMQ

configuration=server.properties
ports_needed=2 # clients, controller
setting=--config
ready='Kafka Server started'

installed() {
    [[ -x $home/java && -e $home/complete ]]
}

# Runs one of Kafka's tools: a class and its arguments.
tool() {
    "$home/java" -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        -Dlandfall.log.level=WARN -Dlog4j2.configurationFile="$shipped/log4j2.properties" \
        -cp "$home/jars/*" "$@" </dev/null
}

# The file that the stacks in compose/ run; of two values for a property the last one holds.
configure() {
    local dir=$1 port=${ports[0]} controller=${ports[1]}
    shift
    {
        cat "$shipped/server.properties"
        printf '%s\n' \
            "controller.quorum.voters=1@127.0.0.1:$controller" \
            "listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller" \
            "advertised.listeners=PLAINTEXT://127.0.0.1:$port" \
            "log.dirs=$dir/data" \
            "$@"
    } >"$dir/$configuration"
    tool kafka.tools.StorageTool format --ignore-formatted \
        -t "$cluster" -c "$dir/$configuration" >>"$dir/log" 2>&1 || not_ready "$dir" 0
}

run() {
    exec setsid "$home/java" -Xms128m -Xmx512m -XX:MaxGCPauseMillis=20 -XX:+ExitOnOutOfMemoryError \
        -Dlog4j2.configurationFile="$shipped/log4j2.properties" \
        -cp "$home/jars/*" kafka.Kafka "$1/$configuration"
}

answers() {
    kcat -L -q -m 2 -b "127.0.0.1:${ports[0]}"
}

offers() {
    echo "KAFKA=127.0.0.1:${ports[0]}"
}

topic() {
    local dir=$1 name=$2 partitions=$3 address setting settings=() try
    shift 3
    running "$dir" >/dev/null || fail "no Kafka runs in $dir"
    address=$(sed -n 's/^KAFKA=//p' "$dir/env")
    for setting in "$@"; do
        settings+=(--config "$setting")
    done
    tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$address" --create \
        --topic "$name" --partitions "$partitions" --replication-factor 1 "${settings[@]}" \
        >"$dir/topic.log" 2>&1 || {
        tail -n 20 "$dir/topic.log" >&2
        fail "topic $name was not created; what Kafka said is above"
    }
    # The controller has it; the broker learns of it a moment later.
    for ((try = 0; try < 100; try++)); do
        [[ $(kcat -L -m 5 -b "$address" -t "$name" 2>/dev/null |
            grep -cE '^ *partition [0-9]+, leader [0-9]+, .*isrs: [0-9]') == "$partitions" ]] && return
        sleep 0.1
    done
    fail "topic $name has no leaders after 10 s"
}

latency() {
    local dir=$1 address
    running "$dir" >/dev/null || fail "no Kafka runs in $dir"
    address=$(sed -n 's/^KAFKA=//p' "$dir/env")
    exec "$home/java" -Xmx128m -Dlandfall.log.level=WARN \
        -Dlog4j2.configurationFile="$shipped/log4j2.properties" -cp "$home/jars/*" \
        org.apache.kafka.tools.EndToEndLatency --bootstrap-server "$address" --topic "$2" \
        --num-records "$3" --producer-acks all --record-size 256
}

case ${1:-} in
topic)
    (($# >= 4)) || fail "usage: kafka.sh topic DIR NAME PARTITIONS [KEY=VALUE]..."
    topic "$(absolute "$2")" "${@:3}"
    ;;
latency)
    (($# == 4)) || fail "usage: kafka.sh latency DIR TOPIC MESSAGES"
    latency "$(absolute "$2")" "$3" "$4"
    ;;
*) main "$@" ;;
esac
