#!/usr/bin/env bash
# Installs the real systems of the integration tests on Debian 12, without a container engine.
#
#     install.sh kafka|mosquitto|kcat|tools|collector|prometheus|chromium|grafana-schema|manifests|camel|all
#
# Debian packages come by apt-get (as root or with sudo), Apache Kafka and Camel from Maven Central. The
# OpenTelemetry Collector is built once from Go modules, by a Go that comes the same way where there
# is none or an old one; so is what reads compose/, with the schemas of Kubernetes and of the
# Prometheus Operator. The types of Grafana's dashboards come from npm. Except for Debian's packages
# and the caches that Go keeps of its own, all stays under
# ${LANDFALL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/landfall}. Quiet when nothing is to be done.

set -euo pipefail
export PATH="$PATH:/usr/sbin:/usr/local/sbin"

systems=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${LANDFALL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/landfall}
policy=/usr/sbin/policy-rc.d
policy_is_ours=

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

as_root() {
    if [[ $(id -u) == 0 ]]; then
        "$@"
    elif [[ -t 0 ]]; then
        sudo "$@"
    else
        sudo -n "$@" # nobody is there to type a password
    fi
}

# Debian starts a daemon as soon as its package is installed, unless this file says no.
forbid_daemons() {
    [[ -e $policy ]] && return
    policy_is_ours=yes
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
}

permit_daemons() {
    [[ -z $policy_is_ours ]] || as_root rm -f "$policy"
}
trap permit_daemons EXIT

# Installs Debian packages; package lists are fetched only if the first attempt fails.
debian() {
    echo "install.sh: installing Debian packages: $*" >&2
    local log=$cache/apt.log
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=300
        install --no-install-recommends "$@")
    forbid_daemons
    as_root "${install[@]}" >"$log" 2>&1 </dev/null && return
    { as_root apt-get -q -o DPkg::Lock::Timeout=300 update && as_root "${install[@]}"; } \
        >"$log" 2>&1 </dev/null && return
    tail -n 20 "$log" >&2
    fail "apt-get could not install $*; the end of its output is above"
}

have() {
    command -v "$1" >/dev/null
}

# A package also enables its service for the next boot; the tests run processes of their own.
disable() {
    as_root update-rc.d "$1" disable # for systemd as well
}

