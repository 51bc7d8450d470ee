#!/usr/bin/env bash
# Prints the path of a Python interpreter that has kafka-python, installing what is missing.
# The environment is kept outside the repository, so that the next run finds it.
set -euo pipefail

version=3.0.12
cache="${XDG_CACHE_HOME:-$HOME/.cache}/landfall"
environment="$cache/kafka-python-$version"
python="$environment/bin/python"

ready() { "$python" -c "import kafka; assert kafka.__version__ == '$version'" 2>/dev/null; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

mkdir -p "$cache"
exec 9>"$cache/kafka-python.lock"
flock 9
if ! ready; then
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        as_root apt-get update -q >&2
        as_root apt-get install -q -y --no-install-recommends python3-venv >&2
    fi
    rm -rf "$environment"
    python3 -m venv "$environment" >&2
    "$environment/bin/pip" install --quiet --disable-pip-version-check "kafka-python==$version" >&2
    ready || { echo "kafka-python $version does not load in $environment" >&2; exit 1; }
fi
echo "$python"
