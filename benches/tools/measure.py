"""Runs the processes of a tool and accounts for them: CPU time, memory, and when the broker read what they sent."""

import os
import signal
import subprocess
import tempfile
import threading
import time

from broker import wait_until


class Ran:
    def __init__(self):
        self.cpu_seconds = 0.0
        self.seconds = 0.0
        self.codes = []
        self.output = ""
        self.timed_out = False
        self.reading = []  # (moment, bytes that the broker has read)


def sampled(broker, ran, over):
    """Notes every 20 ms what the broker has read."""
    while not over.is_set():
        ran.reading.append((time.monotonic(), broker.bytes_read()))
        over.wait(0.02)


def run(commands, broker, limit, accepted=(0,)):
    """Runs all `commands` (argument lists, or pairs with a file for standard input) to their end, `limit` seconds
    at most. CPU time is user and system time of the processes and of those they have waited for (wait4(2))."""
    ran, over = Ran(), threading.Event()
    sampler = threading.Thread(target=sampled, args=(broker, ran, over))
    sampler.start()
    start, started = time.monotonic(), []
    try:
        with tempfile.TemporaryFile() as out:
            for command in commands:
                started.append(begin(command, out))
            timer = threading.Timer(limit, end_all, args=(started, ran))
            timer.start()
            for process in started:
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
                ran.cpu_seconds += usage.ru_utime + usage.ru_stime
                ran.codes.append(process.returncode)
            timer.cancel()
            ran.seconds = time.monotonic() - start
            out.seek(0)
            ran.output = out.read().decode(errors="replace")
        # What is still in the sockets is read after the tool has ended.
        while len(ran.reading) < 10 or ran.reading[-1][1] != ran.reading[-10][1]:
            time.sleep(0.02)
    finally:
        end_all(started)
        over.set()
        sampler.join()
    ran.failed = ran.timed_out or any(code not in accepted for code in ran.codes)
    return ran


def begin(command, out):
    words, given = command if isinstance(command, tuple) else (command, os.devnull)
    with open(given, "rb") as standard_input:
        # All in the session of this script, which has a fair share of the processors as a whole.
        return subprocess.Popen(words, stdin=standard_input, stdout=out, stderr=out, process_group=0)


def end_all(processes, ran=None):
    if ran is not None:
        ran.timed_out = True
    for process in processes:
        if process.returncode is None:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def steady_rate(ran, messages):
    """Messages a second between the moments when the broker had read a tenth and nine tenths of all."""
    first, last = ran.reading[0][1], ran.reading[-1][1]
    if last <= first:
        return 0.0

    def moment(part):
        wanted = first + part * (last - first)
        before = ran.reading[0]
        for sample in ran.reading:
            if sample[1] >= wanted:
                # Between two samples it is taken to have read evenly.
                share = (wanted - before[1]) / max(1, sample[1] - before[1])
                return before[0] + share * (sample[0] - before[0])
            before = sample
        return before[0]

    return 0.8 * messages / max(1e-9, moment(0.9) - moment(0.1))


def family(pid):
    """A process and all below it."""
    found = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            for child in file.read().split():
                found += family(int(child))
    return found


def resident_bytes(pids):
    """Resident memory, each page that processes share in equal parts (proc(5), smaps_rollup: Pss)."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            total += sum(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total * 1024


def memory_of(commands, broker, clients):
    """Resident memory with so many clients connected, a second after the last of them was; and how long they
    took. None where they do not come within 30 s."""
    with tempfile.TemporaryFile() as out:
        start = time.monotonic()
        started = []
        for command in commands:
            started.append(subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=out, stderr=out, process_group=0))
        try:
            while broker.connected() < clients:
                if time.monotonic() - start > 30 or any(it.poll() is not None for it in started):
                    return None
                time.sleep(0.01)
            connected = time.monotonic() - start
            time.sleep(1)
            pids = [pid for process in started for pid in family(process.pid)]
            return resident_bytes(pids), connected
        finally:
            end_all(started)
            for process in started:
                process.wait()
            wait_until(lambda: broker.connected() <= 0, 60, "clients of a process that has ended stay connected")
