"""The client of Port's API: signs in, and refreshes a refused token once for all workers."""

import hashlib
import threading
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from gitlab_port_export.base.answer import Answer, Unreachable
from gitlab_port_export.base.auth import Bearer
from gitlab_port_export.base.errors import PortUnavailable
from gitlab_port_export.base.http import Http
from gitlab_port_export.base.jsontext import decode, in_words

REFRESHES = 3
REGIONS = {"api.getport.io": "api.us.getport.io", "api.port.io": "api.us.port.io"}


class PortRefused(Exception):
    """Port answered a request with an error; `status`, `code` (Port's own word) and text say which.

    `documented`: the body is what Port documents, and not the page of something on the way.
    """

    def __init__(self, answer: Answer) -> None:
        data = answer.data if isinstance(answer.data, dict) else {}
        self.documented = bool(data)
        self.status = answer.status
        self.code = in_words(data.get("error") or "", 100)
        self.text = in_words(data.get("message") or self.code or f"status {answer.status}", 500)
        super().__init__(f"{answer.status}: {self.text}")


def advice(failure: PortRefused | Unreachable | int, right: str, otherwise: str = "run again") -> str:
    """Return what to do about a refusal (or its status): `right` is what the credentials must be allowed to do."""
    if isinstance(failure, Unreachable):
        return "check the network and proxies, and run again"
    status = failure if isinstance(failure, int) else failure.status
    if status in (401, 403):
        return f"give the credentials the right to {right}"
    return "Port was busy or in trouble; run again later" if status == 429 or status >= 500 else otherwise


@contextmanager
def documented(what: str) -> Iterator[None]:
    """Raise Unreachable where the answer to `what` has another shape than Port documents, as these errors show."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        found = f"{type(error).__name__}: {error}"[:200]
        raise Unreachable(f"{what} came in another shape than Port documents ({found})") from None


class Port:
    """The API of one Port organisation, signed in with client credentials."""

    def __init__(self, http: Http, credentials: Callable[[], tuple[str, str]]) -> None:
        self.http = http
        self._credentials = credentials
        self._lock = threading.Lock()
        self._token = ""

    def sign_in(self, *, first_contact: bool = False) -> Answer:
        """Fetch an access token. Raises PortUnavailable when Port refuses the credentials or cannot be reached."""
        client, secret = self._credentials()
        try:
            answer = self.http.send(
                "POST",
                "/v1/auth/access_token",
                payload={"clientId": client, "clientSecret": secret},
                first_contact=first_contact,
            )
        except Unreachable as failure:
            raise PortUnavailable(
                f"Port at {self.http.base_url} could not be reached: {failure}",
                hint="check OCEAN__PORT__BASE_URL, the network, proxies and certificates",
            ) from None
        token = answer.data.get("accessToken") if isinstance(answer.data, dict) else None
        if answer.status != 200 or not isinstance(token, str):
            raise self._refusal(answer)
        self._token = token
        return answer

    def _refusal(self, answer: Answer) -> PortUnavailable:
        if not isinstance(answer.data, dict):
            return PortUnavailable(
                f"Port at {self.http.base_url} answered {answer.status} with something that is not its API's JSON",
                hint="check OCEAN__PORT__BASE_URL; a login page or proxy may answer in Port's place",
            )
        if answer.status == 429 or answer.status >= 500:
            return PortUnavailable(
                f"Port at {self.http.base_url} is in trouble: {PortRefused(answer)}", hint="run again later"
            )
        host = self.http.base_url.partition("://")[2]
        other = REGIONS.get(host) or next((eu for eu, us in REGIONS.items() if us == host), "")
        region = (
            f"; if the organisation is in the other region, set OCEAN__PORT__BASE_URL=https://{other}" if other else ""
        )
        return PortUnavailable(
            f"Port at {self.http.base_url} refused the credentials: {PortRefused(answer)}",
            hint=f"check OCEAN__PORT__CLIENT_ID and OCEAN__PORT__CLIENT_SECRET{region}",
        )

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Sequence[tuple[str, str]] = (),
        payload: Any = None,
        attempts: int | None = None,
        agent: str = "",
    ) -> Answer:
        """Return the answer, whatever its status. After a 401 the token is refreshed once and the request repeated.

        Everything we send may be repeated: searches read, upserts and deletions are idempotent. `attempts` is another
        number of attempts, `agent` another User-Agent. Raises Unreachable.
        """
        bearer = Bearer(self.http.origin, lambda: self._token, agent)
        for left in range(REFRESHES, -1, -1):
            used = self._token
            answer = self.http.send(
                method, f"/v1{path}", params=params, payload=payload, auth=bearer, attempts=attempts
            )
            if answer.status != 401 or not left:
                break
            with self._lock:
                if self._token == used:
                    self.sign_in()
        return answer

    def organization(self) -> str:
        """Return what identifies the organization of the credentials: the token says it, else Port is asked.

        Where Port may not be asked it is a digest of the client id, which no other organization has. Raises
        PortRefused and Unreachable.
        """
        if named := _claims(self._token).get("orgId"):
            return str(named)
        try:
            found = self.ask("GET", "/organization")
        except PortRefused as refusal:
            if refusal.status not in (401, 403, 404):
                raise
            client, _ = self._credentials()
            return f"of the client sha256:{hashlib.sha256(client.encode()).hexdigest()[:16]}"
        with documented("the organization"):
            return str(found["organization"]["id"])

    def ask(self, method: str, path: str, **request: Any) -> Any:
        """Return the parsed body of a successful answer to `call`. Raises PortRefused and Unreachable."""
        return self.succeed(method, path, **request).data

    def succeed(self, method: str, path: str, **request: Any) -> Answer:
        """Return a successful answer to `call`, whose data is an object. Raises PortRefused and Unreachable."""
        answer = self.call(method, path, **request)
        if answer.status not in (200, 201) or not isinstance(answer.data, dict) or answer.data.get("ok") is False:
            raise PortRefused(answer)
        return answer


def _claims(token: str) -> dict[str, Any]:
    """Return the claims of an access token, none where it is no JWT. They are not verified: Port does that."""
    try:
        part = token.split(".")[1]
        found = decode(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (LookupError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def segment(text: str) -> str:
    """Return text as one path segment; identifiers may hold slashes."""
    return quote(text, safe="")
