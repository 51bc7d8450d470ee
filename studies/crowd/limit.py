#!/usr/bin/env python3
"""As many MQTT clients as file descriptors allow, against a real Mosquitto, and what is said of one more.

    cargo build --release --locked --bin landfall
    studies/crowd/limit.py target/release/landfall > studies/crowd/DATE.md

Prints what is refused and how, the time until all are connected, memory a client and processor time, as
Markdown. The broker has the same limit of descriptors and needs as many. Exit code 1 where anything is not
as it should be.
"""

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = ROOT / "tests/systems/mosquitto.sh"
PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")
LISTEN = "127.0.0.1:19464"
# None of these is bounded by the broker.
UNBOUNDED = ["max_inflight_messages 0", "max_queued_messages 0"]

wrong = []


def expect(holds, what):
    """Remembers what is not as it should be."""
    if not holds:
        wrong.append(what)


def configure(directory, broker, clients):
    """Writes a path that only loads: 200 messages a second over all clients, at QoS 1."""
    path = directory / f"{clients}.yaml"
    path.write_text(f"""probe: crowd
paths:
  - name: crowd
    lanes: []
    mqtt:
      url: mqtt://{broker}
      topic: crowd/{{client}}
      qos: 1
      clients: {clients}
      connect_rate: 20000/s
      rate: 200/s
      payload: {{ format: text }}
telemetry: {{ listen: "{LISTEN}" }}
window: 1s
""")
    return path


def refused(binary, config):
    """What a run that is refused says, how long that takes and what memory, in KiB."""
    begun = time.monotonic()
    process = subprocess.Popen([binary, "run", "-c", config, "--for", "1s"], stderr=subprocess.PIPE)
    said = process.stderr.read().decode().strip()
    _, status, usage = os.wait4(process.pid, 0)
    expect(os.waitstatus_to_exitcode(status) == 2, f"{config.name}: exit code {status >> 8}: {said}")
    return said, time.monotonic() - begun, usage.ru_maxrss


def processor_time(pid):
    """User and system time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid):
    """Resident memory of a process, in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def ask(path):
    """What landfall answers; nothing where it does not."""
    try:
        with urlopen(f"http://{LISTEN}{path}", timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return None


def connected(exposition):
    """How many connections were made."""
    found = re.search(r'landfall_connect_seconds_count\{[^}]*leg="connack"\} (\S+)', exposition or "")
    return float(found[1]) if found else 0.0


def run(binary, directory, broker, broker_pid, clients):
    """A run with so many clients: its figures."""
    config, report = configure(directory, broker, clients), directory / f"report-{clients}"
    arguments = [binary, "run", "-c", config, "--for", "10s", "--report", report, "--log", "info"]
    before, begun = processor_time(broker_pid), time.monotonic()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while process.poll() is None and connected(ask("/metrics")) < clients:
        time.sleep(0.05)
    ready, busy = time.monotonic() - begun, processor_time(process.pid)
    served = processor_time(broker_pid) - before
    time.sleep(5)
    memory = resident(process.pid)
    descriptors = len(os.listdir(f"/proc/{process.pid}/fd"))
    exposition = ask("/metrics")
    said = process.stderr.read().decode()
    expect(process.wait() == 0, f"{clients} clients: exit code {process.returncode}: {said}")
    troubles = [line for line in said.splitlines() if " WARN " in line or " ERROR " in line]
    expect(not troubles, f"{clients} clients: {troubles}")
    path = json.loads((report / "report.json").read_text())["paths"][0]
    expect(path["offered"] == path["acknowledged"], f"{clients} clients: not all were acknowledged")
    expect(connected(exposition) == clients, f"{clients} clients: {connected(exposition)} connected")
    return {
        "memory": memory,
        "ready": ready,
        "busy": busy,
        "served": served,
        "descriptors": descriptors,
        "arithmetic": [line.split("INFO ")[1] for line in said.splitlines() if " x " in line or "others" in line],
        "troubles": len(troubles),
        "published": path["published"],
        "legs": {leg: timed for leg, timed in path["connect_seconds"].items() if timed["count"]},
    }


def main():
    binary = os.path.abspath(sys.argv[1])
    directory = Path(tempfile.mkdtemp(prefix="crowd"))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    options = [word for line in UNBOUNDED for word in ("--config", line)]
    owner = ["--owner", str(os.getpid())]
    started = subprocess.run([SYSTEM, "start", directory, *owner, *options], check=True, capture_output=True, text=True)
    offers = dict(line.split("=", 1) for line in started.stdout.splitlines())
    broker, broker_pid = offers["MOSQUITTO"], int(offers["MOSQUITTO_PID"])
    try:
        said, _, _ = refused(binary, configure(directory, broker, min(hard, 131_072)))
        others = int(re.search(r"\+ (\d+) others", said)[1])
        most = hard - others
        refusals = [(clients, *refused(binary, configure(directory, broker, clients))) for clients in (most + 1, 100_000)]
        one, all_of_them = (run(binary, directory, broker, broker_pid, clients) for clients in (1, most))
    finally:
        subprocess.run([SYSTEM, "stop", directory], check=True)
    each = (all_of_them["memory"] - one["memory"]) / (most - 1)
    load = " ".join(Path("/proc/loadavg").read_text().split()[:3])
    print(f"# As many clients as {hard} file descriptors allow\n")
    print(f"`studies/crowd/limit.py`, {os.cpu_count()} CPUs, Linux {os.uname().release}; load average {load} after.\n")
    print("| | |\n|---|---|")
    print(f"| clients that preflight lets through | {most} |")
    print(f"| connected | {most}, {all_of_them['troubles']} errors |")
    print(f"| until all were connected | {all_of_them['ready']:.2f} s from the start of the process |")
    print(f"| processor time until then | {all_of_them['busy']:.2f} s, of the broker {all_of_them['served']:.2f} s |")
    print(f"| descriptors that were open | {all_of_them['descriptors']} |")
    print(f"| resident memory | {all_of_them['memory'] / 2**20:.1f} MiB, {one['memory'] / 2**20:.1f} MiB with one client |")
    print(f"| resident memory a client | {each:.0f} B |")
    print(f"| messages | {all_of_them['published']}, all acknowledged |")
    for leg, timed in all_of_them["legs"].items():
        figures = ", ".join(f"{name} {timed[name] * 1e3:.1f} ms" for name in ("p50", "p99", "max"))
        print(f"| connecting, `{leg}` | {figures} |")
    print("\nSaid before the start:\n\n```")
    print("\n".join(all_of_them["arithmetic"]))
    print("```")
    for clients, said, took, memory in refusals:
        print(f"\nRefused with {clients} clients, within {took * 1e3:.0f} ms and {memory / 1024:.0f} MiB:\n\n```\n{said}\n```")
    for what in wrong:
        print(f"\nNot as it should be: {what}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
