#!/usr/bin/env bash
# Installs the load tools that landfall is compared with, each once, under $LANDFALL_CACHE/tools.
#
#     install.sh [--again]
#
# Prints a line for each tool: `NAME VERSION PATH`, or `NAME - why it is not there`. A tool that could not be
# installed is not asked for again, unless with --again; what its installer said is in tools/NAME.log.

set -euo pipefail

cache=${LANDFALL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/landfall}
tools=$cache/tools
systems=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../tests/systems" && pwd)
again=${1:-}
mkdir -p "$tools"
exec 9>"$tools/lock"
flock 9

# Installs binary $3 of crate $1 in version $2. Not --locked: one of the crates locks a version that is
# no longer offered.
crate() {
    local name=$1 version=$2 home=$tools/$1-$2
    local binary=$home/bin/$3
    [[ $again != --again ]] || rm -f "$home.refused"
    if [[ ! -x $binary && ! -e $home.refused ]]; then
        echo "install.sh: building $name $version" >&2
        if ! CARGO_TARGET_DIR=$home.build cargo install "$name" --version "$version" --root "$home" \
            >"$home.log" 2>&1 </dev/null; then
            grep -m 1 '^error' "$home.log" >"$home.refused" || echo 'cargo install failed' >"$home.refused"
        fi
        rm -rf "$home.build"
    fi
    if [[ -x $binary ]]; then
        echo "$name $version $binary"
    else
        echo "$name - $(cat "$home.refused")"
    fi
}

crate mqttv5-cli 0.29.10 mqttv5
crate mqtt-benchmark 0.2.4 mqtt-benchmark
"$systems/install.sh" mosquitto >&2
if publisher=$(command -v mosquitto_pub); then
    echo "mosquitto_pub $("$publisher" --version 2>&1 | sed -n 's/.*version \([0-9.]*\).*/\1/p' | head -n 1) $publisher"
else
    echo 'mosquitto_pub - mosquitto-clients is not installed'
fi
