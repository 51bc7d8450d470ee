"""Runs every tool over every load, in turn, against one Mosquitto; compare.sh starts it. A line of JSON a run."""

import argparse
import json
import os
import platform
import signal
import sys
import time

import measure
import table
import tools
from broker import Broker

RATE = 10_000
IDLE = 1_000


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("port", "pid", "rounds", "seconds", "flat-seconds", "budget"):
        parser.add_argument("--" + name, type=int, required=True)
    for name in ("scratch", "installed", "landfall", "commit", "floor", "bare", "mosquitto", "out"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", required=True)
    parser.add_argument("--readme")
    return parser.parse_args()


def environment(asked, compared, missing):
    return {
        "kind": "environment",
        "at": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
        "kernel": platform.release().split("-")[0],
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "commit": asked.commit,
        "mosquitto": asked.mosquitto,
        "clients": tools.CLIENTS,
        "rate": RATE,
        "seconds": {"paced": asked.seconds, "flat_out": asked.flat_seconds},
        "tools": {tool.name: {"version": tool.version, "note": tool.note} for tool in compared},
        "missing": missing,
    }


def measured(tool, load, broker):
    """One run, or why there is none."""
    before = broker.received
    ran = measure.run(tool.commands(load), broker, load.seconds * 4 + 20, tool.accepted)
    if ran.failed:
        broker.settled()
        why = "did not end" if ran.timed_out else f"ended with {sorted(set(ran.codes))}"
        return {"failed": f"{why}: {' '.join(ran.output.split())[-200:]}"}
    try:
        said = tool.said(load, ran.output)
    except (KeyError, IndexError, OSError, ValueError) as error:
        broker.settled()
        return {"failed": f"does not say what it sent: {error!r}"}
    arrived = (broker.settled(before + said * load.size) - before) // load.size
    return {
        "said": said,
        "arrived": arrived,
        "seconds": round(ran.seconds, 3),
        "cpu_seconds": round(ran.cpu_seconds, 4),
        "messages_per_cpu_second": round(arrived / max(ran.cpu_seconds, 1e-9)),
        "rate": round(measure.steady_rate(ran, arrived)),
    }


def memory(tool, broker):
    """Resident memory of a client, of a thousand that are idle."""
    figures = []
    for clients in (1, IDLE):
        commands = tool.idle(clients, broker.port)
        figure = commands and measure.memory_of(commands, broker, clients)
        if not figure:
            return {"failed": "no idle clients"}
        figures.append(figure)
    (one, _), (many, connected) = figures
    each = round((many - one) / (IDLE - 1))
    return {"bytes_a_client": each, "base_bytes": one, "connected_seconds": round(connected, 2)}


def loads(asked):
    for size in asked.sizes:
        for qos in (0, 1, 2):
            for rate in (RATE, None):
                yield tools.Load(asked.port, qos, size, rate, asked.flat_seconds if rate is None else asked.seconds)


def main():
    asked = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    start = time.monotonic()
    broker = Broker(asked.port, asked.pid)
    time.sleep(0.2)
    others, missing = tools.installed(asked.installed, asked.scratch)
    bare = tools.Bench("rumqttc bare", asked.bare, "the client library alone, 200 lines around it")
    floor = tools.Bench(
        "floor", asked.floor, "bare sockets, one thread; ticks of 1 ms paced, 10 ms flat out")
    compared = [tools.Landfall(asked.landfall, asked.scratch), floor, bare, *others]
    lines = []

    def keep(line):
        lines.append(line)
        with open(asked.out, "a") as file:
            file.write(json.dumps(line) + "\n")

    open(asked.out, "w").close()
    keep(environment(asked, compared, missing))
    broker.settled()
    for tool in compared:
        keep({"kind": "memory", "tool": tool.name, **memory(tool, broker)})
        told(lines[-1])
    broker.settled()
    plan = [
        (number, load, tool)
        for number in range(1, asked.rounds + 1)
        for load in loads(asked)
        for tool in compared
        if load.rate is None or tool.can_pace
    ]
    for done, (number, load, tool) in enumerate(plan):
        if time.monotonic() - start > asked.budget:
            print(f"compare: the time is up after {done} of {len(plan)} runs", file=sys.stderr)
            break
        of = {"round": number, "tool": tool.name, "qos": load.qos, "size": load.size, "paced": load.rate is not None}
        keep({"kind": "run", **of, **measured(tool, load, broker)})
        told(lines[-1])
    text = table.markdown(lines)
    print(text)
    if asked.readme:
        table.put(asked.readme, text)


def told(line):
    """Shows on the terminal how it goes."""
    print(" ".join(f"{key}={value}" for key, value in line.items() if key != "kind"), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
