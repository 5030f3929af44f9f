"""What the comparison says beside its figures: how it was made, on what, and how to repeat it."""

import os
import platform
from pathlib import Path


def machine(place):
    """This machine, and the file system that `place` is on, in a few words."""
    release = platform.release().split("-")[0]
    return f"{os.cpu_count()} processors ({_processor()}), Linux {release}, {_file_system(place)}"


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


REGISTRY_CLIENT = """\
`orlop bench`. Bytes are those of bodies; a push ends when it is acknowledged. Of pulls under pushes,
which take half of the connections each, bytes are of both and the latency is of pulls. Slow pushes are 1,000
at once of 64 KiB/s each, which all last as long as is measured; beside them four connections pull 1 MiB.
What was just pushed is pulled by the one connection that pushed it, at once and then again."""

FILE_CLIENT = """\
`wrk`, two threads; hot content, the same bytes from all. HEAD is of a blob without bytes: for those
that other answers announce wrk would wait."""

TLS_CLIENT = """\
`wrk`, two threads; hot content, the same bytes from both, the same certificate, {cipher}."""

UPLOADS = "{memory.UPLOADS} uploads at once, the peak"

CONDITIONS = """\
## Conditions

- Machine: {machine}.
- Load average over 1, 5 and 15 minutes: {before} at the start, {after} at the end. Above what the
  comparison itself makes, that is other work, which takes processor and device away from whoever has the turn.
- Versions: {versions}.
- Rounds: {rounds}, of {seconds} s for each load and server (pushes of 100 MiB: 8 requests; just pushed: 200
  of 1 MiB, 5 of 100 MiB; under pushes: as long again before them), in turns, with new processes and
  empty stores each. Shown are medians, with the lowest and the highest round in parentheses; ratios
  are of the same round. Seed of the first round: {seed}.
- Orlop runs with its defaults but for the log, which has errors only: a push is acknowledged when it is
  on the device, and everything that is read is verified before it is sent.
- distribution runs with the storage section of Debian's configuration, deletion being enabled, and its log
  has errors only. It syncs the files it writes, eleven times for one pushed blob as strace shows, but no
  directory, so that after a power cut a file can lack its name. It does not verify what it reads.
- nginx serves files with sendfile, cached open files, two workers and no log; over TLS, where sendfile needs
  a kernel that encrypts, with records of 16 KiB and buffers of 256 KiB: no other setting tried was faster.
  "nginx, Debian's" has what Debian's nginx.conf says: sendfile, a log of every request and no cache of open
  files. Neither verifies anything.
- Stores are on one file system. The client runs on the same processors and takes its share; throughput is
  of both together, processor time is of the server alone. What the kernel does later in threads of its
  own, such as writing back what was not synced, is in nobody's processor time, and a sync after each turn
  keeps it out of the next one.
- Processor time is counted in steps of 10 ms, for the measured phase and up to 20 ms more.
- Resident memory is without the page cache, which distribution and nginx rely on for hot content. Idle
  connections and uploads are those of one server that has just started, one run of each; uploads send
  without end, as fast as they are taken, until they are broken off after 8 s or 6 GB.
"""

REPEAT = """\
## How to repeat

```sh
make compare                                  # three rounds and memory, under eight minutes
make compare REPEAT=5                         # more rounds
make compare SKIP=memory                      # without a part: registries, files, tls, memory
make compare REGISTRY=http://127.0.0.1:5000   # one more registry, which should be empty
```

The last line also loads a registry that runs already; what was pushed there is deleted again, and
nothing is known of its processor time and memory.
"""
