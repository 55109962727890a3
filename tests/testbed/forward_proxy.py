"""A small real forward proxy on the loopback interface: requests by absolute URL and CONNECT tunnels, each recorded."""

import base64
import http.client
import select
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from gitlab_port_export.demo.serve import JsonHandler, serve

# Headers that belong to one connection and not to the message.
HOP_BY_HOP = {"connection", "keep-alive", "proxy-authorization", "proxy-connection", "transfer-encoding", "te", "host"}


@dataclass(frozen=True)
class Seen:
    """One request as it came: `target` is a whole URL, or host:port of a tunnel; `login` is user:password."""

    method: str
    target: str
    login: str
    headers: Mapping[str, str]


@dataclass
class Proxy:
    """A running proxy; `login` is the user:password that it asks for, `refusal` a status that it always answers."""

    login: str = ""
    refusal: int = 0
    said: str = "no"
    address: str = ""
    seen: list[Seen] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address as HTTP_PROXY takes it, with the login."""
        return f"http://{self.login}@{self.address}" if self.login else f"http://{self.address}"

    def hosts(self) -> set[str]:
        """host:port of everything that was asked for."""
        return {urlsplit(one.target).netloc or one.target for one in self.seen}


class _Handler(JsonHandler):
    def _note(self) -> bool:
        """Record the request and refuse it where that is wanted; whether it may pass."""
        proxy: Proxy = self.server.state
        encoded = self.headers.get("Proxy-Authorization", "").removeprefix("Basic ")
        login = base64.b64decode(encoded).decode()
        proxy.seen.append(Seen(self.command, self.path, login, dict(self.headers)))
        status = proxy.refusal or (407 if login != proxy.login else 0)
        if status:
            self.close_connection = True
            headers = [("Proxy-Authenticate", 'Basic realm="proxy"')] if status == 407 else []
            self.send_body(status, f"{proxy.said} {encoded} {login}".encode(), headers, "text/plain")
        return not status

    def answer(self, method: str) -> None:
        if not self._note():
            return
        parts = urlsplit(self.path)
        upstream = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        try:
            path = parts._replace(scheme="", netloc="").geturl()
            kept = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            upstream.request(method, path, self.body or None, kept)
            response = upstream.getresponse()
            body = response.read()
            headers = [
                (name, value)
                for name, value in response.getheaders()
                if name.lower() not in HOP_BY_HOP | {"content-type", "content-length"}
            ]
        finally:
            upstream.close()
        # Bytes pass as they are: a length that is given keeps the handler from packing them.
        self.send_body(
            response.status, body, [*headers, ("Content-Length", str(len(body)))], response.headers["Content-Type"]
        )

    def do_CONNECT(self) -> None:  # noqa: N802  # http.server's name
        self.close_connection = True
        if not self._note():
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as upstream:
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()
            _carry(self.connection, upstream)


def _carry(one: socket.socket, other: socket.socket) -> None:
    """Pass bytes both ways until either side ends."""
    peers = {one: other, other: one}
    while True:
        for ready in select.select(list(peers), [], [])[0]:
            try:
                data = ready.recv(1 << 16)
                peers[ready].sendall(data)
            except OSError:
                return
            if not data:
                return


@contextmanager
def forward_proxy(login: str = "", refusal: int = 0) -> Iterator[Proxy]:
    """Run a proxy until the block ends."""
    proxy = Proxy(login, refusal)
    with serve(_Handler, proxy) as server:
        proxy.address = server.url.partition("://")[2]
        yield proxy
