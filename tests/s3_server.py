"""An S3 server on the loopback, behind a proxy that fails as networks and stores do."""

from __future__ import annotations

import http.client
import http.server
import itertools
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_BUCKETS = itertools.count()


@dataclass(frozen=True)
class Fault:
    """What happens to one request.

    Attributes:
        kind: "answer": the proxy answers with ``status`` and ``code``; "reset": it reads half of the request and
            closes the connection; "lose": the server does its work and its answer is lost; "cut": half of the answer's
            body arrives; "slow": everything arrives, after ``seconds``.
    """

    kind: Literal["answer", "reset", "lose", "cut", "slow"] = "answer"
    status: int = 503
    code: str = "SlowDown"
    headers: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0


class FaultyProxy:
    """An HTTP proxy before an S3 server.

    Attributes:
        faults: what happens to the next requests, in order; when it is empty, all pass.
        always: what happens to each request while it is set.
        num_requests: number of requests so far, faulty ones included.
        bucket: URI of an empty bucket.
    """

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.num_requests = 0
        self.bucket = f"s3://raylift-{next(_BUCKETS)}"
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _any(self) -> None:
                proxy.num_requests += 1
                fault = proxy.always or (proxy.faults.popleft() if proxy.faults else None)
                proxy._serve(self, fault, upstream)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _any

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, request: Any, fault: Fault | None, upstream: tuple[str, int]) -> None:
        kind = fault.kind if fault else ""
        length = int(request.headers.get("Content-Length") or 0)
        if kind == "reset":
            request.rfile.read(length // 2)
            _hang_up(request)
            return
        body = request.rfile.read(length)
        if fault is not None and kind == "answer":
            text = f"<Error><Code>{fault.code}</Code><Message>said the proxy</Message></Error>".encode()
            _reply(request, fault.status, fault.headers, b"" if request.command == "HEAD" else text)
            return
        if fault is not None and kind == "slow":
            time.sleep(fault.seconds)
        connection = http.client.HTTPConnection(*upstream, timeout=30)
        connection.request(request.command, request.path, body, dict(request.headers))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if kind == "lose":
            _hang_up(request)
            return
        headers = tuple((name, value) for name, value in answer.getheaders() if name.lower() != "connection")
        _reply(request, answer.status, headers, content, len(content) // 2 if kind == "cut" else None)


def _reply(
    request: Any, status: int, headers: tuple[tuple[str, str], ...], body: bytes, only: int | None = None
) -> None:
    request.send_response_only(status)
    names = {name.lower() for name, _ in headers}
    for name, value in headers:
        request.send_header(name, value)
    if "content-length" not in names:
        request.send_header("Content-Length", str(len(body)))
    if "date" not in names:
        request.send_header("Date", request.date_time_string())
    request.end_headers()
    request.wfile.write(body[:only])
    if only is not None:
        _hang_up(request)


def _hang_up(request: Any) -> None:
    request.close_connection = True
    request.wfile.flush()
    request.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def s3_behind_a_proxy() -> Iterator[FaultyProxy]:
    """A bucket, and the AWS variables that lead to it through the proxy."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    proxy = FaultyProxy(server.get_host_and_port())
    values = {**CREDENTIALS, "AWS_ENDPOINT_URL": proxy.endpoint}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        from raylift.core import object_store

        object_store.client().create_bucket(Bucket=proxy.bucket.removeprefix("s3://"))
        yield proxy
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
        proxy.stop()
        server.stop()
