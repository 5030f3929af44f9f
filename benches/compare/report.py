"""What the turns have measured, as Markdown tables.

In: measurements by load, server and round. Out: text. Every figure is the median of the rounds, with
the lowest and the highest; ratios are made round by round before their median is taken.
"""

from dataclasses import dataclass, field
from statistics import median

from load import GB, KIB, MIB


@dataclass
class Section:
    """Servers under the same loads; the first server is the one that the others are compared to."""

    title: str
    client: str
    servers: list
    loads: list
    # Measurements by label of the load and name of the server, one of each round.
    turns: dict = field(default_factory=dict)
    # Resident memory in bytes at the end of each round, by name of the server.
    resident: dict = field(default_factory=dict)

    def add(self, load, server, measurement):
        self.turns.setdefault((load.label, server), []).append(measurement)

    def add_resident(self, server, count):
        if count is not None:
            self.resident.setdefault(server, []).append(count)

    def values(self, load, server, measure):
        """What `measure` says of each round; none of rounds that failed."""
        turns = self.turns.get((load.label, server), [])
        return [None if turn.failures else measure(turn) for turn in turns]

    def ratios(self, load, other, measure):
        """The first server by `other`, of each round that has both."""
        pairs = zip(self.values(load, self.servers[0], measure), self.values(load, other, measure))
        return [one / two for one, two in pairs if one and two]

    def rates(self):
        """The loads whose throughput means something."""
        return [load for load in self.loads if not load.is_latency]

    def failures(self):
        lines = []
        for (label, server), turns in self.turns.items():
            found = {failure for turn in turns for failure in turn.failures}
            lines += [f"- {server}, {label}: {failure}" for failure in sorted(found)]
        return lines


def throughput(load):
    """The measure of speed that fits a load: bytes or requests per second."""
    return (lambda turn: turn.bytes_per_second) if load.in_bytes else (lambda turn: turn.requests_per_second)


def p99(turn):
    return turn.p99_seconds


# Percentiles by name: how to read them of the calmer state, and of the load.
CALM = [
    ("50th", lambda turn: turn.calm_p50_seconds, lambda turn: turn.p50_seconds),
    ("99th", lambda turn: turn.calm_p99_seconds, p99),
]


def cpu(load):
    """The measure of cost that fits a load: processor time per gigabyte or per 1000 requests."""

    def measure(turn):
        done = turn.bytes / GB if load.in_bytes else turn.requests / 1000
        return turn.cpu_seconds / done if turn.cpu_seconds is not None and done else None

    return measure


def efficiency(load):
    """Work per second of the server's processor time."""
    cost = cpu(load)

    def measure(turn):
        seconds = cost(turn)
        return 1 / seconds if seconds else None

    return measure


def tables(section):
    """The section as Markdown."""
    parts = [f"## {section.title}\n", f"Client: {section.client}\n", "### Throughput\n", _throughput(section)]
    parts += ["\n### Latency, 99th percentile\n", _latency(section)]
    if any(load.calm for load in section.loads):
        parts += ["\n### Latency beside that of a calmer state\n", _calm(section)]
    parts += ["\n### Processor time of the server\n", _cpu(section)]
    if section.resident:
        parts += ["\n### Resident memory of the server after its load\n", _resident(section)]
    failures = section.failures()
    if failures:
        parts += ["\n### Failed, and left out above\n", "\n".join(failures)]
    return "\n".join(parts) + "\n"


def _throughput(section):
    first, *others = section.servers
    rows = [["load", "connections", *section.servers, *(f"{first} / {other}" for other in others)]]
    for load in section.rates():
        measure = throughput(load)
        show = _megabytes if load.in_bytes else _rate
        row = [load.label, str(load.connections)]
        row += [_spread(section.values(load, server, measure), show) for server in section.servers]
        row += [_spread(section.ratios(load, other, measure), figure) for other in others]
        rows.append(row)
    return _table(rows)


def _latency(section):
    first, *others = section.servers
    rows = [["load", *section.servers, *(f"{first} / {other}" for other in others)]]
    for load in section.loads:
        row = [load.label] + [_spread(section.values(load, server, p99), _time) for server in section.servers]
        rows.append(row + [_spread(section.ratios(load, other, p99), figure) for other in others])
    return _table(rows)


def _calm(section):
    rows = [["load", "compared with", "percentile"]]
    for server in section.servers:
        rows[0] += [f"{server}, calm", server, "times"]
    for load in section.loads:
        for name, quiet, loud in CALM if load.calm else []:
            row = [load.label, load.calm[1], name]
            for server in section.servers:
                before, after = section.values(load, server, quiet), section.values(load, server, loud)
                times = [two / one for one, two in zip(before, after) if one and two]
                row += [_middle(before, _time), _middle(after, _time), _spread(times, figure)]
            rows.append(row)
    return _table(rows)


def _cpu(section):
    first, *others = section.servers
    rows = [["load", "seconds per", *section.servers, *(f"{first} / {other}" for other in others)]]
    for load in section.rates():
        cost = cpu(load)
        row = [load.label, "GB" if load.in_bytes else "1000 requests"]
        row += [_spread(section.values(load, server, cost), figure) for server in section.servers]
        rows.append(row + [_spread(section.ratios(load, other, cost), figure) for other in others])
    return _table(rows)


def _resident(section):
    rows = [list(section.servers)]
    rows.append([_spread(section.resident.get(name, []), _mebibytes) for name in section.servers])
    return _table(rows)


def memory(servers, states):
    """What `servers` take, as Markdown. `states`: of each, what it is, how many there are of it, and by
    name of the server what was found."""
    rows = [["state", *servers]]
    first = states[0][2]
    rows.append(["idle, empty store"] + [_mebibytes(first[name].idle) for name in servers])
    failures = []
    for state, count, found in states:
        above = {name: found[name].busy - found[name].idle for name in servers}
        rows.append([f"{state}: above idle"] + [_mebibytes(above[name]) for name in servers])
        rows.append(["of that for each"] + [f"{figure(above[name] / count / KIB)} KiB" for name in servers])
        if any(found[name].sent_bytes for name in servers):
            rows.append(["bytes sent meanwhile"] + [f"{figure(found[name].sent_bytes / GB)} GB" for name in servers])
        failures += [f"- {name}, {state}: {failure}" for name in servers for failure in found[name].failures]
    parts = ["## Resident memory\n", _table(rows)]
    if failures:
        parts += ["\n### Did not go as it should\n", "\n".join(failures)]
    return "\n".join(parts) + "\n"


def figure(value):
    """Three significant digits."""
    if value >= 1000:
        digits = len(str(int(value))) - 3
        return f"{round(value, -digits):,.0f}"
    for limit, digits in ((100, 0), (10, 1), (1, 2), (0.1, 3)):
        if value >= limit:
            return f"{value:.{digits}f}"
    return f"{value:.2g}" if value else "0"


def _rate(value):
    return f"{figure(value)}/s"


def _megabytes(value):
    return f"{figure(value / 1e6)} MB/s"


def _mebibytes(value):
    return f"{figure(value / MIB)} MiB"


def _time(value):
    return f"{figure(value * 1e3)} ms"


def _spread(values, show):
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    if len(known) == 1:
        return show(known[0])
    return f"{show(median(known))} ({show(min(known))} to {show(max(known))})"


def _middle(values, show):
    known = [value for value in values if value is not None]
    return show(median(known)) if known else "-"


def _table(rows):
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    # Figures are read in columns; names are not.
    return "\n".join([lines[0], "|---|" + "---:|" * (len(rows[0]) - 1), *lines[1:]])
