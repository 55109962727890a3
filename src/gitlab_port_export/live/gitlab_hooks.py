"""Hooks over GitLab's API: lists, writes and tests them, and reads how their deliveries went."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from gitlab_port_export.base.answer import Answer, Unreachable
from gitlab_port_export.base.auth import Bearer
from gitlab_port_export.base.parallel import Job, drive
from gitlab_port_export.gitlab.client import Get, GitLab, Params, ReadFailed, shown_of
from gitlab_port_export.gitlab.lists import read_list
from gitlab_port_export.live.hook import Found, Place
from gitlab_port_export.model import Row


class HookRefused(Exception):
    """GitLab refused to change a hook; the text is for the user, `hint` says what to do."""

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.why, self.hint = why, hint


class HookApi:
    """Reads through the client that the sync reads with; writes are few, and go straight to GitLab."""

    def __init__(self, gitlab: GitLab, secrets: Mapping[str, Callable[[], str]], workers: int) -> None:
        self.gitlab = gitlab
        self._auth = {alias: Bearer(gitlab.http.origin, secret) for alias, secret in secrets.items()}
        self._workers = workers

    def rows(self, token: str, path: str, params: Params = ()) -> list[Row]:
        """Return a whole list. Raises ReadFailed."""
        pages = drive([read_list(token, path, params, list)], self.gitlab.get, Get, workers=self._workers)
        return [row for page in pages for row in page]

    def one(self, token: str, path: str) -> Row:
        """Return one object. Raises ReadFailed."""
        row: Row = self.gitlab.get(Get(token, path, gives="object")).data
        return row

    def version(self, token: str) -> tuple[int, ...]:
        """Return the major and minor version of GitLab, nothing where it does not tell."""
        try:
            text = str(self.one(token, "/version").get("version"))
        except ReadFailed:
            return ()
        found = re.match(r"(\d{1,4})\.(\d{1,4})", text)
        return (int(found[1]), int(found[2])) if found else ()

    def hooks(self, places: Iterable[Place]) -> Iterator[tuple[Place, tuple[Found, ...] | ReadFailed]]:
        """Yield the hooks of each place, or why GitLab does not show them."""
        yield from drive(map(_listing, places), self.gitlab.get, Get, workers=self._workers)

    def write(self, place: Place, body: Row, hook: int | None = None) -> Found:
        """Create a hook, or change it, and return it as it then stands. Raises HookRefused and ReadFailed."""
        method, path = ("POST", place.route) if hook is None else ("PUT", f"{place.route}/{hook}")
        answer = self._send(method, place, path, body)
        if hook is not None and place.level == "system" and answer.status in (404, 405):
            # An older GitLab cannot change system hooks.
            made = self.write(place, body)
            self.delete(place, hook)
            return made
        number = answer.data.get("id") if isinstance(answer.data, dict) else hook
        if answer.status not in (200, 201) or type(number) is not int:
            raise _refusal(answer, place)
        # The answer to a write repeats what was sent. Only the hook shows what GitLab kept.
        return Found(number, self.one(place.token, f"{place.route}/{number}"))

    def delete(self, place: Place, hook: int) -> None:
        """Delete a hook; one that is gone is fine. Raises HookRefused."""
        answer = self._send("DELETE", place, f"{place.route}/{hook}")
        if answer.status not in (200, 202, 204, 404):
            raise _refusal(answer, place)

    def test(self, place: Place, hook: int, flag: str) -> bool:
        """Send a test event, which enables a disabled hook when it is accepted; return whether it was."""
        path = f"{place.route}/{hook}" + ("" if place.level == "system" else f"/test/{flag}")
        return self._send("POST", place, path).status in (200, 201)

    def failures(self, place: Place, hook: int) -> list[Row]:
        """Return the deliveries of the last days that failed, newest first; none where GitLab does not tell (17.3)."""
        found: list[Row] = []
        for status in ("client_failure", "server_failure"):
            try:
                params = (("status", status), ("per_page", "20"))
                found += self.gitlab.get(Get(place.token, f"{place.route}/{hook}/events", params)).data
            except ReadFailed:
                return []
        return sorted(found, key=lambda event: int(event.get("id") or 0), reverse=True)

    def _send(self, method: str, place: Place, path: str, payload: Any = None) -> Answer:
        try:
            return self.gitlab.http.send(method, f"/api/v4{path}", payload=payload, auth=self._auth[place.token])
        except Unreachable as failure:
            raise HookRefused(str(failure), "check the host, the network, proxies and certificates") from None


def _listing(place: Place) -> Job:
    rows: list[Row] = []
    try:
        yield from read_list(place.token, place.route, (), rows.extend)
    except ReadFailed as failure:
        yield place, failure
    else:
        yield place, tuple(Found(row["id"], row) for row in rows)


def _refusal(answer: Answer, place: Place) -> HookRefused:
    data = answer.data if isinstance(answer.data, dict) else {}
    if data.get("error") == "insufficient_scope":
        return HookRefused(
            shown_of(answer), "writing hooks takes a token with the scope api: OCEAN__EXPORT__HOOKS_TOKEN"
        )
    role = {"group": "Owner", "project": "Maintainer", "system": "administrator"}[place.level]
    if answer.status in (401, 403, 404):
        return HookRefused(shown_of(answer), f"the token's user has to be {role} there")
    if answer.status == 422:
        return HookRefused(shown_of(answer), "GitLab does not take the address: see its outbound request settings")
    return HookRefused(shown_of(answer), "run again later" if answer.status >= 500 or answer.status == 429 else "")
