# For scripts that run a landfall between real systems (sourced, after `root` and `systems` are set): `scratch`, a
# directory that goes with the script; `pids`, of what it started and ends; `binary`, a release build unless given.

scratch=$(mktemp -d)
pids=()

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# Ends what was started here, by its pid.
leave() {
    local pid
    for pid in "${pids[@]}"; do
        kill -TERM "$pid" 2>/dev/null || true
    done
    for pid in "${pids[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    "$systems/kafka.sh" stop "$scratch/kafka" || true
    "$systems/mosquitto.sh" stop "$scratch/mosquitto" || true
    rm -rf "$scratch"
}
trap leave EXIT
trap 'exit 130' INT TERM

# Waits up to 30 s until file $1 holds the text $2.
await_text() {
    local try
    for ((try = 0; try < 300; try++)); do
        grep -qF -- "$2" "$1" 2>/dev/null && return
        sleep 0.1
    done
    cat "$1" >&2
    fail "no '$2' within 30 s"
}

# Starts Mosquitto and Kafka, and sets `mosquitto` and `kafka` to their addresses.
start_systems() {
    "$systems/install.sh" kafka
    "$systems/install.sh" mosquitto
    "$systems/mosquitto.sh" start "$scratch/mosquitto" --owner $$ >"$scratch/env"
    "$systems/kafka.sh" start "$scratch/kafka" --owner $$ >>"$scratch/env"
    mosquitto=$(sed -n 's/^MOSQUITTO=//p' "$scratch/env")
    kafka=$(sed -n 's/^KAFKA=//p' "$scratch/env")
}

binary=${BINARY:-}
if [[ -z $binary ]]; then
    (cd "$root" && cargo build --release --quiet)
    binary=${CARGO_TARGET_DIR:-$root/target}/release/landfall
fi
