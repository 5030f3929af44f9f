#!/usr/bin/env python3
"""Compares Orlop with other registries and with a file server, on this machine, under the same load.

In: Orlop's binary; docker-registry, nginx and wrk installed. Out: docs/comparison.md and
docs/comparison.svg. Servers take turns: one is loaded at a time, in every round each load goes through
all servers before the next load begins, and rounds begin with another server each. Every round has
new processes and empty stores.
"""

import sys

# A tree that was only measured stays as it was.
sys.dont_write_bytecode = True

import argparse
import os
import platform
import random
import shutil
import signal
import tempfile
import time
from datetime import date
from pathlib import Path

import chart
import load
import report
import servers
from servers import Failure

DOCS = Path(__file__).resolve().parents[2] / "docs"

# No round begins that would not end within so much time for each that was asked for.
ROUND_SECONDS_MAX = 110

# Seeds of `orlop bench` are smaller.
SEEDS = 2**48


def main():
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("compare: stopped"))
    try:
        binary = Path(options.orlop).resolve()
        if not os.access(binary, os.X_OK):
            raise Failure(f"{options.orlop} is not there; run `cargo build --release --bin orlop`")
        with tempfile.TemporaryDirectory(prefix="compare-", dir=binary.parent) as work:
            # A build meanwhile must not change what is measured.
            comparison = Comparison(shutil.copy2(binary, Path(work) / "orlop"), Path(work), options)
            comparison.run()
            text = comparison.text()
            drawing = comparison.chart()
    except Failure as failure:
        sys.exit(f"compare: {failure}")
    print(text)
    (DOCS / "comparison.md").write_text(text)
    (DOCS / "comparison.svg").write_text(drawing)


def _options():
    parser = argparse.ArgumentParser(description="Compares Orlop with other servers under the same load.")
    parser.add_argument("--orlop", required=True, metavar="FILE", help="Orlop's release binary; stores lie beside it")
    parser.add_argument("--registry", metavar="URL", help="one more registry to compare with")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="rounds (3)")
    parser.add_argument("--seconds", type=int, default=2, metavar="N", help="how long a turn is measured (2)")
    options = parser.parse_args()
    if options.repeat < 1 or options.seconds < 1:
        parser.error("--repeat and --seconds must be at least 1")
    return options


class Comparison:
    """The rounds, and what they have measured."""

    def __init__(self, binary, work, options):
        self.binary, self.work, self.options = binary, work, options
        self.remote = servers.Remote(options.registry) if options.registry else None
        self.versions = servers.versions(binary)
        self.seed = random.SystemRandom().randrange(SEEDS - options.repeat)
        others = ["distribution"] + ([self.remote.name] if self.remote else [])
        self.registries = report.Section(
            title="Registries",
            client="`orlop bench`. Bytes are those of bodies; a push ends when it is acknowledged. Of pulls under pushes,\n"
            "which take half of the connections each, bytes are of both and the latency is of pulls.",
            servers=["Orlop", *others],
            loads=load.BENCH_LOADS,
        )
        self.files = report.Section(
            title="Orlop and a file server",
            client="`wrk`, two threads; hot content, the same bytes from both. It cannot send HEAD.",
            servers=["Orlop", "nginx"],
            loads=load.FILE_LOADS,
        )
        self.rounds = 0
        self.load_averages = []

    def run(self):
        self.load_averages.append(os.getloadavg())
        start, longest = time.monotonic(), 0
        for number in range(self.options.repeat):
            begun = time.monotonic()
            if begun - start + longest > ROUND_SECONDS_MAX * self.options.repeat:
                _say(f"stopped after {number} rounds: another would take too long")
                break
            self._registries(number)
            self._files(number)
            self.rounds += 1
            longest = max(longest, time.monotonic() - begun)
        self.load_averages.append(os.getloadavg())

    def _registries(self, number):
        def use(running):
            running += [self.remote] if self.remote else []
            for index, each in enumerate(self.registries.loads):
                for server in _turned(running, number + index):
                    _say(f"round {number + 1}: {each.label}: {server.name}")
                    seed = self.seed + number
                    measured = load.run_bench(self.binary, each, server, self.options.seconds, seed)
                    self.registries.add(each, server.name, measured)
                    # What one server left to be written must not burden the next one's turn.
                    os.sync()
            for server in running:
                self.registries.add_resident(server.name, server.resident_bytes())

        self._with(use, lambda place: servers.orlop(self.binary, place), servers.distribution)

    def _files(self, number):
        contents = load.contents()

        def use(running):
            orlop, nginx = running
            paths = {orlop: load.push(orlop, contents), nginx: {name: f"/{name}" for name in contents}}
            addresses = {server: load.check(server, paths[server], contents) for server in running}
            os.sync()
            for index, each in enumerate(self.files.loads):
                for server in _turned(running, number + index):
                    _say(f"round {number + 1}: {each.label}: {server.name}")
                    measured = load.run_wrk(each, server, addresses[server][each.content], self.options.seconds)
                    self.files.add(each, server.name, measured)
            for server in running:
                self.files.add_resident(server.name, server.resident_bytes())

        self._with(use, lambda place: servers.orlop(self.binary, place), lambda place: servers.nginx(place, contents))

    def _with(self, use, *starts):
        """Starts servers in directories of their own, uses them, and stops them whatever happened."""
        running, places = [], []
        try:
            for begin in starts:
                places.append(Path(tempfile.mkdtemp(prefix="server-", dir=self.work)))
                running.append(begin(places[-1]))
            for server in running:
                server.wait_until_ready()
            use(list(running))
        finally:
            for server in running:
                server.stop()
            for place in places:
                shutil.rmtree(place)

    def text(self):
        return "\n".join([
            "# Comparison\n",
            f"Made by `make compare` on {date.today().isoformat()}. Ratios hold for one run on one machine; absolute",
            "figures mean nothing elsewhere.\n",
            "![Ratios of throughput and efficiency](comparison.svg)\n",
            self._conditions(),
            report.tables(self.registries),
            report.tables(self.files),
            REPEAT,
        ])

    def _conditions(self):
        before, after = (", ".join(f"{value:.1f}" for value in each) for each in self.load_averages)
        found = self.versions
        versions = f"Orlop {found['Orlop']}, distribution {found['distribution']} (Debian's docker-registry), "
        versions += f"nginx {found['nginx']}, wrk {found['wrk']}"
        machine = f"{os.cpu_count()} processors ({_processor()}), Linux {platform.release().split('-')[0]}, {_file_system(self.work)}"
        return CONDITIONS.format(
            machine=machine, versions=versions, before=before, after=after, rounds=self.rounds,
            seconds=self.options.seconds, seed=self.seed,
        )

    def chart(self):
        groups = [
            (f"{section.servers[0]} / {other}", [_chart_row(section, each, other) for each in section.loads])
            for section in (self.registries, self.files)
            for other in section.servers[1:]
        ]
        legend = ("throughput", "work per second of the server's processor time")
        return chart.chart("Orlop against others: above 1, Orlop does more", legend, groups)


