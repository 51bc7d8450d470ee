#!/usr/bin/env bash
# Starts the Kafka node of a stack and creates its topics.
#
#     start.sh PROPERTIES TOPIC...
#
# TOPIC is NAME, or NAME:compact for one that keeps the last record of each key. Existing topics stay
# as they are. /tmp/topics, or what KAFKA_READY names, exists once all of them are there; the health
# check looks for it. KAFKA_HOME is where Kafka lies, /opt/kafka without it.

set -euo pipefail

tools=${KAFKA_HOME:-/opt/kafka}/bin
ready=${KAFKA_READY:-/tmp/topics}
properties=$1
shift
broker=$(sed -n 's/^advertised\.listeners=PLAINTEXT:\/\/\([^,]*\).*/\1/p' "$properties")
# Any 16 bytes in base64url will do, but one that begins with '-' would be taken for an option.
cluster=bGFuZGZhbGwtc3RhY2stMQ

# Waits for the broker, then creates one topic after the other, each until that works: what a topic lacks
# shows in the log of the container, and in that it never becomes healthy.
create_topics() {
    local topic settings
    # A tool of Kafka's takes a processor for seconds, which the broker needs meanwhile.
    until (exec 3<>"/dev/tcp/${broker%:*}/${broker##*:}") 2>/dev/null; do
        sleep 0.5
    done
    for topic in "$@"; do
        # Its append time is what landfall holds against the moment of acknowledgement.
        settings=(--config message.timestamp.type=LogAppendTime)
        [[ $topic != *:compact ]] || settings+=(--config cleanup.policy=compact)
        until "$tools/kafka-topics.sh" --bootstrap-server "$broker" --create --if-not-exists \
            --topic "${topic%%:*}" --partitions 3 --replication-factor 1 "${settings[@]}"; do
            sleep 1
        done
    done
    touch "$ready"
}

rm -f "$ready"
"$tools/kafka-storage.sh" format --ignore-formatted --cluster-id "$cluster" --config "$properties"
create_topics "$@" &
exec "$tools/kafka-server-start.sh" "$properties"
