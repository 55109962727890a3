"""What the tests of the reading side share: a clock that never waits, answers made by hand, jobs played by hand."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote

from gitlab_port_export.base.answer import Answer
from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.http import Http
from gitlab_port_export.base.parallel import All, Job, Once
from gitlab_port_export.demo.gitlab import GitLabServer
from gitlab_port_export.demo.serve import JsonHandler, Server, serve
from gitlab_port_export.gitlab.client import Ask, Get, GitLab, Params, ReadFailed, Token, secret_reader
from gitlab_port_export.gitlab.contact import first_contact
from gitlab_port_export.gitlab.inventory import (
    Active,
    Inventory,
    Listing,
    Patterns,
    merge,
    read_inventory,
)
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.gitlab.kinds.kind import Context
from gitlab_port_export.gitlab.lists import PER_PAGE
from gitlab_port_export.gitlab.plan import needed_actives
from gitlab_port_export.mapping.load import mapping_from_object
from gitlab_port_export.mapping.model import Mapping as PortMapping
from gitlab_port_export.model import Dialect, Row

HOST = "https://gitlab.example.com"
NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


class Leap(Clock):
    """A clock that leaps over every wait and remembers it; safe for many threads."""

    def __init__(self, deadline: float | None = None, now: float = 1_800_000_000.0) -> None:
        super().__init__(deadline)
        self._guard = threading.Lock()
        self._now = now
        self.slept: list[float] = []

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.check()
        with self._guard:
            self._now += seconds
            self.slept.append(seconds)


class _Scripted(JsonHandler):
    def answer(self, method: str) -> None:
        self.server.state(self)


@contextmanager
def scripted(script: Callable[[Any], None], **options: Any) -> Iterator[Server]:
    """Serve whatever `script(handler)` answers, over a real socket."""
    handler: type[BaseHTTPRequestHandler] = _Scripted
    with serve(handler, script, **options) as server:
        yield server


@contextmanager
def client(
    server: GitLabServer, secrets: Sequence[str], *, clock: Clock | None = None, attempts: int = 2, workers: int = 4
) -> Iterator[GitLab]:
    """A GitLab client with these secrets as "token 1", "token 2" and so on; no wait takes time."""
    http = Http(server.url, user_agent="test", clock=clock or Leap(), timeout=10, workers=workers, attempts=attempts)
    named = {f"token {number}": secret for number, secret in enumerate(secrets, 1)}
    try:
        yield GitLab(http, {alias: Token(alias, secret_reader(secret, None)) for alias, secret in named.items()})
    finally:
        http.close()


def page(
    rows: Any,
    *,
    following: str | None = "",
    total: int | None = None,
    pages: int | None = None,
    link: str | None = None,
    links: bool = True,
    url: str = f"{HOST}/api/v4/list",
) -> Answer:
    """A 200 as the client hands it on; `following` is X-Next-Page, `link` the URL of rel="next".

    `links` says that no proxy takes Link headers off.
    """
    headers = {"content-type": "application/json", "x-runtime": "0.1"}
    given = {"x-next-page": following, "x-total": total, "x-total-pages": pages}
    headers |= {name: str(value) for name, value in given.items() if value is not None}
    if link is not None:
        headers["link"] = f'<{link}>; rel="next", <{HOST}/first>; rel="first"'
    return Answer(200, headers, b"", url, rows, links)


def failed(status: int) -> ReadFailed:
    """What the client raises for a refusal with this status."""
    reasons = {401: "dead token", 403: "forbidden", 404: "missing", 500: "server"}
    reason: Any = reasons.get(status, "refused")
    return ReadFailed(reason, str(status), status=status)


Reply = Answer | ReadFailed


@dataclass
class Play:
    """What happened when a job was played: what it asked, what it yielded, and what it returned."""

    answer: Callable[[Get], Reply]
    together: Callable[[Ask], Reply] = lambda ask: ReadFailed("refused", "no GraphQL here")
    asked: list[Get] = field(default_factory=list)
    asked_together: list[Ask] = field(default_factory=list)
    said: list[Any] = field(default_factory=list)
    value: Any = None
    shared: dict[Any, Any] = field(default_factory=dict)

    def run(self, job: Job) -> Any:
        reply: Any = None
        error: ReadFailed | None = None
        while True:
            try:
                said = job.throw(error) if error else job.send(reply)
            except StopIteration as stop:
                return stop.value
            reply = error = None
            try:
                match said:
                    case Get():
                        self.asked.append(said)
                        reply = self.answer(said)
                        if isinstance(reply, ReadFailed):
                            raise reply
                    case Ask():
                        self.asked_together.append(said)
                        reply = self.together(said)
                        if isinstance(reply, ReadFailed):
                            raise reply
                    case Once(key=key, start=start):
                        if key not in self.shared:
                            self.shared[key] = self.run(start())
                        reply = self.shared[key]
                    case All(jobs=jobs):
                        reply = [self.run(child) for child in jobs]
                    case _:
                        self.said.append(said)
            except ReadFailed as failure:
                error = failure

    @property
    def urls(self) -> list[str]:
        return [url(get) for get in self.asked]


def play(job: Job, answer: Callable[[Get], Reply]) -> Play:
    """Run a job to its end on one thread; questions are answered by `answer`."""
    played = Play(answer)
    played.value = played.run(job)
    return played


def url(get: Get) -> str:
    """A question as one line: path and query in the order it is sent."""
    query = "&".join(f"{name}={value}" for name, value in get.params)
    return f"{get.path}?{query}" if query else get.path


def script(answers: Mapping[str, Reply]) -> Callable[[Get], Reply]:
    """Answer by the whole question, by its path, or else with a branch of that name or something empty."""

    def answer(get: Get) -> Reply:
        head, _, name = get.path.rpartition("/branches/")
        empty: Any = [] if get.gives == "list" else {"name": unquote(name)} if head else {}
        return answers.get(url(get), answers.get(get.path, page(empty)))

    return answer


def offset(rows: Sequence[Row], *, counted: bool = True, style: str = "x-next-page") -> Callable[[Get], Answer]:
    """A list as GitLab cuts it into pages; `style` says which headers a proxy in between lets through."""

    def answer(get: Get) -> Answer:
        query = dict(get.params)
        number, size = int(query["page"]), int(query["per_page"])
        cut = list(rows[(number - 1) * size : number * size])
        more = number * size < len(rows)
        last = max(1, -(-len(rows) // size))
        made = page(
            cut,
            following=(str(number + 1) if more else "") if style == "x-next-page" else None,
            total=len(rows) if counted else None,
            pages=last if counted else None,
            link=f"{HOST}/api/v4/list?page={number + 1}" if more and style != "nothing" else None,
        )
        if style != "nothing" and not more:
            made = Answer(200, {**made.headers, "link": f'<{HOST}/first>; rel="first"'}, b"", made.url, made.data)
        return made

    return answer


def keyset(rows: Sequence[Row], *, linked: bool = True, last_link: bool = True) -> Callable[[Get], Answer]:
    """Rows ordered by id as GitLab cuts them by keyset; `last_link`: a page that holds anything names a next one."""

    def answer(get: Get) -> Answer:
        query = dict(get.params)
        size = int(query["per_page"])
        if "page" in query:
            start = (int(query["page"]) - 1) * size
        else:
            start = sum(row["id"] <= int(query.get("id_after", 0)) for row in rows)
        cut = list(rows[start : start + size])
        more = bool(cut) if last_link else start + size < len(rows)
        link = f"{HOST}/api/v4/list?id_after={cut[-1]['id']}&pagination=keyset&per_page={size}" if more else None
        return page(cut, following=None, link=link if linked else None, links=linked)

    return answer


def ids(count: int, first: int = 1) -> list[Row]:
    """So many rows with ids from `first` on."""
    return [{"id": number} for number in range(first, first + count)]


# Worlds as rows


def group(id: int, path: str, **more: Any) -> Row:
    """A group's row."""
    return {"id": id, "full_path": path, **more}


