"""Reads the languages of projects: a hundred at once over GraphQL, and over REST those that GraphQL leaves out."""

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from gitlab_port_export.base.parallel import Job, Once
from gitlab_port_export.gitlab.client import REFUSALS, Ask, Get, ReadFailed
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.lists import list_key
from gitlab_port_export.gitlab.trees import nothing_there
from gitlab_port_export.model import Row, Scope

# GraphQL gives at most 100 nodes a page.
BATCH = 100
QUERY = """query ($ids: [ID!], $first: Int) {
  projects(ids: $ids, first: $first) { nodes { id languages { name share } } }
}"""
PROJECT = "gid://gitlab/Project/"


@dataclass(frozen=True)
class Batch:
    """Projects whose languages one token asks for together."""

    token: str
    ids: tuple[int, ...]


def batches(places: Iterable[Listed]) -> Mapping[int, Batch]:
    """Return the batch of each project by its id; one alone is in none."""
    by_token: dict[str, dict[int, None]] = {}
    for place in places:
        by_token.setdefault(place.tokens[0], {})[place.scope.id] = None
    found: dict[int, Batch] = {}
    for token, wanted in by_token.items():
        ids = list(wanted)
        for start in range(0, len(ids), BATCH):
            part = tuple(ids[start : start + BATCH])
            found |= dict.fromkeys(part, Batch(token, part)) if len(part) > 1 else {}
    return found


def languages_of(scope: Scope, row: Row, batch: Batch | None) -> Generator[Any, Any, dict[str, float]]:
    """Return a project's languages. Raises ReadFailed.

    GraphQL is a short cut, no proof: whom it leaves out, also because it refuses the whole query, REST is asked about.
    What a project's row says of its code is none either; but where GitLab refuses as well there are no languages.
    """
    if batch is not None and batch.token == scope.token:
        known: Mapping[int, dict[str, float]] = yield Once(batch, partial(_together, batch))
        if scope.id in known:
            return known[scope.id]
    try:
        found: dict[str, float] = yield Once(_alone_key(scope), partial(_alone, scope))
    except ReadFailed as failure:
        if failure.reason in REFUSALS and nothing_there(row):
            return {}
        raise
    return found


def shares(scope: Scope, batch: Batch | None) -> tuple[Any, ...]:
    """Return the lists that reading a project's languages shares with other reads."""
    return (batch, _alone_key(scope)) if batch else (_alone_key(scope),)


def _alone_key(scope: Scope) -> Any:
    return list_key(scope.token, _path(scope), ())


def _path(scope: Scope) -> str:
    return f"/projects/{scope.id}/languages"


def _alone(scope: Scope) -> Job:
    answer = yield Get(scope.token, _path(scope), gives="object")
    if not all(isinstance(share, int | float) for share in answer.data.values()):
        raise ReadFailed("shape", "answered 200 with something else than languages and their shares", status=200)
    return answer.data


def _together(batch: Batch) -> Job:
    variables = {"ids": [f"{PROJECT}{id}" for id in batch.ids], "first": len(batch.ids)}
    try:
        answer = yield Ask(batch.token, QUERY, variables)
    except ReadFailed:
        return {}
    return dict(_known(answer.data.get("data")))


def _known(data: Any) -> Iterable[tuple[int, dict[str, float]]]:
    """Yield the projects whose languages GraphQL gave whole; null where the token may not read the code."""
    match data:
        case {"projects": {"nodes": [*nodes]}}:
            for node in nodes:
                match node:
                    case {"id": str(id), "languages": [*languages]} if id.startswith(PROJECT):
                        number = id.removeprefix(PROJECT)
                        if number.isdecimal() and all(map(_is_language, languages)):
                            yield int(number), {one["name"]: one["share"] for one in languages}


def _is_language(one: Any) -> bool:
    match one:
        case {"name": str(), "share": int() | float()}:
            return True
    return False
