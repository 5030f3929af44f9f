"""Load: what is run against the servers, and what one run has measured.

In: a server that answers. Out: a `Measurement`. The clients are `orlop bench` for registries and
`wrk` where one side is no registry.
"""

import hashlib
import json
import os
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from servers import Failure, Remote, program

KIB, MIB, GB = 1024, 1024**2, 10**9

TURN_SECONDS_MAX = 60
SAMPLE_SECONDS = 0.02

# Of unique content that one workload pushes in one turn.
UNIQUE_BYTES_MAX = 1024 * MIB

WRK_SCRIPT = Path(__file__).with_name("wrk.lua")
REPOSITORY = "compare"
MANIFEST_BYTES = 4 * KIB
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


@dataclass
class Measurement:
    """One turn of one server under one load."""

    requests_per_second: float
    bytes_per_second: float
    p50_seconds: float
    p99_seconds: float
    # The server's processor time while it was measured; none if nothing is known of its processes.
    cpu_seconds: float | None
    # What that processor time was for.
    requests: int
    bytes: int
    # Of the same requests in the state that the load compares with.
    calm_p50_seconds: float | None = None
    calm_p99_seconds: float | None = None
    failures: list = field(default_factory=list)


@dataclass
class BenchLoad:
    """A workload of `orlop bench`: for a time, or for a number of requests if that is given."""

    workload: str
    connections: int
    in_bytes: bool = False
    requests: int | None = None
    # The part of the result that has latencies to compare with: what they are of, and its name.
    calm: tuple[str, str] | None = None
    # Whether only its latencies mean anything: the rate is that of what else it does.
    is_latency: bool = False

    @property
    def label(self):
        return self.workload.removeprefix("orlop ")


@dataclass
class FileLoad:
    """GET of one thing, over and over, by wrk."""

    label: str
    content: str
    in_bytes: bool = False
    # Whether the request says which content it has already, so that the answer has no body.
    conditional: bool = False
    method: str = "GET"
    connections: int = 16
    calm = None
    is_latency = False


BENCH_LOADS = [
    BenchLoad("orlop push blob 4KiB", 16),
    BenchLoad("orlop push blob 1MiB", 8, in_bytes=True),
    BenchLoad("orlop push blob 100MiB", 4, in_bytes=True, requests=8),
    BenchLoad("orlop push image 3x1MiB", 8),
    BenchLoad("orlop push same image mounted", 8),
    BenchLoad("orlop pull blob 4KiB", 16),
    BenchLoad("orlop pull blob 1MiB", 16, in_bytes=True),
    BenchLoad("orlop pull blob 100MiB", 4, in_bytes=True),
    BenchLoad("orlop get manifest", 16),
    BenchLoad("orlop head blob", 16),
    BenchLoad("orlop pull under push", 16, in_bytes=True, calm=("idle", "before any push")),
    BenchLoad("orlop pull under slow pushes", 1000, calm=("idle", "before any push"), is_latency=True),
    BenchLoad("orlop pull just pushed 1MiB", 1, requests=200, calm=("second pull", "second pull"), is_latency=True),
    BenchLoad("orlop pull just pushed 100MiB", 1, requests=5, calm=("second pull", "second pull"), is_latency=True),
]

FILE_LOADS = [
    FileLoad("GET blob 1 MiB", "blob-1MiB", in_bytes=True),
    FileLoad("GET blob 100 MiB", "blob-100MiB", in_bytes=True),
    FileLoad("GET manifest 4 KiB by tag", "manifest"),
    # wrk waits for the bytes that an answer to HEAD only announces, unless there are none.
    FileLoad("HEAD blob, empty", "blob-empty", method="HEAD"),
    FileLoad("GET blob, not modified (304)", "blob-1MiB", conditional=True),
]

TLS_LOADS = [
    FileLoad("GET blob 1 MiB", "blob-1MiB", in_bytes=True),
    FileLoad("GET blob 100 MiB", "blob-100MiB", in_bytes=True),
]


