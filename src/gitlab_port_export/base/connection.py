"""Connections to one host: requests' adapters without its sessions, which cost as much again per request.

What is bypassed, and why. `requests.Session.request` looks up the proxy, the certificates, ~/.netrc and the cookies
for every request, and `requests.Request.prepare` checks the address each time. Here the host is known: proxy and
certificates are looked up once, there are no cookies and no ~/.netrc, redirects are followed by `Http`, and addresses
are checked with the settings. A GET takes 0.30 to 0.36 ms of the processor's time this way and 0.52 to 0.59 ms with a
session. What remains is requests' own: the adapter (`HTTPAdapter.send`), its exceptions, and the pools of urllib3.
"""

import re
import ssl
import threading
from urllib.parse import urlencode

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.structures import CaseInsensitiveDict
from requests.utils import prepend_scheme_if_needed, requote_uri, select_proxy
from urllib3.exceptions import HTTPError
from urllib3.util.ssl_ import create_urllib3_context

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.base.retries import TryAgain

Params = tuple[tuple[str, str], ...]
# What requests, urllib3 and the sockets raise for a request that got no answer.
NO_ANSWER = (requests.exceptions.RequestException, HTTPError, OSError)


class Connections:
    """The connections of all threads to one host: one adapter a thread, which keeps its connection open."""

    def __init__(self, base_url: str, *, verify: bool | str, strict: bool) -> None:
        self._base_url = base_url
        # The proxy and the certificates that the environment names for this host.
        found = requests.Session().merge_environment_settings(base_url, {}, True, verify, None)
        self._proxies, self._verify = found["proxies"], found["verify"]
        self._tls = None if strict else _lenient_tls()
        self._local = threading.local()
        self._lock = threading.Lock()
        self._adapters: list[HTTPAdapter] = []

    def send(self, request: requests.PreparedRequest, timeout: tuple[float, float]) -> requests.Response:
        """Send a request and return the response with its body unread; `timeout` is connect and read seconds.

        Raises one of NO_ANSWER; `failure` puts it into words.
        """
        return self._adapter().send(
            request,
            stream=True,
            timeout=timeout,
            verify=True if self._verify is None else self._verify,
            proxies=self._proxies,
        )

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for adapter in self._adapters:
                adapter.close()
            self._adapters.clear()

    def _adapter(self) -> HTTPAdapter:
        adapter: HTTPAdapter | None = getattr(self._local, "adapter", None)
        if adapter is None:
            adapter = self._local.adapter = HTTPAdapter(pool_connections=1, pool_maxsize=1, max_retries=0)
            if self._tls:
                adapter.init_poolmanager(1, 1, ssl_context=self._tls)
                if proxy := select_proxy(self._base_url, self._proxies):
                    # The adapter keeps what it has made for a proxy, under its address.
                    address = prepend_scheme_if_needed(proxy, "http")  # type: ignore[no-untyped-call]  # has no types
                    adapter.proxy_manager_for(address, ssl_context=self._tls)
            with self._lock:
                self._adapters.append(adapter)
        return adapter


def _lenient_tls() -> ssl.SSLContext:
    """Return a context that takes certificates which break RFC 5280, as those of many private authorities do.

    Python verifies strictly from 3.13 on: https://docs.python.org/3/library/ssl.html#ssl.create_default_context
    """
    context = create_urllib3_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def prepared(
    method: str, url: str, params: Params, headers: dict[str, str], body: bytes | None, auth: AuthBase
) -> requests.PreparedRequest:
    """Return the request as `requests.Request(…).prepare()` would, without its checks of the address."""
    request = requests.PreparedRequest()
    request.method, request.body = method, body
    request.url = f"{requote_uri(url)}?{urlencode(params)}" if params else requote_uri(url)
    request.headers = CaseInsensitiveDict(headers)
    if body is not None:
        request.headers["Content-Length"] = str(len(body))
    elif method != "GET":
        request.headers["Content-Length"] = "0"
    signed: requests.PreparedRequest = auth(request)
    return signed


def failure(error: Exception, origin: str) -> Unreachable | TryAgain:
    """Return what a request without an answer ends with: TryAgain where another attempt may do better.

    The text of Unreachable and TryAgain holds no secret: requests quotes the proxy's address, with its password.
    """
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        # The host's own address was checked with the settings, so it is the proxy's.
        return Unreachable("the proxy in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY cannot be used")
    reason = _innermost(error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        text = f"the TLS certificate of {origin} could not be verified: {_text(reason)}{_advice(reason)}"
        return Unreachable(text)
    proxy = isinstance(error, requests.exceptions.ProxyError)
    what = "the proxy refused" if proxy else f"{origin} did not answer"
    return TryAgain(None, f"{what}: {_text(reason)}")


def _innermost(error: BaseException) -> BaseException:
    """Return the error at the bottom of requests' and urllib3's nested ones."""
    named = getattr(error, "reason", None) or getattr(error, "original_error", None)
    inner = named or (error.args[0] if error.args else None)
    return _innermost(inner) if isinstance(inner, BaseException) else error


def _advice(reason: ssl.SSLCertVerificationError) -> str:
    # OpenSSL's codes for a certificate of an unknown authority, and for one that breaks RFC 5280:
    # https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/
    if reason.verify_code in (18, 19, 20, 21):
        return "; name the file of the authority that signed it in REQUESTS_CA_BUNDLE"
    if reason.verify_code in range(79, 95):
        return "; mend the certificate, or set OCEAN__SSL__PORT__X509__STRICT=false (GitLab: __THIRD_PARTY__)"
    return ""


def _text(reason: BaseException) -> str:
    # urllib3 puts its own object, or the host once more, before the reason.
    return re.sub(r"^(<[^>]*object at 0x[^>]*>|HTTPS?Connection(Pool)?\([^)]*\)): ", "", str(reason))
