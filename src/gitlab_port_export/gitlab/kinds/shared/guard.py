"""Runs one read with each of its tokens in turn, and yields a Problem when none of them succeeds."""

import logging
from collections.abc import Generator
from dataclasses import replace
from traceback import format_exception
from typing import Any
from urllib.parse import quote

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.client import Get, ReadFailed
from gitlab_port_export.gitlab.kinds.kind import Read
from gitlab_port_export.gitlab.lists import whole_list
from gitlab_port_export.model import Problem

logger = logging.getLogger(__name__)

# What code raises that meets a row without what GitLab documents, or with another type of it.
STRANGE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def guarded(entry: Read) -> Job:
    """Run one read with each token that may do it, from its first page, until one succeeds; else yield a Problem."""
    failures: list[tuple[str, ReadFailed]] = []
    for token in entry.tokens:
        try:
            yield from entry.start(replace(entry.scope, token=token))
            return
        except ReadFailed as failure:
            failures.append((token, failure))
        except STRANGE as error:
            where = "".join(format_exception(error))
            logger.debug("%s of %s: %s", entry.kind, entry.scope.path, where)
            failures.append((token, _strange(error)))
    # A token may have lost the project that another one still sees, so all have to agree that it is gone.
    if all(failure.reason == "missing" for _, failure in failures):
        for token in (*entry.tokens, *entry.weaker):
            if not (yield from _is_gone(entry, token)):
                break
        else:
            return
    token, last = failures[-1]
    yield Problem(
        "read",
        last.why,
        last.hint,
        token=token,
        scope=entry.scope.path,
        kind=entry.kind,
        resources=entry.resources,
    )


def _strange(error: Exception) -> ReadFailed:
    return ReadFailed(
        "shape",
        f"a row is not as GitLab documents it ({type(error).__name__}: {error})"[:300],
        "look for a proxy that changes GitLab's answers; if there is none, report it with the output of --debug",
        200,
    )


def _is_gone(entry: Read, token: str) -> Generator[Any, Any, bool]:
    """Say whether a project was deleted while we read: it is not found itself, and its group no longer lists it.

    GitLab answers 404 for what a token may not see, so a 404 alone proves nothing; a group's 404 never does.
    """
    if entry.scope.is_group or not entry.scope.id:
        return False
    try:
        yield Get(token, f"/projects/{entry.scope.id}", gives="object")
    except ReadFailed as failure:
        if failure.reason != "missing":
            return False
    else:
        return False
    group = quote(entry.scope.path.rpartition("/")[0], safe="")
    try:
        rows = yield from whole_list(
            token,
            f"/groups/{group}/projects",
            (("with_shared", "false"), ("order_by", "id"), ("sort", "asc")),
        )
    except ReadFailed:
        return False
    return all(row.get("id") != entry.scope.id for row in rows)
