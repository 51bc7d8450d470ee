#!/usr/bin/env bash
# Holds dashboards against the types that Grafana publishes of each of its major versions.
#
#     grafana-schema.sh install
#     grafana-schema.sh check FILE.json...
#
# `install` fetches the types (@grafana/schema) and a TypeScript compiler from npm, in the versions of
# grafana-schema/package-lock.json, into ${LANDFALL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/landfall}; it
# needs npm, which install.sh brings, and is quiet when nothing is to be done. `check` compiles each file
# as a value of the type in grafana-schema/dashboard.ts, once for each major version, prints what the
# compiler complains about and fails if that is anything at all.
set -euo pipefail

systems=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${LANDFALL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/landfall}
home=$cache/grafana-schema
majors=(10 11 12 13)
panels=(bargauge heatmap stat statetimeline table timeseries)

fail() {
    echo "grafana-schema.sh: $*" >&2
    exit 1
}

# The stamp is written last and holds the digest of what is pinned, so an interrupted or outdated copy
# is redone.
install() {
    local digest
    digest=$(cat "$systems"/grafana-schema/package*.json | sha256sum)
    [[ $(cat "$home/complete" 2>/dev/null) == "$digest" ]] && return
    command -v npm >/dev/null || fail "npm is missing; tests/systems/install.sh grafana-schema brings it"
    echo "grafana-schema.sh: fetching the types of Grafana ${majors[*]} from npm" >&2
    rm -rf "$home"
    mkdir -p "$home"
    cp "$systems"/grafana-schema/package*.json "$home"
    npm ci --prefix "$home" --no-audit --no-fund --ignore-scripts >"$cache/npm.log" 2>&1 </dev/null || {
        tail -n 20 "$cache/npm.log" >&2
        fail "npm could not fetch the types; the end of its output is above"
    }
    echo "$digest" >"$home/complete"
}

# Prints the only file of major version $1 that matches $2; versions lay their files out differently.
declaration() {
    local found
    mapfile -t found < <(find "$home/node_modules/schema$1/dist" -path "$2" | sort)
    ((${#found[@]} > 0)) || fail "the types of Grafana $1 have no $2"
    echo "${found[0]}"
}

# Prints the compiler's configuration for a major version.
configuration() {
    local panel
    printf '%s' '{"compilerOptions": {"noEmit": true, "strict": true, "skipLibCheck": true, "types": [],'
    printf '%s' ' "module": "esnext", "moduleResolution": "bundler", "target": "es2022", "paths": {'
    for panel in "${panels[@]}"; do
        printf '"panel/%s": ["%s"], ' "$panel" \
            "$(declaration "$1" "*/composable/$panel/panelcfg/x/*.d.ts")"
    done
    printf '"@grafana/schema": ["%s"]}}, "include": ["*.ts"]}\n' "$(declaration "$1" '*/index.d.ts')"
}

# A literal keeps what an import of JSON would lose: the very values of its strings, and the right to
# complain about a field that the type does not know.
check() {
    local scratch file major failed=0
    scratch=$(mktemp -d)
    # shellcheck disable=SC2064 # the directory of now
    trap "rm -rf '$scratch'" EXIT
    cp "$systems/grafana-schema/dashboard.ts" "$scratch/dashboard.ts"
    for file in "$@"; do
        {
            echo 'import type { Dashboard } from "./dashboard";'
            echo 'export default ('
            cat "$file"
            echo ') satisfies Dashboard;'
        } >"$scratch/$(basename "$file" .json).json.ts"
    done
    for major in "${majors[@]}"; do
        configuration "$major" >"$scratch/tsconfig.json"
        (cd "$scratch" && node "$home/node_modules/typescript/bin/tsc" --pretty false) >"$scratch/said" 2>&1 || {
            echo "Grafana $major:"
            cat "$scratch/said"
            failed=1
        }
    done
    return "$failed"
}

case ${1:-} in
install) install ;;
check)
    shift
    (($# > 0)) || fail "which files are to be checked?"
    check "$@"
    ;;
*) fail "usage: grafana-schema.sh install | check FILE.json..." ;;
esac