def _chart_row(section, each, other):
    measures = (report.throughput(each), report.efficiency(each))
    return each.label, [section.ratios(each, other, measure) for measure in measures]


def _turned(running, places):
    places %= len(running)
    return running[places:] + running[:places]


def _say(text):
    print(f"compare: {text}", file=sys.stderr, flush=True)


def _processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(path):
    """The kind of file system that `path` lies on: the longest mount point above it."""
    found = ("", "an unknown file system")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if path.is_relative_to(place) and len(place) >= len(found[0]):
            found = (place, kind)
    return found[1]


CONDITIONS = """\
## Conditions

- Machine: {machine}.
- Load average over 1, 5 and 15 minutes: {before} at the start, {after} at the end. Above what the
  comparison itself makes, that is other work, which takes processor and device away from whoever has the turn.
- Versions: {versions}.
- Rounds: {rounds}, of {seconds} s for each load and server (pushes of 100 MiB: 8 requests), in turns, with new
  processes and empty stores each. Shown are medians, with the lowest and the highest round in
  parentheses; ratios are of the same round. Seed of the first round: {seed}.
- Orlop runs with its defaults but for the log, which has errors only: a push is acknowledged when it is
  on the device, and everything that is read is verified before it is sent.
- distribution runs with the storage section of Debian's configuration, deletion being enabled, and its log
  has errors only. It syncs the files it writes, eleven times for one pushed blob as strace shows, but no
  directory, so that after a power cut a file can lack its name. It does not verify what it reads.
- nginx serves files with sendfile, cached open files, two workers and no log. It verifies nothing.
- Stores are on one file system. The client runs on the same processors and takes its share; throughput is
  of both together, processor time is of the server alone. What the kernel does later in threads of its
  own, such as writing back what was not synced, is in nobody's processor time, and a sync after each turn
  keeps it out of the next one.
- Processor time is counted in steps of 10 ms, for the measured phase and up to 20 ms more.
- Resident memory is without the page cache, which distribution and nginx rely on for hot content.
"""

REPEAT = """\
## How to repeat

```sh
make compare                                  # three rounds, under six minutes
make compare REPEAT=5                         # more rounds
make compare REGISTRY=http://127.0.0.1:5000   # one more registry, which should be empty
```

The last line also loads a registry that runs already; what was pushed there is deleted again, and
nothing is known of its processor time and memory.
"""

if __name__ == "__main__":
    main()
