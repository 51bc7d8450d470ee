# shellcheck shell=bash
# What kafka.sh and mosquitto.sh share: free ports, and one process in the background per directory.
# Sourced. The directory holds `pid`, `env` (what the process offers, as KEY=VALUE lines) and `log`.

set -euo pipefail
export PATH="$PATH:/usr/sbin:/usr/local/sbin"

systems=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# An absolute path without symlinks: a process is recognised by the paths in its command line.
absolute() {
    realpath -m -- "$1"
}

# Prints so many different loopback ports that the kernel lets us bind now.
#
# They lie below the range of outgoing connections: while a system is down for a restart, a client
# that tries to reconnect could otherwise be given its port as a local one and keep it.
free_ports() {
    perl -MIO::Socket::INET -e '
        my ($wanted) = @ARGV;
        open my $range, "<", "/proc/sys/net/ipv4/ip_local_port_range" or die "no port range: $!";
        my ($low) = split " ", <$range>;
        my ($first, $last) = (10240, $low - 1);
        my @held;
        for (1 .. 1000) {
            last if @held == $wanted;
            my $port = $last - $first > 1000 ? $first + int rand($last - $first + 1) : 0;
            my $socket = IO::Socket::INET->new(
                LocalAddr => "127.0.0.1", LocalPort => $port, Proto => "tcp", Listen => 1);
            push @held, $socket if $socket;
        }
        @held == $wanted or die "no free port on 127.0.0.1\n";
        print join(" ", map { $_->sockport } @held), "\n";
    ' "$1"
}

# Prints the pid of the process of directory $1, whose command line must hold the argument $2.
# Fails when it does not run; a pid that now belongs to somebody else counts as not running.
running() {
    local pid
    pid=$(cat "$1/pid" 2>/dev/null) || return 1
    [[ $pid =~ ^[0-9]+$ ]] || return 1
    { tr '\0' '\n' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qxF -- "$2" || return 1
    echo "$pid"
}

# Waits up to $3 seconds until the process of directory $1 with argument $2 has ended.
ended() {
    local try
    for ((try = 0; try < $3 * 20; try++)); do
        running "$1" "$2" >/dev/null || return 0
        sleep 0.05
    done
    return 1
}

# Ends the process of directory $1 that has the argument $2: with SIGKILL if $3 is `kill`, else with
# SIGTERM and, 20 s later, SIGKILL. Quiet when nothing runs. Data stay.
end_process() {
    local pid
    if pid=$(running "$1" "$2"); then
        [[ $3 == kill ]] || { kill -TERM "$pid" 2>/dev/null && ended "$1" "$2" 20; } ||
            echo "${0##*/}: process $pid did not end within 20 s of SIGTERM, killing it" >&2
        if pid=$(running "$1" "$2"); then
            kill -KILL "$pid" 2>/dev/null || true
            ended "$1" "$2" 10 || fail "process $pid survives SIGKILL"
        fi
    fi
    rm -f "$1/pid" "$1/env"
}

# Waits until the log of directory $1 shows the text $3 behind byte $2 and the command $4... holds.
# Returns 1 when the process, a child of this shell, ended first; 2 after 60 s.
await_ready() {
    local dir=$1 from=$2 text=$3 deadline=$((SECONDS + 60)) pid
    pid=$(cat "$dir/pid")
    shift 3
    while ((SECONDS < deadline)); do
        if log_since "$dir" "$from" | grep -F -- "$text" >/dev/null && "$@" >/dev/null 2>&1; then
            return 0
        fi
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.1
    done
    return 2
}

log_size() {
    stat -c %s "$1/log" 2>/dev/null || echo 0
}

log_since() {
    tail -c +$(($2 + 1)) "$1/log"
}

# Explains a start that did not come about, from the log of directory $1 behind byte $2.
not_ready() {
    log_since "$1" "$2" | tail -n 40 >&2
    fail "not ready within 60 s, or ended; the last lines of $1/log are above"
}

# Writes $2... as the lines of $1/env in one step, and prints them.
offer() {
    local dir=$1
    shift
    printf '%s\n' "$@" >"$dir/env.new"
    mv "$dir/env.new" "$dir/env"
    cat "$dir/env"
}

# Stops the system of directory $2 when process $1 is gone, so that an aborted test leaves nothing.
stop_after() {
    # shellcheck disable=SC2016 # the inner shell expands them
    setsid bash -c 'tail --pid="$1" -s 1 -f /dev/null; exec "$2" stop "$3"' \
        watch "$1" "$systems/${0##*/}" "$2" </dev/null >/dev/null 2>&1 &
}

# Does $1 (start, stop, kill or restart) to the process of directory $2, whose configuration $3 lies in
# it; further arguments are for start. The script that sources this says how: start and launch.
act() {
    local action=$1 dir=$2 configuration=$2/$3 state=0
    shift 3
    case $action in
    start) start "$dir" "$@" ;;
    stop | kill) end_process "$dir" "$configuration" "$action" ;;
    restart)
        [[ -e $configuration ]] || fail "$dir never held such a process: use start"
        end_process "$dir" "$configuration" stop
        launch "$dir" || state=$?
        ((state == 0)) || fail "somebody else took its port"
        ;;
    *) fail "what is '$action'?" ;;
    esac
}