class CpuClock(threading.Thread):
    """Reads a server's processor time while a client runs, so that the time of the client's
    measured phase, its last one, can be told from that of its set-up."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server = server
        self.ended = threading.Event()
        self.samples = []

    def run(self):
        while not self.ended.is_set():
            self.samples.append((time.monotonic(), self.server.cpu_seconds()))
            self.ended.wait(SAMPLE_SECONDS)

    def end(self):
        self.ended.set()
        self.join()
        self.samples.append((time.monotonic(), self.server.cpu_seconds()))

    def of_last(self, seconds):
        """Processor time in the last `seconds` before the end."""
        end, total = self.samples[-1]
        if total is None:
            return None
        before = [cpu for at, cpu in self.samples if at <= end - seconds]
        return total - (before[-1] if before else self.samples[0][1])


def run_bench(client, load, server, seconds, seed):
    """Runs a workload of `orlop bench` against a registry. What it pushed is left there, to go with
    the store, unless the registry is somebody else's."""
    command = [client, "bench", server.url, "--output-format", "json", "--seed", str(seed)]
    command += ["--test-regex", f"^{load.workload}$", "--concurrency", str(load.connections)]
    command += ["--unique-bytes-max", str(UNIQUE_BYTES_MAX)]
    command += ["--requests", str(load.requests)] if load.requests else ["--duration", str(seconds)]
    if not isinstance(server, Remote):
        command.append("--skip-cleanup")
    clock, done = _timed(command, server)
    try:
        outcome = json.loads(done.stdout)["workloads"][0]
    except (ValueError, LookupError):
        raise Failure(f"{load.label} against {server.name}: {done.stderr.strip() or 'no result'}") from None
    pushes = outcome["parts"].get("push", {}).get("count", 0)
    moved = outcome["bytes_sent"] + outcome["bytes_received"]
    calm = outcome["parts"].get(load.calm[0], {}) if load.calm else {}
    return Measurement(
        requests_per_second=outcome["requests_per_second_measured"],
        bytes_per_second=outcome["megabytes_per_second"] * 1e6,
        p50_seconds=outcome["latency"]["p50_us"] / 1e6,
        p99_seconds=outcome["latency"]["p99_us"] / 1e6,
        calm_p50_seconds=calm["p50_us"] / 1e6 if calm else None,
        calm_p99_seconds=calm["p99_us"] / 1e6 if calm else None,
        cpu_seconds=clock.of_last(outcome["measured_seconds"]),
        requests=outcome["completed"] + pushes,
        bytes=moved,
        failures=[f"{each['count']} x in {each['phase']}: {each['message']}" for each in outcome["failures"]],
    )


def run_wrk(load, server, address, seconds):
    """Runs wrk against `address`, a path of the server and the entity tag of what is there."""
    path, etag = address
    command = [program("wrk"), "--threads", "2", "--connections", str(load.connections)]
    command += ["--duration", f"{seconds}s", "--timeout", "30s", "--script", WRK_SCRIPT, server.url + path]
    environment = dict(os.environ, ETAG=etag if load.conditional else "", METHOD=load.method)
    clock, done = _timed(command, server, environment)
    try:
        seen = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, LookupError):
        raise Failure(f"wrk against {server.name}: {done.stderr.strip() or 'no result'}") from None
    took = seen["microseconds"] / 1e6
    return Measurement(
        requests_per_second=seen["requests"] / took,
        bytes_per_second=seen["bytes"] / took,
        p50_seconds=seen["p50_microseconds"] / 1e6,
        p99_seconds=seen["p99_microseconds"] / 1e6,
        cpu_seconds=clock.of_last(took),
        requests=seen["requests"],
        bytes=seen["bytes"],
        failures=[f"{seen['errors']} x failed request"] if seen["errors"] else [],
    )


def _timed(command, server, environment=None):
    clock = CpuClock(server)
    clock.start()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TURN_SECONDS_MAX, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"{command[0]} against {server.name} took more than {TURN_SECONDS_MAX} s") from None
    finally:
        clock.end()
    return clock, done


def contents():
    """The same bytes for both sides of the comparison of files, by name."""
    blobs = {"blob-1MiB": os.urandom(MIB), "blob-100MiB": os.urandom(100 * MIB), "blob-empty": b""}
    config = b"{}"
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", blob) for blob in blobs.values()],
        "annotations": {"padding": ""},
    }
    manifest["annotations"]["padding"] = "." * (MANIFEST_BYTES - len(json.dumps(manifest)))
    return {**blobs, "config": config, "manifest": json.dumps(manifest).encode()}


def push(server, files):
    """Pushes `contents()`; gives the path of each by name."""
    paths = {name: f"/v2/{REPOSITORY}/blobs/{digest(files[name])}" for name in files if name != "manifest"}
    for name in paths:
        answer = request(server, "POST", f"/v2/{REPOSITORY}/blobs/uploads/", expected=202)
        place = urljoin(server.url, answer.headers["Location"])
        place += ("&" if urlsplit(place).query else "?") + f"digest={digest(files[name])}"
        request(server, "PUT", place.removeprefix(server.url), files[name], expected=201)
    paths["manifest"] = f"/v2/{REPOSITORY}/manifests/latest"
    request(server, "PUT", paths["manifest"], files["manifest"], MANIFEST_TYPE, expected=201)
    return paths


def check(server, paths, files):
    """Reads everything once, which also makes it hot; gives path and entity tag by name.
    Errors: the bytes are others than those of `files`."""
    addresses = {}
    for name, path in paths.items():
        answer = request(server, "GET", path, expected=200)
        if answer.content != files[name]:
            raise Failure(f"{server.name} answers GET {path} with other bytes than it was given")
        addresses[name] = (path, answer.headers["ETag"] or "")
    return addresses


def request(server, method, path, body=b"", media_type="application/octet-stream", *, expected):
    """One request on a connection of its own. Errors: the answer is not the expected one."""
    connection = server.connection(TURN_SECONDS_MAX)
    try:
        connection.request(method, path, body, {"Content-Type": media_type, "Content-Length": str(len(body))})
        answer = connection.getresponse()
        answer.content = answer.read()
    except OSError as error:
        raise Failure(f"{server.name}: {method} {path}: {error}") from None
    finally:
        connection.close()
    if answer.status != expected:
        raise Failure(f"{server.name}: {method} {path}: {answer.status}, expected {expected}: {answer.content[:200]}")
    return answer


def digest(content):
    """As registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _descriptor(media_type, content):
    return {"mediaType": media_type, "digest": digest(content), "size": len(content)}
