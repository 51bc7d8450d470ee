#!/usr/bin/env bash
# landfall, the floor and other load tools in one run against one Mosquitto on loopback: CPU seconds of the
# tool's own processes for a million messages, highest rate, memory of an idle client.
#
#     benches/tools/compare.sh [--quick] [--readme] [--rounds N] [--seconds N] [--again]
#
# Every tool sends 16 B, 256 B and 1 KiB at QoS 0, 1 and 2 from 100 clients, paced at 10,000/s and flat out,
# 3 and 2 s each; then all of it again, 3 rounds in turn, as far as 24 minutes allow.
# --quick: 256 B, one round, 5 s each, as far as 4 minutes allow.
# What arrived is what Mosquitto counted ($SYS); a tool that says more is marked. The highest rate is what
# Mosquitto read between a tenth and nine tenths of it, and memory is what 999 further idle clients add.
#
# Prints the tables, which --readme puts into README.md, too; each run is a line in studies/load-tools/.
# --again asks the registries anew for what was refused. From the environment: BINARY (a landfall to measure
# instead of a release build).

set -euo pipefail
export LC_ALL=C
export PATH="$PATH:/usr/sbin:/usr/local/sbin"

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
systems=$root/tests/systems
here=$root/benches/tools
sizes=(256 16 1024)
rounds=3
seconds=3
flat_seconds=2
budget=1440
out=$root/studies/load-tools/$(date -u +%F).jsonl
readme=()
again=()
while (($# > 0)); do
    case $1 in
    --quick) sizes=(256) rounds=1 seconds=5 flat_seconds=5 budget=220 out=${out%.jsonl}-quick.jsonl ;;
    --readme) readme=(--readme "$root/README.md") ;;
    --again) again=(--again) ;;
    --rounds) rounds=$2 && shift ;;
    --seconds) seconds=$2 flat_seconds=$2 && shift ;;
    *)
        echo "compare.sh: what is $1?" >&2
        exit 2
        ;;
    esac
    shift
done

scratch=$(mktemp -d)
leave() {
    "$systems/mosquitto.sh" stop "$scratch/mosquitto" || true
    rm -rf "$scratch"
}
trap leave EXIT
runner=
trap '[[ -z $runner ]] || kill "$runner"; wait; exit 130' INT TERM

"$here/install.sh" "${again[@]}" >"$scratch/installed"
cd "$root"
binary=${BINARY:-}
commit='as given'
if [[ -z $binary ]]; then
    commit=$(git rev-parse --short HEAD)
    cargo build --release --quiet --locked --bin landfall
    binary=${CARGO_TARGET_DIR:-$root/target}/release/landfall
fi
# Where cargo has put a bench is in what it says of it.
bench() {
    cargo bench --quiet --locked --no-run --message-format=json --bench "$1" |
        sed -n "s/.*\"name\":\"$1\".*\"executable\":\"\([^\"]*\)\".*/\1/p" | tail -n 1
}
floor=$(bench floor)
bare=$(bench bare_client)

ulimit -n "$(ulimit -Hn)" # Mosquitto and some tools hold a thousand sockets and more
"$systems/mosquitto.sh" start "$scratch/mosquitto" --owner $$ --config 'sys_interval 1' \
    --config 'connection_messages false' >"$scratch/env"
mkdir -p "$(dirname "$out")"
port=$(sed -n 's/^MOSQUITTO=.*://p' "$scratch/env")
pid=$(sed -n 's/^MOSQUITTO_PID=//p' "$scratch/env")
version=$({ mosquitto -h || true; } | sed -n 's/^mosquitto version //p')
PYTHONDONTWRITEBYTECODE=1 python3 "$here/compare.py" --port "$port" --pid "$pid" --mosquitto "$version" \
    --scratch "$scratch" --installed "$(cat "$scratch/installed")" --landfall "$binary" \
    --commit "$commit" --floor "$floor" --bare "$bare" --rounds "$rounds" \
    --seconds "$seconds" --flat-seconds "$flat_seconds" --budget "$budget" --sizes "${sizes[@]}" \
    --out "$out" "${readme[@]}" &
runner=$!
wait "$runner"
