#!/usr/bin/env bash
# Runs one Apache Kafka node (broker and KRaft controller) on loopback for the integration tests.
#
#     kafka.sh start DIR [--port N] [--owner PID] [--config KEY=VALUE]...
#     kafka.sh stop|kill|restart DIR
#     kafka.sh topic DIR NAME PARTITIONS [KEY=VALUE]...
#
# DIR holds configuration, log and data; install.sh kafka comes first. `start` waits until the broker
# answers and prints KAFKA=127.0.0.1:PORT and KAFKA_PID=PID, also found in DIR/env. A KEY=VALUE of
# --config overrides the properties written here. With --owner the node is stopped when that process
# is gone. `stop` and `kill` (SIGKILL) keep DIR, `restart` keeps the port. `topic` creates a topic,
# for instance with message.timestamp.type=LogAppendTime, and waits until it has leaders.

# shellcheck source=tests/systems/process.sh
. "$(dirname "${BASH_SOURCE[0]}")/process.sh"

home=${LANDFALL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/landfall}/kafka
# Any 16 bytes in base64url will do, but a random one that begins with '-' is taken for an option.
cluster=bGFuZGZhbGwtdGVzdHMtMQ

# Runs one of Kafka's tools: a class and its arguments.
tool() {
    "$home/java" -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        -Dlandfall.log.level=WARN -Dlog4j2.configurationFile="$systems/log4j2.properties" \
        -cp "$home/jars/*" "$@" </dev/null
}

# The broker session is short, because a killed node may rejoin only after its old session.
configure() {
    local dir=$1 port=$2 controller=$3
    shift 3
    mkdir -p "$dir/data"
    printf '%s\n' \
        'process.roles=broker,controller' \
        'node.id=1' \
        "controller.quorum.voters=1@127.0.0.1:$controller" \
        "listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller" \
        "advertised.listeners=PLAINTEXT://127.0.0.1:$port" \
        'controller.listener.names=CONTROLLER' \
        "log.dirs=$dir/data" \
        'auto.create.topics.enable=false' \
        'broker.heartbeat.interval.ms=500' \
        'broker.session.timeout.ms=3000' \
        'group.initial.rebalance.delay.ms=0' \
        'offsets.topic.replication.factor=1' \
        'offsets.topic.num.partitions=1' \
        'transaction.state.log.replication.factor=1' \
        'transaction.state.log.min.isr=1' \
        'transaction.state.log.num.partitions=1' \
        'share.coordinator.state.topic.replication.factor=1' \
        'share.coordinator.state.topic.min.isr=1' \
        'log.cleaner.dedupe.buffer.size=4194304' \
        "$@" >"$dir/server.properties"
}

format() {
    tool kafka.tools.StorageTool format --ignore-formatted \
        -t "$cluster" -c "$1/server.properties" >>"$1/log" 2>&1 || not_ready "$1" 0
}

# Starts what DIR is configured for; returns 3 if a port was lost to somebody else.
launch() {
    local dir=$1 port from state=0
    port=$(sed -n 's/^advertised.listeners=.*:\([0-9]*\)$/\1/p' "$dir/server.properties" | head -n 1)
    from=$(log_size "$dir")
    setsid "$home/java" -Xms128m -Xmx512m -XX:MaxGCPauseMillis=20 -XX:+ExitOnOutOfMemoryError \
        -Dlog4j2.configurationFile="$systems/log4j2.properties" \
        -cp "$home/jars/*" kafka.Kafka "$dir/server.properties" </dev/null >>"$dir/log" 2>&1 &
    background=$!
    echo "$background" >"$dir/pid"
    await_ready "$dir" "$from" 'Kafka Server started' \
        kcat -L -q -m 2 -b "127.0.0.1:$port" || state=$?
    if ((state == 0)); then
        offer "$dir" "KAFKA=127.0.0.1:$port" "KAFKA_PID=$background"
        return
    fi
    end_process "$dir" "$dir/server.properties" kill
    ! log_since "$dir" "$from" | grep -F 'Address already in use' >/dev/null || return 3
    not_ready "$dir" "$from"
}

start() {
    local dir=$1 port='' owner='' properties=() attempt state ports
    shift
    while (($# >= 2)); do
        case $1 in
        --port) port=$2 ;;
        --owner) owner=$2 ;;
        --config) properties+=("$2") ;;
        *) break ;;
        esac
        shift 2
    done
    (($# == 0)) || fail "start: what is '$1'?"
    running "$dir" "$dir/server.properties" >/dev/null && { cat "$dir/env"; return; }
    [[ -x $home/java && -e $home/complete ]] || fail "no Kafka: run $systems/install.sh kafka first"
    for attempt in 1 2 3 4 5; do
        read -ra ports < <(free_ports 2)
        configure "$dir" "${port:-${ports[0]}}" "${ports[1]}" "${properties[@]}"
        format "$dir"
        state=0
        launch "$dir" || state=$?
        ((state == 3)) || break
        [[ -z $port ]] || fail "port $port of 127.0.0.1 is taken"
    done
    ((state == 0)) || fail "lost $attempt ports to other programs"
    [[ -z $owner ]] || stop_after "$owner" "$dir"
}

topic() {
    local dir=$1 name=$2 partitions=$3 address setting settings=() try
    shift 3
    running "$dir" "$dir/server.properties" >/dev/null || fail "no Kafka runs in $dir"
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

(($# >= 2)) || fail "usage: kafka.sh start|stop|kill|restart|topic DIR ..."
action=$1
dir=$(absolute "$2")
shift 2
if [[ $action == topic ]]; then
    (($# >= 2)) || fail "usage: kafka.sh topic DIR NAME PARTITIONS [KEY=VALUE]..."
    topic "$dir" "$@"
else
    act "$action" "$dir" server.properties "$@"
fi
