"""Local S3 for tests: a real service (moto) filled from a folder, and a proxy before it that misbehaves."""

from __future__ import annotations

import contextlib
import http.client
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

BUCKET = "physionet-open"


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """Serve a folder's files as the bucket's objects, readable by anyone; yields the endpoint's address."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        client.create_bucket(Bucket=BUCKET, ACL="public-read")
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            key = file.relative_to(folder).as_posix()
            client.put_object(Bucket=BUCKET, Key=key, Body=file.read_bytes(), ACL="public-read")
        yield endpoint
    finally:
        server.stop()


class Faults:
    """What goes wrong, decided request by request; counts what was asked for."""

    def __init__(self, choose: Callable[[int, str, str], str | None]) -> None:
        """`choose(number, method, path)` answers with a fault or None.

        "500", "503", "flipped" (a bit of the body), "drop" (half the body, then the end), "hang" (half the
        body, then nothing), "trickle" (half the body, then byte by byte), "endless" (the body again and
        again), "whole" (ranges are ignored, as by some caches), "416" (they are refused), "elsewhere"
        (another part is said to come), "untold" (it is not said which); the last three where a range was
        asked for.
        """
        self.requests: list[tuple[str, str, str | None]] = []  # method, path, Range header
        self._choose = choose
        self._lock = threading.Lock()

    def next(self, method: str, path: str, byte_range: str | None) -> str | None:
        with self._lock:
            self.requests.append((method, path, byte_range))
            return self._choose(len(self.requests), method, path)


@contextlib.contextmanager
def flaky(endpoint: str, faults: Faults) -> Iterator[str]:
    """A proxy before an S3 service that answers with faults; yields its address."""
    upstream = urlsplit(endpoint)
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            fault = faults.next(self.command, self.path, self.headers.get("Range"))
            if fault in ("500", "503"):
                self.send_response(int(fault))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            asked = self.headers.get("Range")
            if fault == "416" and asked:
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=30)
            headers = dict(self.headers)
            if fault == "whole":
                headers = {name: value for name, value in headers.items() if name.lower() != "range"}
            connection.request(self.command, self.path, headers=headers)
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            if fault == "flipped" and body:
                body = body[:-1] + bytes([body[-1] ^ 1])
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if fault == "untold" and name.lower() == "content-range":
                    continue
                if fault == "elsewhere" and name.lower() == "content-range":
                    value = value.replace(" ", " 1", 1)
                if name.lower() not in (
                    "transfer-encoding",
                    "connection",
                    "date",
                    "server",
                    "content-length",
                ):
                    self.send_header(name, value)
            if fault == "endless" and self.command == "GET":
                self.close_connection = True
                self.send_header("Content-Length", str(10**15))
                self.end_headers()
                with contextlib.suppress(OSError):
                    while not ended.is_set():
                        self.wfile.write(body)
                return
            length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(body))
            self.send_header("Content-Length", length or "0")
            self.end_headers()
            if fault in ("hang", "trickle") and self.command == "GET":
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                for byte in body[len(body) // 2 :]:
                    if ended.wait(0.2):
                        break
                    if fault == "trickle":
                        with contextlib.suppress(OSError):
                            self.wfile.write(bytes([byte]))
                            self.wfile.flush()
                self.close_connection = True
                return
            if fault == "drop":
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            self.wfile.write(body)

        do_GET = do_HEAD = _forward

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
