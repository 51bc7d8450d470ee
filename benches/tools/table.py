"""The figures as Markdown."""

import json
import os
import statistics

BEGIN, END = "<!-- load tools: begin -->", "<!-- load tools: end -->"
QOS = (0, 1, 2)


def figures(lines, tool, size, paced, qos, key):
    """The figures of all rounds; of CPU seconds a million messages where `key` is that."""
    found = []
    for line in lines:
        if line["kind"] != "run" or "failed" in line:
            continue
        if (line["tool"], line["size"], line["paced"], line["qos"]) == (tool, size, paced, qos):
            if key == "cpu":
                found.append(1e6 / max(1, line["messages_per_cpu_second"]))
            else:
                found.append(line[key])
    return found


def median(values):
    return statistics.median(values) if values else None


def short(value):
    """Three figures at most."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def lost(lines, tool, size, paced, qos):
    """Most messages of a run that the tool said it had sent and the broker never received."""
    said = figures(lines, tool, size, paced, qos, "said")
    arrived = figures(lines, tool, size, paced, qos, "arrived")
    return max((sent - came for sent, came in zip(said, arrived)), default=0)


def slow(lines, tool, size, qos, rate):
    """Whether it did not keep the rate that it was asked for, by more than a tenth."""
    reached = median(figures(lines, tool, size, True, qos, "rate"))
    return reached is not None and reached < 0.9 * rate


def cell(lines, tool, size, paced, qos, rate):
    value = median(figures(lines, tool, size, paced, qos, "cpu"))
    if value is None:
        failed = [it for it in lines if it["kind"] == "run" and "failed" in it and
                  (it["tool"], it["size"], it["paced"], it["qos"]) == (tool, size, paced, qos)]
        return "failed" if failed else "-"
    ours = median(figures(lines, "landfall", size, paced, qos, "cpu"))
    text = short(value)
    if tool != "landfall" and ours:
        text += f" ({short(value / ours)}x)"
    missing = lost(lines, tool, size, paced, qos)
    if missing > 0:
        text += f", **lost {missing:,}**"
    if paced and slow(lines, tool, size, qos, rate):
        text += f", at {short(median(figures(lines, tool, size, True, qos, 'rate')))}/s"
    return text


def row(*cells):
    return "| " + " | ".join(cells) + " |"


def memory(lines, tool):
    for line in lines:
        if line["kind"] == "memory" and line["tool"] == tool:
            if "failed" in line:
                return "-"
            return short(line["bytes_a_client"] / 1024)
    return "-"


def rates(lines, tool, size):
    values = [median(figures(lines, tool, size, False, qos, "rate")) for qos in QOS]
    return " / ".join("-" if value is None else f"{value / 1000:,.0f}" for value in values)


def of_size(lines, environment, size):
    paced = [f"paced, QoS {qos}" for qos in QOS]
    flat = [f"flat out, QoS {qos}" for qos in QOS]
    first = "KiB a client" if size == 256 else None
    head = ["tool", *paced, *flat, "highest rate, 1,000/s at QoS 0 / 1 / 2", *([first] if first else [])]
    out = [row(*head), row(*["---"] * len(head))]
    for tool in environment["tools"]:
        cells = [cell(lines, tool, size, True, qos, environment["rate"]) for qos in QOS]
        cells += [cell(lines, tool, size, False, qos, environment["rate"]) for qos in QOS]
        cells.append(rates(lines, tool, size))
        out.append(row(tool, *cells, *([memory(lines, tool)] if first else [])))
    return out


def elsewhere():
    with open(os.path.join(os.path.dirname(__file__), "elsewhere.json")) as file:
        return json.load(file)


def elsewhere_table(other):
    def shown(values):
        return ["-" if it is None else str(it) for it in values]

    head = ["tool", *(f"paced, QoS {qos}" for qos in QOS), *(f"flat out, QoS {qos}" for qos in QOS), "KiB a client"]
    out = [row(*head), row(*["---"] * len(head))]
    for name, it in other["tools"].items():
        out.append(row(name, *shown(it["paced"]), *shown(it["flat_out"]), it["kib_a_client"]))
    return out


def markdown(lines):
    environment = lines[0]
    sizes = sorted({line["size"] for line in lines if line["kind"] == "run"}, key=lambda size: (size != 256, size))
    rounds = max(line["round"] for line in lines if line["kind"] == "run")
    at = environment["at"].split("T")[0]
    seconds = environment["seconds"]
    each = f"median of up to {rounds} rounds" if rounds > 1 else "one round"
    out = [
        f"{at}, {environment['cpus']} CPUs, Linux {environment['kernel'].split('-')[0]}, Mosquitto "
        f"{environment['mosquitto']}, landfall {environment['commit']}; load average {environment['load_average']:.1f} "
        f"before; {seconds['paced']} s paced, {seconds['flat_out']} s flat out; {each}, in turn. CPU seconds of the "
        "tool's own processes for a million messages, and beside it how many times landfall's.",
    ]
    for size in sizes:
        out += ["", f"{size} B, {environment['clients']} clients; paced is {environment['rate']:,}/s in all:", ""]
        out += of_size(lines, environment, size)
    out.append("")
    for tool, it in environment["tools"].items():
        version = f" {it['version']}" if it["version"] else ""
        if it["note"] or version:
            out.append(f"* {tool}{version}{': ' if it['note'] else ''}{it['note']}")
    other = elsewhere()
    for name, why in {**environment["missing"], **other["not_here"]}.items():
        out.append(f"* not run: {name}: {why}")
    out += ["", f"Measured {other['when']} (CPU seconds a million messages; memory {other['memory_when']}):", ""]
    out += elsewhere_table(other)
    return "\n".join(out)


def put(path, text):
    """Between the markers of a file."""
    with open(path) as file:
        whole = file.read()
    before, rest = whole.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    with open(path, "w") as file:
        file.write(f"{before}{BEGIN}\n{text}\n{END}{after}")