def project(id: int, path: str, access: int | None = None, **more: Any) -> Row:
    """A project's row; `access` is the token's level there."""
    granted = {"project_access": None, "group_access": {"access_level": access} if access else None}
    return {"id": id, "path_with_namespace": path, "permissions": granted, **more}


def listing(token: str, groups: Iterable[Row] = (), projects: Iterable[Row] = (), active: Active = None) -> Listing:
    """What a token lists."""
    return Listing(token, {active: tuple(groups)}, {active: tuple(projects)})


def inventory(
    *listings: Listing, patterns: Mapping[str, Sequence[str]] | None = None, drop_pending: bool = True
) -> Inventory:
    """The inventory of these listings; every token is for everything unless `patterns` say otherwise."""
    texts = patterns or {entry.token: ("**",) for entry in listings}
    return merge(listings, {token: Patterns(tuple(t)) for token, t in texts.items()}, drop_pending=drop_pending)


def mapping(*resources: Mapping[str, Any], **options: Any) -> PortMapping:
    """A mapping of resources given as {kind, selector options}."""
    data = {
        **options,
        "resources": [
            {
                "kind": one["kind"],
                "selector": {"query": "true", **{name: value for name, value in one.items() if name != "kind"}},
                "port": {"entity": {"mappings": {"identifier": ".id", "blueprint": '"thing"'}}},
            }
            for one in resources
        ],
    }
    return mapping_from_object(data, "test", {name: kind.selector for name, kind in KINDS.items()})[0]


def context(
    found: Inventory,
    *resources: Mapping[str, Any],
    dialect: Dialect = "gitlab-v2",
    now: datetime = NOW,
    doubtful: bool = False,
) -> Context:
    """What planning needs, for these resources."""
    return Context(found, dialect, now, mapping(*resources).resources, doubtful)


def inventory_of(gitlab: GitLab, patterns: Mapping[str, Sequence[str]], *resources: Mapping[str, Any]) -> Inventory:
    """Read the inventory of a running stand-in for these resources."""
    config = mapping(*resources) if resources else mapping({"kind": "project"})
    texts = {token: Patterns(tuple(t)) for token, t in patterns.items()}
    first_contact(gitlab, tuple(texts))
    return read_inventory(gitlab, texts, "gitlab-v2", config, needed_actives(config), 4)


def sized(params: Params, number: int = 1) -> str:
    """The end of the URL of one page of an offset list."""
    return "&".join(f"{name}={value}" for name, value in (*params, ("per_page", str(PER_PAGE)), ("page", str(number))))


def graphql(languages: Mapping[str, Any]) -> Answer:
    """GraphQL's answer with the languages of projects by their global id."""
    nodes = [{"id": id, "languages": found} for id, found in languages.items()]
    return page({"data": {"projects": {"nodes": nodes}}})
