"""How a request is signed: only for its own host, and never from ~/.netrc."""

from collections.abc import Callable
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from gitlab_port_export.base.answer import Unreachable


class Bearer(AuthBase):
    """Sign requests to one origin and refuse every other.

    It is an auth object and no plain header, because requests replaces a plain Authorization header with what
    ~/.netrc holds for the host. With an `agent` the request carries that User-Agent instead of the client's own.
    """

    def __init__(self, origin: str, token: Callable[[], str], agent: str = "") -> None:
        self._origin, self._token, self._agent = origin, token, agent

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request signed. Raises Unreachable for another origin and for a token that no header can carry."""
        if origin_of(request.url or "") != self._origin:
            raise Unreachable("refused to send credentials to another host")
        token = self._token()
        # http.client would raise an error that shows the token.
        if not (token.isascii() and token.isprintable()):
            raise Unreachable("the token holds characters that an HTTP header cannot carry")
        request.headers["Authorization"] = f"Bearer {token}"
        if self._agent:
            request.headers["User-Agent"] = self._agent
        return request


class NoAuth(AuthBase):
    """Send no credentials, also none from ~/.netrc."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request unsigned."""
        return request


def origin_of(url: str) -> str:
    """Return scheme://host:port of a URL, in lower case and with the port always written; "" where it is no URL."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return ""
    return f"{parts.scheme}://{(parts.hostname or '').lower()}:{port}"
