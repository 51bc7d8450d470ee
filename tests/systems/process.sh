# shellcheck shell=bash disable=SC2154,SC2034 # the script that sources this sets or reads them
# What the scripts that run a system share: free ports, and one process in the background per
# directory. Sourced. The directory holds `pid`, `ports`, `env` (what the process offers, as
# KEY=VALUE lines), `log` and `data`.
#
# The script that sources this ends with `main "$@"` and says before
#
#     configuration       name of the file in DIR by which its process is recognised
#     ports_needed        how many ports it listens on; --port decides the first one
#     setting             the repeatable option of `start` whose values are handed to configure
#     ready               a text that is in the log once the process is ready
#     installed           whether what install.sh brings is there
#     configure DIR ...   writes the configuration for the ports in the array `ports`
#     run DIR             becomes the process, which has the path of the configuration as an argument
#     answers DIR         whether the process answers
#     offers DIR          prints the lines of `env`, but the one with the pid

set -euo pipefail
export PATH="$PATH:/usr/sbin:/usr/local/sbin"

systems=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
system=$(basename "$0" .sh)
cache=${LANDFALL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/landfall}
ports=()

fail() {
    echo "$system.sh: $*" >&2
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

# Whether the HTTP server at $1 answers a GET of $2 with 200.
answers_http() {
    # shellcheck disable=SC2016 # the inner shell expands them
    timeout 5 bash -c 'exec 3<>"/dev/tcp/${1%:*}/${1#*:}" && printf "GET %s HTTP/1.0\r\n\r\n" "$2" >&3 &&
        read -r status <&3 && [[ $status == *" 200 "* ]]' ask "$1" "$2"
}

# Prints the pid of the process of directory $1. Fails when it does not run; a pid that now belongs
# to somebody else counts as not running.
running() {
    local pid
    pid=$(cat "$1/pid" 2>/dev/null) || return 1
    [[ $pid =~ ^[0-9]+$ ]] || return 1
    { tr '\0' '\n' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qxF -- "$1/$configuration" || return 1
    echo "$pid"
}

# Prints the state of process $1 as one letter, T for stopped and Z for ended but not collected.
state() {
    sed 's/.*) \(.\).*/\1/' "/proc/$1/stat" 2>/dev/null
}

# Waits up to $2 seconds until process $1 has ended with all its threads. Only then its ports are
# free; its command line, by which it is recognised, is gone earlier.
ended() {
    local try threads
    for ((try = 0; try < $2 * 20; try++)); do
        threads=("/proc/$1/task"/*)
        [[ -e /proc/$1 ]] || return 0
        [[ ${#threads[@]} == 1 && $(state "$1") == Z ]] && return
        sleep 0.05
    done
    return 1
}

# Ends the process of directory $1: with SIGKILL if $2 is `kill`, else with SIGTERM and, 20 s later,
# SIGKILL. Quiet when nothing runs. Data stay.
end_process() {
    local pid
    if pid=$(running "$1"); then
        if [[ $2 != kill ]]; then
            # One that was paused hears SIGTERM only when it goes on.
            { kill -TERM "$pid" && kill -CONT "$pid"; } 2>/dev/null || true
            ended "$pid" 20 ||
                echo "$system.sh: process $pid did not end within 20 s of SIGTERM, killing it" >&2
        fi
        ! running "$1" >/dev/null || kill -KILL "$pid" 2>/dev/null || true
        ended "$pid" 10 || fail "process $pid survives SIGKILL"
    fi
    rm -f "$1/pid" "$1/env"
}

# Stops the process of directory $1 where it stands and waits until it has: its connections stay,
# and the kernel goes on taking new ones, but nothing is answered.
pause() {
    local pid try
    pid=$(running "$1") || fail "nothing runs in $1"
    kill -STOP "$pid"
    for ((try = 0; try < 200; try++)); do
        [[ $(state "$pid") == T ]] && return
        sleep 0.05
    done
    fail "process $pid did not stop within 10 s of SIGSTOP"
}

go_on() {
    local pid
    pid=$(running "$1") || fail "nothing runs in $1"
    kill -CONT "$pid"
}

# Waits until the log of directory $1 shows, behind byte $2, that the process is ready, and it answers.
# Returns 1 when the process, a child of this shell, ended first; 2 after 60 s.
await_ready() {
    local deadline=$((SECONDS + 60)) pid
    pid=$(cat "$1/pid")
    while ((SECONDS < deadline)); do
        if log_since "$1" "$2" | grep -F -- "$ready" >/dev/null && answers "$1" >/dev/null 2>&1; then
            return 0
        fi
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.1
    done
    return 2
}

log_size() {
    stat -c %s "$1/log"
}

log_since() {
    tail -c +$(($2 + 1)) "$1/log"
}

# Explains a start that did not come about, from the log of directory $1 behind byte $2.
not_ready() {
    log_since "$1" "$2" | tail -n 40 >&2
    fail "not ready within 60 s, or ended; the last lines of $1/log are above"
}

# Starts what directory $1 is configured for, and prints what it offers. Returns 3 if a port was lost
# to somebody else.
launch() {
    local dir=$1 from pid state=0
    read -ra ports <"$dir/ports"
    touch "$dir/log" # read below, perhaps before the process writes to it
    from=$(log_size "$dir")
    run "$dir" </dev/null >>"$dir/log" 2>&1 &
    pid=$!
    echo "$pid" >"$dir/pid"
    await_ready "$dir" "$from" || state=$?
    if ((state == 0)); then
        # In one step, since others read it.
        { offers "$dir" && echo "${system^^}_PID=$pid"; } >"$dir/env.new"
        mv "$dir/env.new" "$dir/env"
        cat "$dir/env"
        return
    fi
    end_process "$dir" kill
    ! log_since "$dir" "$from" | grep -iF 'address already in use' >/dev/null || return 3
    not_ready "$dir" "$from"
}

# Stops the system of directory $2 when process $1 is gone, so that an aborted test leaves nothing.
stop_after() {
    # shellcheck disable=SC2016 # the inner shell expands them
    setsid bash -c 'tail --pid="$1" -s 1 -f /dev/null; exec "$2" stop "$3"' \
        watch "$1" "$systems/$system.sh" "$2" </dev/null >/dev/null 2>&1 &
}

start() {
    local dir=$1 port='' owner='' settings=() attempt state
    shift
    while (($# >= 2)); do
        case $1 in
        --port) port=$2 ;;
        --owner) owner=$2 ;;
        "$setting") settings+=("$2") ;;
        *) break ;;
        esac
        shift 2
    done
    (($# == 0)) || fail "start: what is '$1'?"
    running "$dir" >/dev/null && { cat "$dir/env"; return; }
    installed || fail "no $system: run $systems/install.sh $system first"
    mkdir -p "$dir/data"
    for attempt in 1 2 3 4 5; do
        read -ra ports < <(free_ports "$ports_needed")
        ports[0]=${port:-${ports[0]}}
        echo "${ports[*]}" >"$dir/ports"
        configure "$dir" "${settings[@]}"
        state=0
        launch "$dir" || state=$?
        ((state == 3)) || break
        [[ -z $port ]] || fail "port $port of 127.0.0.1 is taken"
    done
    ((state == 0)) || fail "lost $attempt ports to other programs"
    [[ -z $owner ]] || stop_after "$owner" "$dir"
}

# Does $1 to the process of directory $2; further arguments are for start.
main() {
    local action=${1:-} dir state=0
    (($# >= 2)) || fail "usage: $system.sh start|stop|kill|restart|pause|continue DIR ..."
    dir=$(absolute "$2")
    shift 2
    case $action in
    start) start "$dir" "$@" ;;
    stop | kill) end_process "$dir" "$action" ;;
    restart)
        [[ -e $dir/$configuration ]] || fail "$dir never held such a process: use start"
        end_process "$dir" stop
        launch "$dir" || state=$?
        ((state == 0)) || fail "somebody else took its port"
        ;;
    pause) pause "$dir" ;;
    continue) go_on "$dir" ;;
    *) fail "what is '$action'?" ;;
    esac
}
