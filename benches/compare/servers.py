"""Servers to compare: each a process on a loopback port of its own, its data in a directory of its own.

In: programs and an empty directory. Out: a server that answers, what it costs the machine, and at
the end nothing: no process, no port.
"""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

START_SECONDS_MAX = 20
STOP_SECONDS_MAX = 20
POLL_SECONDS = 0.02
CLOCK_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """What ends the comparison, told in one line."""


class Server:
    """A server that this program started. `name` is its heading in the tables."""

    def __init__(self, name, command, port, directory):
        self.name = name
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = directory / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_until_ready(self):
        """Returns once it answers. Errors: it ended, or has not answered in time."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS_MAX)
                connection.request("GET", "/v2/")
                connection.getresponse().read()
                return
            except OSError:
                time.sleep(POLL_SECONDS)
            finally:
                connection.close()
        raise Failure(f"{self.name} did not start; it said: {self.log.read_text(errors='replace')[-500:].strip()}")

    def cpu_seconds(self):
        """Processor time in user and kernel mode that its processes took since they started."""
        ticks = 0
        for pid in self._pids():
            fields = _stat(pid)
            if fields:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / CLOCK_TICKS_PER_SECOND

    def resident_bytes(self):
        """Resident memory of its processes; pages they share are counted in each."""
        kibibytes = 0
        for pid in self._pids():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
            kibibytes += int(found[1]) if found else 0
        return kibibytes * 1024

    def stop(self):
        """Ends it; by force if it takes too long."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _pids(self):
        """The process and its children; none of these servers has grandchildren."""
        try:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        except OSError:
            children = ""
        return [str(self.process.pid), *children.split()]


class Remote:
    """A registry that somebody else runs: loaded, but nothing is known of its processes."""

    def __init__(self, url):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Failure(f"--registry {url!r} is no registry URL; expected http://HOST:PORT")
        self.url = url
        self.name = parts.netloc

    def cpu_seconds(self):
        return None

    def resident_bytes(self):
        return None

    def stop(self):
        pass


def orlop(binary, directory):
    """Orlop with its defaults, but for the log."""
    port = _free_port()
    config = {
        "storage": {"rootDirectory": str(directory / "root")},
        "http": {"address": "127.0.0.1", "port": str(port)},
        "log": {"level": "error"},
    }
    file = directory / "config.json"
    file.write_text(json.dumps(config))
    return Server("Orlop", [binary, "serve", file], port, directory)


def distribution(directory):
    """Debian's docker-registry with the storage section of Debian's own configuration."""
    port = _free_port()
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {
            "cache": {"blobdescriptor": "inmemory"},
            "filesystem": {"rootdirectory": str(directory / "root")},
            "delete": {"enabled": True},
        },
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    # Its parser reads YAML, of which JSON is a part.
    file = directory / "config.yml"
    file.write_text(json.dumps(config))
    return Server("distribution", [program("docker-registry"), "serve", file], port, directory)


NGINX = """\
daemon off;
{user}
worker_processes 2;
pid {directory}/pid;
error_log {directory}/error.log;
events {{}}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    open_file_cache max=100;
    default_type application/octet-stream;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {directory}/files;
    }}
}}
"""


def nginx(directory, files):
    """nginx as a server of `files`, bytes by name. It gets what makes it fast: sendfile, cached open
    files, no log, connections that are never closed."""
    port = _free_port()
    for name, content in files.items():
        path = directory / "files" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    # Its workers take another user, who may not read a private directory, unless told not to.
    user = "user root;" if os.geteuid() == 0 else ""
    file = directory / "nginx.conf"
    file.write_text(NGINX.format(user=user, directory=directory, port=port))
    command = [program("nginx"), "-p", directory, "-c", file, "-e", directory / "error.log"]
    return Server("nginx", command, port, directory)


def program(name):
    """The path of an installed program. Errors: it is not there."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if not found:
        raise Failure(f"{name} is missing; `scripts/setup compare` installs it")
    return found


def versions(orlop_binary):
    """What is compared, by name."""
    commands = {
        "Orlop": ([orlop_binary, "--version"], r"orlop (\S+)"),
        "distribution": ([program("docker-registry"), "--version"], r"distribution (\S+)"),
        "nginx": ([program("nginx"), "-v"], r"nginx/(\S+)"),
        "wrk": ([program("wrk"), "--version"], r"wrk (?:debian/)?(\S+)"),
    }
    found = {}
    for name, (command, pattern) in commands.items():
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS_MAX, check=False)
        version = re.search(pattern, done.stdout + done.stderr)
        found[name] = version[1] if version else "of unknown version"
    return found


def _free_port():
    """A port that was free just now; none of these servers tells which one the kernel gave it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _stat(pid):
    """The fields of /proc/PID/stat after the name, which may have spaces (proc(5)); none if it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
