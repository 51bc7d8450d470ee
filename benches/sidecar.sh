#!/usr/bin/env bash
# What landfall costs as a sidecar: CPU and memory of `landfall run` at 100 messages/s, QoS 0, 1 and 2,
# over real Mosquitto, the reference bridge and real Apache Kafka.
#
#     benches/sidecar.sh [MINUTES]     (10 without it)
#
# Prints a line every 30 s, then a table. CPU is user and system time from /proc/PID/stat over the
# measured time, as a share of one core; it begins when messages flow. From the environment: RATE, LANES
# (mqtt_kafka, as by default; or "mqtt_kafka, mqtt_mqtt") and BINARY (a landfall to measure instead of a
# release build).

set -euo pipefail
export LC_ALL=C

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
systems=$root/tests/systems
# shellcheck source=benches/plant/systems.sh
. "$root/benches/plant/systems.sh"
minutes=${1:-10}
rate=${RATE:-100}
lanes=${LANES:-mqtt_kafka}
hz=$(getconf CLK_TCK)

# Prints CPU ticks and threads of process $1 (proc(5), stat; its name holds no blank), and its resident
# and anonymous memory in kB.
usage() {
    local fields
    read -ra fields <"/proc/$1/stat" || fail "landfall has ended: $(cat "$scratch/log")"
    echo "$((fields[13] + fields[14])) ${fields[19]} $(awk '/^(Rss|Anonymous):/ { printf "%s ", $2 }' \
        "/proc/$1/smaps_rollup")"
}

now() {
    local seconds
    read -r seconds _ </proc/uptime
    echo "$seconds"
}

start_systems
"$systems/kafka.sh" topic "$scratch/kafka" sidecar 3 message.timestamp.type=LogAppendTime

"$binary" bridge --mqtt "$mosquitto" --kafka "$kafka" --topic sidecar --filter 'landfall/#' \
    >"$scratch/bridge" 2>&1 &
pids+=($!)
await_text "$scratch/bridge" subscribed

cat >"$scratch/landfall.yaml" <<YAML
probe: sidecar
paths:
  - name: telemetry
    mqtt:
      url: mqtt://$mosquitto
      topic: landfall/{probe}/{client}
      qos: [0, 1, 2]
      clients: 3
      rate: $rate/s
      payload: { size: 256, format: json }
    kafka:
      brokers: ["$kafka"]
      topics: [sidecar]
    lanes: [$lanes]
telemetry: { listen: "127.0.0.1:0" }
YAML
"$binary" run -c "$scratch/landfall.yaml" --report "$scratch/report" --log info \
    >"$scratch/log" 2>&1 &
landfall=$!
pids+=("$landfall")
await_text "$scratch/log" 'listening on http://'
port=$(sed -n 's/.*listening on http:.*:\([0-9]*\).*/\1/p' "$scratch/log")

# A scrape, such as Prometheus makes every 15 s, is part of what a sidecar has to do.
scrape() {
    exec 3<>"/dev/tcp/127.0.0.1/$port"
    printf 'GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
    cat <&3
    exec 3>&-
}

sleep 5
scrape | grep -q '^landfall_published_messages_total.* [1-9]' || fail "nothing flows: $(cat "$scratch/log")"
read -r first_ticks _ < <(usage "$landfall")
first=$(now)
last_ticks=$first_ticks
last=$first
printf '%8s %8s %8s %13s %8s\n' seconds 'CPU %' 'RSS MB' 'anonymous MB' threads
for ((step = 0; step < minutes * 2; step++)); do
    sleep 15
    scrape >/dev/null
    sleep 15
    scrape >/dev/null
    read -r ticks_now threads rss anonymous < <(usage "$landfall")
    time_now=$(now)
    awk -v now="$time_now" -v first="$first" -v last="$last" -v hz="$hz" \
        -v spent="$((ticks_now - last_ticks))" -v rss="$rss" -v anonymous="$anonymous" \
        -v threads="$threads" 'BEGIN {
            printf "%8.0f %8.2f %8.1f %13.1f %8d\n", now - first, 100 * spent / hz / (now - last),
                rss * 1.024e-3, anonymous * 1.024e-3, threads
        }' | tee -a "$scratch/samples"
    last_ticks=$ticks_now
    last=$time_now
done

# Lowest, median and highest of column $1.
spread() {
    awk -v column="$1" '{ print $column }' "$scratch/samples" | sort -n | awk '
        { value[NR] = $1 }
        END { printf "%s / %s / %s", value[1], value[int((NR + 1) / 2)], value[NR] }'
}

cpu=$(awk -v spent="$((last_ticks - first_ticks))" -v hz="$hz" -v first="$first" -v last="$last" \
    'BEGIN { printf "%.2f", 100 * spent / hz / (last - first) }')
echo
echo '| lanes | messages/s | minutes | CPU, % of a core: mean (per 30 s: min / median / max) | resident MB: min / median / max | threads |'
echo '|---|---|---|---|---|---|'
echo "| $lanes | $rate | $minutes | $cpu ($(spread 2)) | $(spread 3) | $threads |"

kill -TERM "$landfall"
code=0
wait "$landfall" || code=$?
echo
grep -v -e '^$' "$scratch/log" | tail -n 12
((code == 0)) || fail "landfall ended with $code"
