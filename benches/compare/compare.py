#!/usr/bin/env python3
"""Compares Orlop with other registries and with a file server, on this machine, under the same load.

In: Orlop's binary; docker-registry, nginx and wrk installed. Out: docs/comparison.md and
docs/comparison.svg. Servers take turns: one is loaded at a time, in every round each load goes through
all servers before the next load begins, and rounds begin with another server each. Every round has
new processes and empty stores. Memory is measured once, after the rounds.
"""

import sys

# A tree that was only measured stays as it was.
sys.dont_write_bytecode = True

import argparse
import os
import random
import shutil
import signal
import tempfile
import time
from datetime import date
from pathlib import Path

import chart
import conditions
import load
import memory
import report
import servers
from servers import Failure

DOCS = Path(__file__).resolve().parents[2] / "docs"

# No round begins that would not end within so much time for each that was asked for.
ROUND_SECONDS_MAX = 135

PARTS = ("registries", "files", "tls", "memory")

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
    (options.output / "comparison.md").write_text(text)
    (options.output / "comparison.svg").write_text(drawing)


def _options():
    parser = argparse.ArgumentParser(description="Compares Orlop with other servers under the same load.")
    parser.add_argument("--orlop", required=True, metavar="FILE", help="Orlop's release binary; stores lie beside it")
    parser.add_argument("--registry", metavar="URL", help="one more registry to compare with")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="rounds (3)")
    parser.add_argument("--seconds", type=int, default=2, metavar="N", help="how long a turn is measured (2)")
    parser.add_argument("--skip", action="append", default=[], choices=PARTS, help="leave out a part")
    parser.add_argument("--output", type=Path, default=DOCS, metavar="DIR", help="where the result is written (docs)")
    options = parser.parse_args()
    if len(set(options.skip)) == len(PARTS):
        parser.error("--skip leaves nothing to measure")
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
            client=conditions.REGISTRY_CLIENT,
            servers=["Orlop", *others],
            loads=load.BENCH_LOADS,
        )
        self.files = report.Section(
            title="Orlop and a file server",
            client=conditions.FILE_CLIENT,
            servers=["Orlop", "nginx", "nginx, Debian's"],
            loads=load.FILE_LOADS,
        )
        self.secure = report.Section(
            title="Orlop and a file server, over TLS",
            client="",
            servers=["Orlop", "nginx"],
            loads=load.TLS_LOADS,
        )
        # States in which memory was measured: what, how many, and what was found by name of the server.
        self.states = []
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
            for part, measure in (("registries", self._registries), ("files", self._files), ("tls", self._tls)):
                if self._has(part):
                    measure(number)
            self.rounds += 1
            longest = max(longest, time.monotonic() - begun)
        if self._has("memory"):
            self._memory()
        self.load_averages.append(os.getloadavg())

    def _has(self, part):
        return part not in self.options.skip

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
        self._with(
            lambda running: self._use_files(self.files, running, contents, number),
            lambda place: servers.orlop(self.binary, place),
            lambda place: servers.nginx(place, contents),
            lambda place: servers.nginx_debian(place, contents),
        )

    def _tls(self, number):
        contents = load.contents()
        certificate = servers.Certificate(self.work)

        def use(running):
            ciphers = {server.cipher() for server in running}
            if len(ciphers) > 1:
                raise Failure(f"the servers choose other ciphers: {', '.join(sorted(ciphers))}")
            self.secure.client = conditions.TLS_CLIENT.format(cipher=ciphers.pop())
            self._use_files(self.secure, running, contents, number)

        self._with(
            use,
            lambda place: servers.orlop(self.binary, place, certificate),
            lambda place: servers.nginx_tls(place, contents, certificate),
        )

    def _use_files(self, section, running, contents, number):
        """Loads Orlop, the first, and servers of files with the same contents."""
        orlop, *others = running
        paths = {server: {name: f"/{name}" for name in contents} for server in others}
        paths[orlop] = load.push(orlop, contents)
        addresses = {server: load.check(server, paths[server], contents) for server in running}
        os.sync()
        for index, each in enumerate(section.loads):
            for server in _turned(running, number + index):
                _say(f"round {number + 1}: {each.label}: {server.name}")
                measured = load.run_wrk(each, server, addresses[server][each.content], self.options.seconds)
                section.add(each, server.name, measured)
        for server in running:
            section.add_resident(server.name, server.resident_bytes())

    def _memory(self):
        starts = (lambda place: servers.orlop(self.binary, place), servers.distribution)
        states = (
            (f"{memory.CONNECTIONS:,} idle connections, each after one request", memory.CONNECTIONS, memory.connections),
            (conditions.UPLOADS.format(memory=memory), memory.UPLOADS, memory.uploads),
        )
        for state, count, measure in states:
            found = {}

            def use(running, state=state, measure=measure, found=found):
                for server in running:
                    _say(f"{state}: {server.name}")
                    found[server.name] = measure(server)

            # One after the other, so that nothing that one has left to do is in the other's way.
            for start in starts:
                self._with(use, start)
            self.states.append((state, count, found))

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
        sections = [report.tables(section) for section in self._sections()]
        if self.states:
            sections.append(report.memory(["Orlop", "distribution"], self.states))
        return "\n".join([
            "# Comparison\n",
            f"Made by `make compare` on {date.today().isoformat()}. Ratios hold for one run on one machine; absolute",
            "figures mean nothing elsewhere.\n",
            "![Ratios of throughput and efficiency](comparison.svg)\n",
            self._conditions(),
            *sections,
            conditions.REPEAT,
        ])

    def _sections(self):
        return [section for section in (self.registries, self.files, self.secure) if section.turns]

    def _conditions(self):
        before, after = (", ".join(f"{value:.1f}" for value in each) for each in self.load_averages)
        found = self.versions
        versions = f"Orlop {found['Orlop']}, distribution {found['distribution']} (Debian's docker-registry), "
        versions += f"nginx {found['nginx']}, wrk {found['wrk']}"
        return conditions.CONDITIONS.format(
            machine=conditions.machine(self.work), versions=versions, before=before, after=after, rounds=self.rounds,
            seconds=self.options.seconds, seed=self.seed,
        )

    def chart(self):
        groups = [
            (_heading(section, other), [_chart_row(section, each, other) for each in section.rates()])
            for section in self._sections()
            for other in section.servers[1:]
        ]
        legend = ("throughput", "work per second of the server's processor time")
        return chart.chart("Orlop against others: above 1, Orlop does more", legend, groups)


def _heading(section, other):
    return f"{section.servers[0]} / {other}" + (", over TLS" if "TLS" in section.title else "")


def _chart_row(section, each, other):
    measures = (report.throughput(each), report.efficiency(each))
    return each.label, [section.ratios(each, other, measure) for measure in measures]


def _turned(running, places):
    places %= len(running)
    return running[places:] + running[:places]


def _say(text):
    print(f"compare: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
