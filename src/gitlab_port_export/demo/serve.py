"""A small threaded HTTP/1.1 server on the loopback interface, on which the stand-ins run."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Headers = Iterable[tuple[str, str]]
GZIP_FROM = 1024


class Server(ThreadingHTTPServer):
    """Serves one handler class; `state` is whatever that handler answers from."""

    daemon_threads = False  # closing waits for the handlers, so that no socket stays open
    request_queue_size = 128

    def __init__(self, handler: type[BaseHTTPRequestHandler], state: Any, tls: ssl.SSLContext | None):
        self.state = state
        self.tls = tls
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def url(self) -> str:
        """Base address without a trailing slash."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.server_address[1]}"

    def pause(self, seconds: float) -> None:
        """Sleep in a handler, until the server stops at most."""
        self.stopping.wait(seconds)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection; its TLS handshake happens later, in the connection's own thread."""
        connection, address = super().get_request()
        if self.tls:
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        """Forget and close a connection."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print errors, but for a client that closed the connection or refused the certificate."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def hang_up(self) -> None:
        """End idle keep-alive connections, which would otherwise keep their threads."""
        self.stopping.set()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def serve(handler: type[BaseHTTPRequestHandler], state: object, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Run a server on a free loopback port until the block ends."""
    server = Server(handler, state, tls)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.hang_up()
        server.server_close()


class JsonHandler(BaseHTTPRequestHandler):
    """Keep-alive handler: subclasses write `answer(method)` and call `send_json` or `send_body`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16  # head and body leave in one packet; the base class flushes after each request
    server: Server
    body: bytes = b""

    def answer(self, method: str) -> None:
        """Answer one request; its body has been read into `self.body`."""
        raise NotImplementedError

    @property
    def url_path(self) -> str:
        """Path as it was sent, still percent-encoded, without the query."""
        return urlsplit(self.path).path

    @property
    def url_query(self) -> tuple[tuple[str, str], ...]:
        """Decoded query pairs in the order they were sent, blank values kept."""
        return tuple(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))

    def json_body(self) -> Any:
        """Return the parsed request body, None when there is none; ValueError when it is not JSON."""
        return json.loads(self.body) if self.body else None

    def send_json(self, status: int, payload: object, headers: Headers = ()) -> None:
        """Answer with a JSON document."""
        self.send_body(status, json.dumps(payload, ensure_ascii=False).encode(), headers)

    def send_body(
        self, status: int, body: bytes, headers: Headers = (), content_type: str = "application/json"
    ) -> None:
        """Answer with these bytes, gzipped when the client asks for it and it pays.

        Headers that are given win: a `Content-Encoding` says that the body is packed already, and a
        `Content-Length` may lie.
        """
        extra = [*headers]
        given = {name.lower() for name, _ in extra}
        bodiless = status in (204, 304)
        packable = len(body) > GZIP_FROM and "content-encoding" not in given
        if packable and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, compresslevel=1)
            extra.append(("Content-Encoding", "gzip"))
        if not bodiless:
            extra.append(("Content-Type", content_type))
        if not bodiless and "content-length" not in given:
            extra.append(("Content-Length", str(len(body))))
        self.send_response(status)
        for name, value in extra:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and not bodiless:
            self.wfile.write(body)

    def drop(self) -> None:
        """Close the connection without (further) answering."""
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Write no access log: stderr belongs to the program under demonstration."""

    def handle(self) -> None:
        """Serve a connection until either side closes it."""
        with suppress(BrokenPipeError, ConnectionResetError):
            super().handle()

    def finish(self) -> None:
        """Close the streams; what is left to flush is dropped when the client has gone."""
        with suppress(OSError):
            super().finish()

    def _dispatch(self) -> None:
        self.body = self._read_body()
        self.answer(self.command)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _dispatch  # noqa: N815  # http.server's names

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline() not in (b"\r\n", b"\n", b""):
            pass  # trailers
