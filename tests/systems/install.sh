#!/usr/bin/env bash
# Installs the real systems of the integration tests on Debian 12, without a container engine.
#
#     install.sh kafka|mosquitto|kcat|all
#
# Debian packages come by apt-get (as root or with sudo), Apache Kafka from Maven Central. Downloads
# stay under ${LANDFALL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/landfall}. Quiet when nothing is to be done.

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

install_mosquitto() {
    local packages=()
    have mosquitto || packages+=(mosquitto)
    have mosquitto_pub || packages+=(mosquitto-clients)
    ((${#packages[@]} == 0)) && return
    debian "${packages[@]}"
    # The package also enables its service for the next boot; the tests run brokers of their own.
    if [[ " ${packages[*]} " == *" mosquitto "* && -d /run/systemd/system ]]; then
        as_root systemctl -q disable mosquitto.service
    fi
}

install_kcat() {
    have kcat || debian kcat
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

# The jars in $cache/kafka/jars and the Java that runs them as $cache/kafka/java. The stamp is
# written last and holds the digest of the list of jars, so an interrupted or outdated copy is redone.
install_kafka() {
    local home=$cache/kafka digest java
    digest=$(sha256sum <"$systems/pom.xml")
    [[ -x $home/java && $(cat "$home/complete" 2>/dev/null) == "$digest" ]] && return
    java_17 >/dev/null || debian openjdk-17-jre-headless
    have mvn || debian maven
    java=$(java_17) || fail "no Java 17 after its installation"
    echo "install.sh: fetching Apache Kafka from Maven Central" >&2
    rm -rf "$home"
    mkdir -p "$home"
    mvn -q -B -C -f "$systems/pom.xml" -Dmaven.repo.local="$cache/maven" \
        org.apache.maven.plugins:maven-dependency-plugin:copy-dependencies \
        -DoutputDirectory="$home/jars" -DincludeScope=runtime >"$cache/maven.log" 2>&1 </dev/null || {
        tail -n 20 "$cache/maven.log" >&2
        fail "Maven could not fetch Apache Kafka; the end of its output is above"
    }
    ln -s "$java" "$home/java"
    echo "$digest" >"$home/complete"
}

mkdir -p "$cache"
exec 9>"$cache/lock" # test programs run side by side; one of them installs
flock 9

case ${1:-} in
kafka)
    install_kcat # kafka.sh asks for metadata with it
    install_kafka
    ;;
mosquitto) install_mosquitto ;;
kcat) install_kcat ;;
all)
    install_mosquitto
    install_kcat
    install_kafka
    ;;
*) fail "usage: install.sh kafka|mosquitto|kcat|all" ;;
esac
