"""GitLab as one token shows it: single objects, whole lists, and one write at a time."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from gitlab_port_export.access.values import Write
from gitlab_port_export.base.answer import Answer, Unreachable
from gitlab_port_export.base.auth import Bearer
from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.parallel import Job, drive
from gitlab_port_export.gitlab.arrived import key_of
from gitlab_port_export.gitlab.client import REFUSALS, Get, GitLab, Params, ReadFailed
from gitlab_port_export.gitlab.lists import read_list
from gitlab_port_export.model import Row

# The alias of the token that may write, in messages and in the client.
WRITER = "write token"


@dataclass(frozen=True)
class Lost:
    """A request to which no answer came, so that nobody knows whether it was carried out."""

    why: str


class Api:
    """Reads with the client of a sync; writes are few, and each is sent once."""

    def __init__(self, gitlab: GitLab, token: str, secret: Callable[[], str], workers: int = 10) -> None:
        self.gitlab, self.token = gitlab, token
        self._auth = Bearer(gitlab.http.origin, secret)
        self._workers = workers
        # The deadline has passed: what was sent may still be read back.
        self.late = False

    @property
    def clock(self) -> Clock:
        """The clock of the command."""
        return self.gitlab.http.clock

    def own_user(self) -> Row:
        """Return the token's user; the first question, bounded in time. Raises ReadFailed."""
        row: Row = self.gitlab.get(Get(self.token, "/user", gives="object"), first_contact=True).data
        return row

    def one(self, path: str, params: Params = ()) -> Row | None:
        """Return one object, None where GitLab says 404. Raises ReadFailed."""
        try:
            row: Row = self.gitlab.get(Get(self.token, path, params, gives="object")).data
        except ReadFailed as failure:
            if failure.reason == "missing":
                return None
            raise
        return row

    def rows(self, path: str, params: Params = (), key: Callable[[Row], Hashable] = key_of) -> list[Row]:
        """Return a whole list, whose rows `key` tells apart. Raises ReadFailed."""
        job = read_list(self.token, path, params, list, counted=False, key=key)
        return [row for page in self._drive([job]) for row in page]

    def rows_or_none(self, path: str, params: Params = ()) -> list[Row]:
        """Return a whole list, nothing where GitLab does not have it or not for this token. Raises ReadFailed."""
        try:
            return self.rows(path, params)
        except ReadFailed as failure:
            if failure.reason in (*REFUSALS, "refused"):
                return []
            raise

    def each(self, paths: Iterable[str]) -> dict[str, Row]:
        """Return the object at each path side by side, without those that are not there. Raises ReadFailed."""
        return dict(found for found in self._drive(map(self._maybe, paths)) if found)

    def _maybe(self, path: str) -> Job:
        try:
            answer = yield Get(self.token, path, gives="object")
        except ReadFailed as failure:
            if failure.reason not in REFUSALS:
                raise
            yield None
        else:
            yield path, answer.data

    def _drive(self, jobs: Iterable[Job]) -> Iterable[Any]:
        return drive(jobs, self.gitlab.get, Get, workers=self._workers)

    def send(self, write: Write) -> Answer | Lost:
        """Send one write once: whether a lost one took effect is only seen by reading. Raises Stopped."""
        http, path = self.gitlab.http, f"/api/v4{write.path}"
        try:
            return http.send(
                write.method, path, params=write.params, payload=write.payload, auth=self._auth, attempts=1
            )
        except Unreachable as failure:
            return Lost(str(failure))


def quoted(text: str) -> str:
    """Return a text as one part of a path."""
    return quote(text, safe="")
