"""One GitLab request at a time: signs it with its token, judges the answer, says what a refusal means."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

from gitlab_port_export.base.answer import Answer, TooLarge, Unreachable
from gitlab_port_export.base.auth import Bearer
from gitlab_port_export.base.errors import GitLabUnavailable
from gitlab_port_export.base.http import Http
from gitlab_port_export.base.jsontext import in_words

Params = tuple[tuple[str, str], ...]
Reason = Literal[
    "dead token", "scope", "forbidden", "missing", "shape", "server", "network", "too large", "incomplete", "refused"
]
# What GitLab answers for what is switched off, and for what is not there or not to be seen.
REFUSALS: tuple[Reason, ...] = ("forbidden", "missing")
NO_GITLAB = "check that GITLAB_HOST is GitLab itself and no login page or proxy answers in its place"
GRAPHQL_ATTEMPTS = 2
# Of a count of rows or pages; Python refuses to read numbers of thousands of digits.
MOST_DIGITS = 15
LINKS = {name: re.compile(rf"""<([^<>]*)>[^<>]*;\s*rel="?{name}\b""") for name in ("next", "last")}


@dataclass(frozen=True)
class Get:
    """A question to GitLab: one GET below /api/v4 with the token of that alias, which gives a list or an object."""

    token: str
    path: str
    params: Params = ()
    gives: Literal["list", "object"] = "list"


@dataclass(frozen=True)
class Ask:
    """A question to GitLab's GraphQL API, which answers 200 with `data`, or with `errors` as well or instead."""

    token: str
    query: str
    variables: Mapping[str, Any]


@dataclass(frozen=True)
class Token:
    """A token as the client needs it: its alias for messages, and how to get (and again get) its secret."""

    alias: str
    secret: Callable[[], str]


class ReadFailed(Exception):
    """A read that did not give what was asked for; `reason` decides what it means, the text is for the user.

    `headers` are those of the answer, where there was one.
    """

    def __init__(self, reason: Reason, why: str, hint: str = "", status: int = 0) -> None:
        super().__init__(why)
        self.reason, self.why, self.hint, self.status = reason, why, hint, status
        self.headers: Mapping[str, str] = {}


def message_of(answer: Answer) -> str:
    """Return GitLab's own words from an error body: `message`, `error_description` or `error`, else nothing."""
    data = answer.data
    if not isinstance(data, dict):
        return ""
    return in_words(data.get("message") or data.get("error_description") or data.get("error") or "", 300)


def shown_of(answer: Answer) -> str:
    """Return the status and GitLab's own words, which often begin with the status: `401 Unauthorized`."""
    said = message_of(answer)
    return said if said.startswith(str(answer.status)) else f"{answer.status}: {said}".removesuffix(": ")


def judge(answer: Answer, gives: str) -> None:
    """Return when the answer is a 200 of the expected shape, else raise ReadFailed.

    A login page behind a proxy answers 200 with HTML, so the type is checked too.
    """
    shown = shown_of(answer)
    if answer.status == 200:
        if isinstance(answer.data, list if gives == "list" else dict):
            return
        got = "JSON of another shape" if answer.is_json else answer.headers.get("content-type", "no content type")
        raise ReadFailed(
            "shape",
            f"answered 200 with {got} where a JSON {gives} was expected",
            NO_GITLAB,
            200,
        )
    if answer.status == 401:
        raise ReadFailed("forbidden", shown, "GitLab takes the token elsewhere; a proxy may guard this path", 401)
    if answer.status == 403 and isinstance(answer.data, dict) and answer.data.get("error") == "insufficient_scope":
        raise ReadFailed("scope", shown, "give the token the scope read_api (and the permission to read this)", 403)
    if answer.status == 403:
        raise ReadFailed("forbidden", shown, "give the token's user at least the role that may read this", 403)
    if answer.status == 404:
        raise ReadFailed("missing", shown, "it was deleted or moved, or the token may not see it", 404)
    if answer.status == 429:
        raise ReadFailed("server", shown, "GitLab's rate limit did not let go; run later or with fewer workers", 429)
    if answer.status >= 500:
        raise ReadFailed("server", shown, "GitLab was in trouble; run again", answer.status)
    raise ReadFailed("refused", shown, "GitLab did not accept the request; check the selector's values", answer.status)