install_mosquitto() {
    local packages=()
    have mosquitto || packages+=(mosquitto)
    have mosquitto_pub || packages+=(mosquitto-clients)
    ((${#packages[@]} == 0)) && return
    debian "${packages[@]}"
    [[ " ${packages[*]} " != *" mosquitto "* ]] || disable mosquitto
}

install_prometheus() {
    have prometheus && have promtool && return
    debian prometheus
    disable prometheus
}

install_chromium() {
    local packages=()
    have chromium || packages+=(chromium)
    [[ -n $(fc-list 2>/dev/null) ]] || packages+=(fonts-dejavu-core fontconfig)
    ((${#packages[@]} == 0)) || debian "${packages[@]}"
}

install_kcat() {
    have kcat || debian kcat
}

# What tests make networks and certificates of their own with.
install_tools() {
    local packages=()
    have ip && have ss || packages+=(iproute2)
    have openssl || packages+=(openssl)
    have unshare || packages+=(util-linux)
    have curl || packages+=(curl)
    ((${#packages[@]} == 0)) || debian "${packages[@]}"
}

# Prints a Java launcher of version 17 or newer, which is what Kafka 4 needs.
java_17() {
    local candidate version
    for candidate in "${JAVA_HOME:-/nonexistent}/bin/java" "$(command -v java || true)" \
        /usr/lib/jvm/java-17-openjdk-*/bin/java; do
        [[ -x $candidate ]] || continue
        version=$("$candidate" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
        if ((${version:-0} >= 17)); then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# The jars that the project file $2 lists, in $cache/$1/jars, and the Java that runs them as
# $cache/$1/java; $3 is how to call it. The stamp is written last and holds the digest of the list of
# jars, so an interrupted or outdated copy is redone.
install_jars() {
    local home=$cache/$1 list=$2 name=$3 digest java
    digest=$(sha256sum <"$list")
    [[ -x $home/java && $(cat "$home/complete" 2>/dev/null) == "$digest" ]] && return
    java_17 >/dev/null || debian openjdk-17-jre-headless
    have mvn || debian maven
    java=$(java_17) || fail "no Java 17 after its installation"
    echo "install.sh: fetching $name from Maven Central" >&2
    rm -rf "$home"
    mkdir -p "$home"
    mvn -q -B -C -f "$list" -Dmaven.repo.local="$cache/maven" \
        org.apache.maven.plugins:maven-dependency-plugin:copy-dependencies \
        -DoutputDirectory="$home/jars" -DincludeScope=runtime >"$cache/maven.log" 2>&1 </dev/null || {
        tail -n 20 "$cache/maven.log" >&2
        fail "Maven could not fetch $name; the end of its output is above"
    }
    ln -s "$java" "$home/java"
    echo "$digest" >"$home/complete"
}

install_kafka() {
    install_jars kafka "$systems/pom.xml" "Apache Kafka"
}

# The very jars that compose/hivemq/camel/Dockerfile puts into its image.
install_camel() {
    install_jars camel "$systems/../../compose/hivemq/camel/pom.xml" "Apache Camel"
}

# Prints a Go of version 1.26 or newer, which is what all that is built here needs at most.
go_1_26() {
    local candidate version
    for candidate in "$(command -v go || true)" "$cache/go/bin/go"; do
        version=$("$candidate" env GOVERSION 2>/dev/null) || continue
        if [[ $(printf '%s\n' go1.26 "$version" | sort -V | head -n 1) == go1.26 ]]; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# Debian 12 has Go 1.19. That is too old, but fetches a newer Go as a module, checked against Go's
# checksum database. A module carries no permissions, hence chmod.
install_go() {
    local version=1.26.8 module fetched
    have go || debian golang-go ca-certificates
    echo "install.sh: fetching Go $version" >&2
    module=golang.org/toolchain@v0.0.1-go$version.linux-$(go env GOARCH)
    rm -rf "$cache/go" "$cache/go-modules"
    GOMODCACHE=$cache/go-modules go mod download -json "$module" >"$cache/go.log" 2>&1 </dev/null || {
        tail -n 20 "$cache/go.log" >&2
        fail "$(go version) could not fetch $module; what it said is above"
    }
    fetched=$(sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' "$cache/go.log")
    chmod -R u+w "$cache/go-modules"
    chmod -R +x "$fetched/bin" "$fetched/pkg/tool"
    mv "$fetched" "$cache/go"
    rm -rf "$cache/go-modules"
}

# The Collector as $cache/collector/otelcol, with a stamp as Kafka has it.
install_collector() {
    local home=$cache/collector manifest=$systems/collector-build.yaml digest version go
    digest=$(sha256sum <"$manifest")
    [[ -x $home/otelcol && $(cat "$home/complete" 2>/dev/null) == "$digest" ]] && return
    version=$(sed -n 's/^  version: //p' "$manifest")
    go_1_26 >/dev/null || install_go
    go=$(go_1_26) || fail "no Go 1.26 after its installation"
    echo "install.sh: building OpenTelemetry Collector $version; this takes minutes" >&2
    rm -rf "$home"
    mkdir -p "$home"
    (
        export PATH="${go%/*}:$PATH" GOBIN=$home
        cd "$home" &&
            go install "go.opentelemetry.io/collector/cmd/builder@v$version" &&
            ./builder --config "$manifest"
    ) >"$cache/collector.log" 2>&1 </dev/null || {
        tail -n 20 "$cache/collector.log" >&2
        fail "the Collector could not be built; the end of the output is above"
    }
    mv "$home/build/otelcol" "$home/otelcol"
    rm -rf "$home/build" "$home/builder"
    echo "$digest" >"$home/complete"
}

# What reads compose/, as $cache/manifests/manifests, and the schemas that it holds Kubernetes' objects
# against. Units are read by systemd's own tool.
install_manifests() {
    local home=$cache/manifests source=$systems/manifests digest go module file files=()
    have systemd-analyze || debian systemd
    digest=$(cat "$source"/* | sha256sum)
    [[ -x $home/manifests && $(cat "$home/complete" 2>/dev/null) == "$digest" ]] && return
    go_1_26 >/dev/null || install_go
    go=$(go_1_26) || fail "no Go 1.26 after its installation"
    echo "install.sh: building the readers of compose/" >&2
    rm -rf "$home"
    mkdir -p "$home"
    while read -r module file; do
        # Outside of any module, so that no go.mod is concerned.
        module=$(cd / && "$go" mod download -json "$module" 2>&1 | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
        files+=("$module/$file")
    done < <(grep -v '^#' "$source/schemas.list")
    (cd "$source" && "$go" build -trimpath -o "$home/manifests" . &&
        "$home/manifests" schemas "$home/schemas" "${files[@]}") >"$cache/manifests.log" 2>&1 </dev/null || {
        tail -n 20 "$cache/manifests.log" >&2
        fail "the readers of compose/ could not be built; the end of the output is above"
    }
    echo "$digest" >"$home/complete"
}

# The types of Grafana's dashboards, and the compiler that knows them.
install_grafana_schema() {
    have npm || debian nodejs npm
    "$systems/grafana-schema.sh" install
}

mkdir -p "$cache"
exec 9>"$cache/lock" # test programs run side by side; one of them installs
flock 9

case ${1:-} in
kafka)
    install_kcat # kafka.sh asks for metadata with it
    install_kafka
    ;;
camel) install_camel ;;
manifests) install_manifests ;;
mosquitto) install_mosquitto ;;
kcat) install_kcat ;;
tools) install_tools ;;
collector) install_collector ;;
prometheus) install_prometheus ;;
chromium) install_chromium ;;
grafana-schema) install_grafana_schema ;;
all)
    install_mosquitto
    install_kcat
    install_tools
    install_kafka
    install_prometheus
    install_chromium
    install_grafana_schema
    install_collector
    install_camel
    install_manifests
    ;;
*) fail "usage: install.sh kafka|mosquitto|kcat|tools|collector|prometheus|chromium|grafana-schema|manifests|camel|all" ;;
esac
