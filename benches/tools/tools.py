"""How each tool is told to send a load, and what it says it sent."""

import json
import os
import subprocess
import tempfile

CLIENTS = 100


class Tool:
    """A load tool. `commands` are the processes that send a load, `idle` those that only hold clients open."""

    name = ""
    version = ""
    note = ""
    accepted = (0,)
    can_pace = True
    # What a client sends flat out for each second that is asked for, at QoS 0, 1 and 2, where the tool is told a
    # number instead of a time.
    numbers = (1500, 700, 400)

    def commands(self, load):
        raise NotImplementedError

    def said(self, load, output):
        """How many messages it says were handed over (QoS 0) or acknowledged."""
        raise NotImplementedError

    def idle(self, clients, port):
        return None

    def number(self, load):
        """How many messages each client is told to send."""
        if load.rate is not None:
            return max(1, load.rate * load.seconds // CLIENTS)
        return self.numbers[load.qos] * load.seconds


class Load:
    """What is asked for: rate in messages a second of all clients together, None for flat out."""

    def __init__(self, port, qos, size, rate, seconds):
        self.port, self.qos, self.size, self.rate, self.seconds = port, qos, size, rate, seconds


class Landfall(Tool):
    name = "landfall"
    accepted = (0, 1)  # 1: nothing is judged on a path without lanes

    def __init__(self, binary, scratch):
        self.binary, self.scratch = binary, scratch
        self.version = subprocess.check_output([binary, "--version"], text=True).split()[1]
        self.flat_out = "max"
        if subprocess.run(self.show("max"), capture_output=True).returncode != 0:
            self.flat_out = "200000/s"
            self.note = "flat out is asked as 200,000/s, open loop"

    def show(self, rate):
        return [self.binary, "config", "show", "-c", self.file("show", 1883, 0, 256, CLIENTS, rate)]

    def file(self, name, port, qos, size, clients, rate):
        path = os.path.join(self.scratch, name + ".yaml")
        with open(path, "w") as file:
            json.dump({  # which YAML contains
                "probe": "compare",
                "paths": [{
                    "name": "load",
                    "mqtt": {
                        "url": f"mqtt://127.0.0.1:{port}", "topic": "landfall/{probe}/{client}", "qos": qos,
                        "clients": clients, "rate": rate, "payload": {"size": size, "format": "text"},
                    },
                    "lanes": [],
                }],
                "telemetry": {"listen": "127.0.0.1:0"},
            }, file)
        return path

    def commands(self, load):
        self.report = tempfile.mkdtemp(dir=self.scratch)  # none that an earlier run has written
        rate = self.flat_out if load.rate is None else f"{load.rate}/s"
        file = self.file("load", load.port, load.qos, load.size, CLIENTS, rate)
        length = f"{load.seconds}s"
        return [[self.binary, "run", "-c", file, "--for", length, "--report", self.report, "--log", "error"]]

    def said(self, load, output):
        with open(os.path.join(self.report, "report.json")) as file:
            path = json.load(file)["paths"][0]
        return path["published"] if load.qos == 0 else path["acknowledged"]

    def idle(self, clients, port):
        file = self.file("idle", port, 1, 256, clients, "1/min")
        return [[self.binary, "run", "-c", file, "--log", "error"]]


class Bench(Tool):
    """The floor, and rumqttc alone: both have one command line."""

    def __init__(self, name, binary, note=""):
        self.name, self.binary, self.note = name, binary, note

    def command(self, port, clients, *more):
        return [[self.binary, "--address", f"127.0.0.1:{port}", "--clients", str(clients), *more]]

    def commands(self, load):
        pace = ["--tick-ms", "10"] if load.rate is None else ["--rate", str(load.rate)]
        return self.command(
            load.port, CLIENTS, "--qos", str(load.qos), "--size", str(load.size), "--seconds", str(load.seconds), *pace)

    def said(self, load, output):
        return json.loads(output.strip().splitlines()[-1])["messages"]

    def idle(self, clients, port):
        return self.command(port, clients, "--rate", "1", "--tick-ms", "1000", "--seconds", "120")


class Mqttv5(Tool):
    name = "mqttv5-cli bench"

    def __init__(self, binary, version):
        self.binary, self.version = binary, version

    def command(self, port, clients, *more):
        return [[self.binary, "bench", "--host", "127.0.0.1", "--port", str(port), "--publishers", str(clients),
                 "--subscribers", "0", "--warmup", "0", *more]]

    def commands(self, load):
        pace = ["--inflight", "32"] if load.rate is None else ["--inflight", "1", "--rate", str(load.rate)]
        return self.command(
            load.port, CLIENTS, "--qos", str(load.qos), "--payload-size", str(load.size), "--duration",
            str(load.seconds), *pace)

    def said(self, load, output):
        # The JSON stands between what it tells on its way.
        return json.loads(output[output.index("\n{") :].rsplit("}", 1)[0] + "}")["results"]["published"]

    def idle(self, clients, port):
        return self.command(port, clients, "--inflight", "1", "--rate", "1", "--duration", "120")


class MosquittoPub(Tool):
    name = "mosquitto_pub"
    numbers = (1500, 250, 250)
    note = "a process for each client; flat out from lines (`-l`), paced by `--repeat-delay`"

    def __init__(self, binary, version, scratch):
        self.binary, self.version, self.scratch = binary, version, scratch

    def command(self, load):
        return [self.binary, "-h", "127.0.0.1", "-p", str(load.port), "-q", str(load.qos), "-t", "landfall/compare"]

    def commands(self, load):
        if load.rate is not None:
            repeat = ["--repeat", str(self.number(load)), "--repeat-delay", str(CLIENTS / load.rate)]
            return [self.command(load) + ["-m", "x" * load.size, *repeat]] * CLIENTS
        lines = os.path.join(self.scratch, f"lines-{load.size}-{self.number(load)}")
        if not os.path.exists(lines):
            with open(lines, "w") as file:
                file.write(("x" * load.size + "\n") * self.number(load))
        return [(self.command(load) + ["-l"], lines)] * CLIENTS

    def said(self, load, output):
        return self.number(load) * CLIENTS

    def idle(self, clients, port):
        return [self.command(Load(port, 0, 0, None, 0)) + ["-l"]] * clients


class MqttBenchmark(Tool):
    name = "mqtt-benchmark (crate)"
    note = "can't pace, nor hold idle clients; a thousand threads; ends without waiting for answers"
    can_pace = False

    def __init__(self, binary, version):
        self.binary, self.version = binary, version

    def commands(self, load):
        # It takes names only, no addresses.
        return [[self.binary, "--broker", f"localhost:{load.port}", "--topic", "landfall/compare",
                 "--qos", str(load.qos), "--client-num", str(CLIENTS), "--size", str(self.number(load)),
                 "--payload", "x" * load.size]]

    def said(self, load, output):
        return int(output.rsplit("total: ", 1)[1].split(",")[0])


def installed(lines, scratch):
    """The tools of install.sh's lines, and why the others are not there."""
    known = {
        "mqttv5-cli": Mqttv5,
        "mqtt-benchmark": MqttBenchmark,
        "mosquitto_pub": lambda binary, version: MosquittoPub(binary, version, scratch),
    }
    tools, missing = [], {}
    for line in lines.splitlines():
        name, version, rest = line.split(" ", 2)
        if version == "-":
            missing[name] = rest
        else:
            tools.append(known[name](rest, version))
    return tools, missing