class GitLab:
    """The API of one GitLab instance, read with several tokens."""

    def __init__(self, http: Http, tokens: Mapping[str, Token]) -> None:
        self.http = http
        self._auth = {alias: Bearer(http.origin, token.secret) for alias, token in tokens.items()}
        self._dead: dict[str, ReadFailed] = {}

    def answer(self, question: Get | Ask) -> Answer:
        """Return the answer to either question. Raises ReadFailed."""
        return self._ask(question) if isinstance(question, Ask) else self.get(question)

    def _ask(self, question: Ask) -> Answer:
        """Return the answer to a GraphQL query, of few attempts: it only saves requests, and REST gives the same."""
        answer = self._send(
            "POST",
            "/api/graphql",
            question.token,
            payload={"query": question.query, "variables": question.variables},
            attempts=GRAPHQL_ATTEMPTS,
        )
        judge(answer, "object")
        if answer.data.get("errors"):
            raise ReadFailed("refused", "GraphQL answered with errors", status=200)
        return answer

    def get(self, question: Get, *, first_contact: bool = False) -> Answer:
        """Return the answer, 200 and of the right shape.

        After a 401 GET /user is asked with the same token: if it refuses too, the token is dead for the rest of the
        run; else the question is repeated (the secret may just have been rotated). Raises ReadFailed.
        """
        if question.token not in self._dead:
            answer = self._get(question, first_contact=first_contact)
            if answer.status == 401 and not self._is_refused(question.token, answer):
                answer = self._get(question)
        if dead := self._dead.get(question.token):
            # A new error each time: one that is raised again and again gathers the frames of every raise.
            raise ReadFailed(dead.reason, dead.why, dead.hint, dead.status)
        try:
            judge(answer, question.gives)
        except ReadFailed as failure:
            failure.headers = answer.headers
            raise
        return answer

    def _get(self, question: Get, *, first_contact: bool = False) -> Answer:
        path = f"/api/v4{question.path}"
        return self._send("GET", path, question.token, params=question.params, first_contact=first_contact)

    def _send(self, method: str, path: str, token: str, **more: Any) -> Answer:
        try:
            return self.http.send(method, path, auth=self._auth[token], **more)
        except TooLarge as failure:
            hint = "look for rows of that size, and leave out what is not needed with the selector"
            raise ReadFailed("too large", str(failure), hint) from None
        except Unreachable as failure:
            raise ReadFailed("network", str(failure), "check the host, the network, proxies and certificates") from None

    def _is_refused(self, token: str, refusal: Answer) -> bool:
        """Ask for the token's user; a second 401 makes the token dead."""
        try:
            refused = self._get(Get(token, "/user", gives="object")).status == 401
        except ReadFailed:
            return False
        if refused:
            hint = "the token was revoked, has expired or is wrong: make a new one with the scope read_api"
            self._dead[token] = ReadFailed("dead token", shown_of(refusal), hint, 401)
        return refused

    @property
    def dead_tokens(self) -> Mapping[str, ReadFailed]:
        """Aliases of the tokens that GitLab has refused in this run."""
        return dict(self._dead)


def secret_reader(secret: str, file: Path | None, learn: Callable[[str], None] | None = None) -> Callable[[], str]:
    """Return a function that gives a token's text: from its file each time, so that a rotated secret is picked up.

    `learn` is told each text, so that it is not shown.
    """
    if file is None:
        return lambda: secret

    def read() -> str:
        try:
            found = file.read_text(encoding="utf-8").strip() or secret
        except (OSError, UnicodeDecodeError):
            return secret
        if learn:
            learn(found)
        return found

    return read


def unavailable(failures: Mapping[str, ReadFailed], url: str) -> GitLabUnavailable:
    """Return the error that ends a run in which no token gave an inventory."""
    faults = [f"{alias}: {_sentence(failure, url)}" for alias, failure in failures.items()]
    hints = dict.fromkeys(failure.hint for failure in failures.values() if failure.hint)
    return GitLabUnavailable(*faults, hint="; ".join(hints))


def _sentence(failure: ReadFailed, url: str) -> str:
    match failure.reason:
        case "network":
            return f"GitLab could not be reached: {failure.why}"
        case "too large":
            return f"GitLab at {url} could not be read: {failure.why}"
        case "shape":
            return f"GitLab at {url} {failure.why}"
        case "incomplete":
            return f"the list of groups or projects at {url} is not complete: {failure.why}"
    return f"GitLab at {url} answered {failure.why}"


def link_next(answer: Answer) -> str | None:
    """Return the URL of rel="next" in the Link header."""
    return link_to(answer, "next")


def link_to(answer: Answer, name: Literal["next", "last"]) -> str | None:
    """Return the URL in the Link header of the page with that name."""
    found = LINKS[name].search(answer.headers.get("link", ""))
    return found[1] if found else None


def query_of(url: str) -> Params:
    """Return the query of a link, which is all that is followed of it. Raises ReadFailed.

    GitLab writes its links with the address that it knows itself by (external_url), not with the one it was asked at.
    """
    try:
        return tuple(parse_qsl(urlsplit(url).query, keep_blank_values=True))
    except ValueError:
        raise ReadFailed("incomplete", "the link to the next page is no URL", NO_GITLAB, 200) from None


def count_of(answer: Answer, header: str) -> int | None:
    """Return a count from a header, or None where GitLab does not count. Raises ReadFailed for a far too long one."""
    text = answer.headers.get(header, "")
    if len(text) > MOST_DIGITS and text.isdecimal():
        raise ReadFailed("shape", f"answered 200 and counts rows with a number of {len(text)} digits", NO_GITLAB, 200)
    return int(text) if text.isdecimal() else None


def rows_of(answer: Answer) -> list[dict[str, Any]]:
    """Return the rows of a list answer without those that are null. Raises ReadFailed where it holds something else."""
    rows: list[dict[str, Any]] = answer.data
    found = set(map(type, rows))
    if found <= {dict}:
        return rows
    if found == {dict, NoneType}:
        return [row for row in rows if row is not None]
    raise ReadFailed("shape", "answered 200 with a list of something else than objects", NO_GITLAB, 200)
