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
import ssl
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
    """A server that this program started. `name` is its heading in the tables; with a certificate it
    speaks TLS."""

    def __init__(self, name, command, port, directory, certificate=None):
        self.name = name
        self.port = port
        self.certificate = certificate
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
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
                connection = self.connection(START_SECONDS_MAX)
                connection.request("GET", "/v2/")
                connection.getresponse().read()
                return
            except OSError:
                time.sleep(POLL_SECONDS)
            finally:
                connection.close()
        raise Failure(f"{self.name} did not start; it said: {self.log.read_text(errors='replace')[-500:].strip()}")

    def connection(self, seconds_max):
        """A connection to it, not open yet."""
        if not self.certificate:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds_max)
        context = ssl.create_default_context(cafile=self.certificate.file)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=seconds_max, context=context)

    def cipher(self):
        """Cipher and protocol that it agrees on with OpenSSL's defaults, which are also wrk's."""
        connection = self.connection(START_SECONDS_MAX)
        try:
            connection.connect()
            name, protocol, _ = connection.sock.cipher()
        finally:
            connection.close()
        return f"{name}, {protocol}"

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
        return self._status("VmRSS")

    def resident_bytes_peak(self):
        """The most that its processes have ever had, each at its own time."""
        return self._status("VmHWM")

    def stop(self):
        """Ends it; by force if it takes too long."""
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _status(self, field):
        kibibytes = 0
        for pid in self._pids():
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            found = re.search(rf"^{field}:\s+(\d+) kB", status, re.MULTILINE)
            kibibytes += int(found[1]) if found else 0
        return kibibytes * 1024

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


class Certificate:
    """A certificate for 127.0.0.1 that has signed itself, made now."""

    def __init__(self, directory):
        self.file, self.key = directory / "certificate.pem", directory / "key.pem"
        command = [program("openssl"), "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=compare"]
        command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]
        command += ["-keyout", self.key, "-out", self.file]
        done = subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS_MAX, check=False)
        if done.returncode:
            raise Failure(f"openssl made no certificate: {done.stderr.strip()[-500:]}")


def orlop(binary, directory, certificate=None):
    """Orlop with its defaults, but for the log."""
    port = _free_port()
    config = {
        "storage": {"rootDirectory": str(directory / "root")},
        "http": {"address": "127.0.0.1", "port": str(port)},
        "log": {"level": "error"},
    }
    if certificate:
        config["http"]["tls"] = {"cert": str(certificate.file), "key": str(certificate.key)}
    file = directory / "config.json"
    file.write_text(json.dumps(config))
    return Server("Orlop", [binary, "serve", file], port, directory, certificate)


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
{workers}
pid {directory}/pid;
error_log {directory}/error.log;
http {{
    {settings}
    default_type application/octet-stream;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port}{tls};
        root {directory}/files;
    }}
}}
"""

NGINX_WORKERS = "worker_processes 2; events {}"

# What makes nginx fast: sendfile, cached open files, no log, connections that are never closed.
NGINX_TUNED = """\
    sendfile on; tcp_nopush on; access_log off;
    keepalive_requests 1000000000; open_file_cache max=100;"""

# What Debian's nginx.conf says about files, all else being nginx's defaults.
NGINX_DEBIAN_WORKERS = "worker_processes auto; events { worker_connections 768; }"
NGINX_DEBIAN = """\
    sendfile on; tcp_nopush on; types_hash_max_size 2048; gzip on;
    access_log %s/access.log;"""

# Records of 16 KiB, the largest there are. Without kernel TLS sendfile has nothing to send.
NGINX_TLS = NGINX_TUNED.replace("sendfile on", "sendfile off") + """
    output_buffers 2 256k; ssl_buffer_size 16k; ssl_protocols TLSv1.3;
    ssl_certificate {0.file}; ssl_certificate_key {0.key};"""


def nginx(directory, files):
    """nginx as a server of `files`, bytes by name, tuned for it."""
    return _nginx("nginx", directory, files, NGINX_WORKERS, NGINX_TUNED)


def nginx_debian(directory, files):
    """nginx as Debian installs it: with a log of every request, and files opened for each."""
    return _nginx("nginx, Debian's", directory, files, NGINX_DEBIAN_WORKERS, NGINX_DEBIAN % directory)


def nginx_tls(directory, files, certificate):
    """nginx over TLS 1.3, tuned for it."""
    return _nginx("nginx", directory, files, NGINX_WORKERS, NGINX_TLS.format(certificate), certificate)


def _nginx(name, directory, files, workers, settings, certificate=None):
    port = _free_port()
    for file_name, content in files.items():
        path = directory / "files" / file_name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    # Its workers take another user, who may not read a private directory, unless told not to.
    user = "user root;" if os.geteuid() == 0 else ""
    file = directory / "nginx.conf"
    tls = " ssl" if certificate else ""
    text = NGINX.format(user=user, workers=workers, settings=settings, directory=directory, port=port, tls=tls)
    file.write_text(text)
    command = [program("nginx"), "-p", directory, "-c", file, "-e", directory / "error.log"]
    return Server(name, command, port, directory, certificate)


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
