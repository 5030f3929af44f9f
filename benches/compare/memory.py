"""Memory: what a server takes when much is open at once.

In: a server that has just started. Out: a `Resident`. Nothing that is sent here is ever whole: what
uploads bring counts for nothing but the memory that they take meanwhile.
"""

import os
import re
import resource
import selectors
import socket
import time
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

import load
from load import GB, MIB
from servers import Failure

CONNECTIONS = 10_000
UPLOADS = 256
UPLOAD_SECONDS = 8

# Of all uploads together, because all of it needs room on the disk.
UPLOADS_BYTES_MAX = 6 * GB

# Until what a server does by itself, such as giving memory back, has been done.
SETTLE_SECONDS = 1

# Descriptors for everything but the connections.
SPARE_FILES = 200

# Bytes offered to a socket at a time, a chunk of a body without a declared length (RFC 9112 section 7.1).
CHUNK_BYTES = MIB // 4

ANSWER_BYTES_MAX = 16 * 1024
HEAD = re.compile(rb"HTTP/1.1 200 .*?\r\ncontent-length: *(\d+)\r\n.*?\r\n\r\n", re.DOTALL | re.IGNORECASE)


@dataclass
class Resident:
    """Resident bytes of one server in one state."""

    idle: int
    busy: int
    # What did not go as it should.
    failures: list
    # Of bodies, while it was busy.
    sent_bytes: int = 0


def connections(server):
    """With connections that are idle, each after one request."""
    _raise_limit(CONNECTIONS + SPARE_FILES)
    time.sleep(SETTLE_SECONDS)
    idle = server.resident_bytes()
    opened, refused = [], 0
    try:
        for _ in range(CONNECTIONS):
            try:
                opened.append(socket.create_connection(("127.0.0.1", server.port), load.TURN_SECONDS_MAX))
                _ask(opened[-1])
            except OSError:
                refused += 1
        time.sleep(SETTLE_SECONDS)
        busy = server.resident_bytes()
        closed = sum(map(_has_ended, opened))
    finally:
        for connection in opened:
            connection.close()
    failures = [f"{count} of {CONNECTIONS} connections {what}"
                for count, what in ((refused, "had no answer"), (closed, "did not stay open")) if count]
    return Resident(idle, busy, failures)


def uploads(server):
    """With uploads that bring bytes as fast as they are taken; the most memory until they are broken off."""
    time.sleep(SETTLE_SECONDS)
    idle = server.resident_bytes()
    chunk = memoryview(b"%x\r\n%b\r\n" % (CHUNK_BYTES, os.urandom(CHUNK_BYTES)))
    bodies, sent, ended = {}, 0, 0
    with selectors.DefaultSelector() as selector:
        try:
            for _ in range(UPLOADS):
                body = _begin_upload(server)
                bodies[body] = 0
                selector.register(body, selectors.EVENT_READ | selectors.EVENT_WRITE)
            deadline = time.monotonic() + UPLOAD_SECONDS
            while (left := deadline - time.monotonic()) > 0 and len(bodies) > ended and sent < UPLOADS_BYTES_MAX:
                for key, _ in selector.select(left):
                    # An answer before the end is a refusal, or the connection is broken.
                    if _has_ended(key.fileobj) or not _send(key.fileobj, chunk, bodies):
                        selector.unregister(key.fileobj)
                        ended += 1
                sent = sum(bodies.values())
            busy = server.resident_bytes_peak()
        finally:
            for body in bodies:
                body.close()
    failures = [f"{ended} of {UPLOADS} uploads ended early"] if ended else []
    return Resident(idle, busy, failures, sent)


def _ask(connection):
    """One request and its answer, read to its end. Errors: the answer breaks off."""
    connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    answer = b""
    while not (head := HEAD.match(answer)) or len(answer) < head.end() + int(head[1]):
        some = connection.recv(ANSWER_BYTES_MAX)
        if not some or len(answer) > ANSWER_BYTES_MAX:
            raise ConnectionError("no answer of known length")
        answer += some


def _send(body, chunk, bodies):
    """Sends what is left of a chunk, or some of it. Tells whether more can follow."""
    try:
        bodies[body] += body.send(chunk[bodies[body] % len(chunk) :])
    except BlockingIOError:
        pass
    except OSError:
        return False
    return True


def _begin_upload(server):
    """A socket that has sent all but the body of an upload."""
    name = f"/v2/{load.REPOSITORY}/blobs/uploads/"
    answer = load.request(server, "POST", name, expected=202)
    place = urlsplit(urljoin(server.url, answer.headers["Location"]))
    path = f"{place.path}?{place.query}" if place.query else place.path
    head = f"PATCH {path} HTTP/1.1\r\nHost: {place.netloc}\r\n"
    head += "Content-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    try:
        body = socket.create_connection(("127.0.0.1", server.port), load.TURN_SECONDS_MAX)
        body.sendall(head.encode())
    except OSError as error:
        raise Failure(f"{server.name} takes no upload: {error}") from None
    body.setblocking(False)
    return body


def _has_ended(connection):
    """Whether there is something to read where nothing should come: an answer, or the end."""
    connection.setblocking(False)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _raise_limit(count):
    """Lets this process open `count` files; servers raise their own limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise Failure(f"{count} open files are needed and {hard} allowed; raise the hard limit, or skip memory")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
