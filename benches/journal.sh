#!/usr/bin/env bash
# What state_dir costs: two landfalls side by side over the same real Mosquitto, reference bridge and
# Apache Kafka, one without and one with it, so that whatever the machine does meanwhile hits both.
#
#     benches/journal.sh [MINUTES]     (3 without it)
#
# Prints a line a minute, then a table: CPU (user and system time from /proc/PID/stat, as a share of one
# core), the bytes that were handed to files and that went to the disk (/proc/PID/io), and, where strace is
# installed, which threads waited for a disk in 20 s. From the environment: RATE (1000 messages/s each) and
# BINARY (a landfall to measure instead of a release build).

set -euo pipefail
export LC_ALL=C

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
systems=$root/tests/systems
# shellcheck source=benches/plant/systems.sh
. "$root/benches/plant/systems.sh"
minutes=${1:-3}
rate=${RATE:-1000}
hz=$(getconf CLK_TCK)
kinds=(without with)

# Prints CPU ticks of process $1, and the bytes that it wrote: by its calls, and to the disk.
usage() {
    local fields
    read -ra fields <"/proc/$1/stat" || fail "landfall has ended: $(cat "$scratch"/log.*)"
    echo "$((fields[13] + fields[14])) $(awk '/^(wchar|write_bytes):/ { printf "%s ", $2 }' "/proc/$1/io")"
}

# Prints what process $1 published so far.
published() {
    exec 3<>"/dev/tcp/127.0.0.1/$1"
    printf 'GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
    awk '/^landfall_published_messages_total/ { sum += $2 } END { print sum + 0 }' <&3
    exec 3>&-
}

start_systems

declare -A landfall port
for kind in "${kinds[@]}"; do
    "$systems/kafka.sh" topic "$scratch/kafka" "$kind" 3 message.timestamp.type=LogAppendTime
    "$binary" bridge --mqtt "$mosquitto" --kafka "$kafka" --topic "$kind" --client-id "$kind" \
        --filter "landfall/$kind/#" >"$scratch/bridge.$kind" 2>&1 &
    pids+=($!)
    await_text "$scratch/bridge.$kind" subscribed
    cat >"$scratch/$kind.yaml" <<YAML
probe: $kind
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
      topics: [$kind]
telemetry: { listen: "127.0.0.1:0" }
YAML
done
echo "state_dir: $scratch/state" >>"$scratch/with.yaml"
for kind in "${kinds[@]}"; do
    "$binary" run -c "$scratch/$kind.yaml" --log info >"$scratch/log.$kind" 2>&1 &
    landfall[$kind]=$!
    pids+=($!)
    await_text "$scratch/log.$kind" 'listening on http://'
    port[$kind]=$(sed -n 's/.*listening on http:.*:\([0-9]*\).*/\1/p' "$scratch/log.$kind")
done

sleep 10
declare -A ticks calls disk sent
for kind in "${kinds[@]}"; do
    sent[$kind]=$(published "${port[$kind]}")
    ((sent[$kind] > 0)) || fail "nothing flows: $(cat "$scratch/log.$kind")"
    read -r "ticks[$kind]" "calls[$kind]" "disk[$kind]" < <(usage "${landfall[$kind]}")
done
read -r first _ </proc/uptime
for ((minute = 1; minute <= minutes; minute++)); do
    sleep 60
    read -r now _ </proc/uptime
    printf '%4d min, CPU ticks:' "$minute"
    for kind in "${kinds[@]}"; do
        read -r spent _ < <(usage "${landfall[$kind]}")
        printf ' %s %d' "$kind" "$((spent - ticks[$kind]))"
    done
    echo
done

echo
echo '| state_dir | messages/s | CPU, % of a core | bytes/s written | bytes/s to the disk |'
echo '|---|---|---|---|---|'
declare -A cpu
for kind in "${kinds[@]}"; do
    read -r spent written forced < <(usage "${landfall[$kind]}")
    now_sent=$(published "${port[$kind]}")
    read -r now _ </proc/uptime
    cpu[$kind]=$((spent - ticks[$kind]))
    awk -v kind="$kind" -v seconds="$now" -v first="$first" -v hz="$hz" -v spent="${cpu[$kind]}" \
        -v sent="$((now_sent - sent[$kind]))" -v written="$((written - calls[$kind]))" \
        -v forced="$((forced - disk[$kind]))" 'BEGIN {
            length_s = seconds - first
            printf "| %s | %.0f | %.2f | %.0f | %.0f |\n", kind, sent / length_s,
                100 * spent / hz / length_s, written / length_s, forced / length_s
        }'
done
awk -v with="${cpu[with]}" -v without="${cpu[without]}" \
    'BEGIN { printf "\nCPU with it over CPU without it: %.2f\n", with / without }'

if command -v strace >/dev/null; then
    timeout -s INT 20 strace -f -qq -e trace=fsync,fdatasync,sync_file_range,msync,sync,syncfs \
        -o "$scratch/strace" -p "${landfall[with]}" || true
    echo 'Calls that wait for a disk in 20 s, by thread:'
    # What a thread is called is asked while it lives.
    awk '/sync/ && !/resumed/ { print $1 }' "$scratch/strace" | sort | uniq -c | while read -r count thread; do
        echo "  $(cat "/proc/${landfall[with]}/task/$thread/comm"): $count"
    done
fi

for kind in "${kinds[@]}"; do
    kill -TERM "${landfall[$kind]}"
    code=0
    wait "${landfall[$kind]}" || code=$?
    ((code <= 1)) || fail "landfall ended with $code: $(cat "$scratch/log.$kind")"
    grep -E '^(passed|failed|invalid)' "$scratch/log.$kind" | head -n 1
done
