"""The audit line of a change: one line of JSON that says who asked whom to change what, and what it was before."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from gitlab_port_export.access.values import Held, Outcome
from gitlab_port_export.base.text import clean

# Who started the job, and its page, in the CI systems that tell: the first that is set.
CI_USERS = ("GITLAB_USER_LOGIN", "GITHUB_ACTOR", "BUILD_REQUESTEDFOREMAIL", "BUILD_REQUESTEDFOR", "BUILD_USER_ID")
CI_JOBS = ("CI_JOB_URL", "BUILD_URL")


def ci_user(environ: Mapping[str, str]) -> str:
    """Return who started this job, nothing where the CI system does not tell."""
    return next((environ[name] for name in CI_USERS if environ.get(name)), "")


def ci_job(environ: Mapping[str, str]) -> str:
    """Return the address of this job's page, nothing where it is not known."""
    if found := next((environ[name] for name in CI_JOBS if environ.get(name)), ""):
        return found
    server, repository, number = (environ.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID"))
    if server and repository and number:
        return f"{server}/{repository}/actions/runs/{number}"
    azure = (environ.get(name, "") for name in ("SYSTEM_COLLECTIONURI", "SYSTEM_TEAMPROJECT", "BUILD_BUILDID"))
    server, project, number = azure
    found = f"{server.rstrip('/')}/{quote(project)}/_build/results?buildId={number}"
    return found if server and project and number else ""


def audit_line(outcome: Outcome, job: str, redact: Callable[[str], str], now: datetime | None = None) -> str:
    """Return the line; every text in it is cleaned, and holds no secret."""
    person, place, wish = outcome.person, outcome.place, outcome.wish
    moment = (now or datetime.now(UTC)).isoformat(timespec="seconds").replace("+00:00", "Z")
    found: dict[str, Any] = {
        "time": moment,
        "command": outcome.command,
        "result": outcome.result,
        "asked_by": wish.asked_by.name,
        "impersonated_by": wish.asked_by.impersonated_by,
        "run": wish.run,
        "job": job,
        "gitlab_user": outcome.by_user,
        "person": {"id": person.id, "username": person.username} if person else {"name": wish.person},
        "scope": {"kind": place.kind, "id": place.id, "path": place.path} if place else None,
        "before": outcome.states[0] if outcome.states else _role(outcome.before),
        "after": outcome.states[1] if outcome.states else _role(outcome.after),
        "ended": [f"{one.kind} {one.path}: {one.role.name}" for one in outcome.below if outcome.result == "removed"],
        "expires": outcome.after.expires if outcome.after else None,
        "reason": wish.reason,
        "guard": outcome.guard,
        "why": outcome.why,
    }
    return json.dumps({"audit": _safe(found, redact)}, ensure_ascii=True).replace("##", "#\\u0023")


def _role(held: Held | None) -> str | None:
    return f"{held.role.name}{' (invitation)' if held.membership == 'invitation' else ''}" if held else None


def _safe(value: Any, redact: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return clean(redact(value), 500)
    if isinstance(value, list):
        return [_safe(part, redact) for part in value]
    if isinstance(value, dict):
        return {key: _safe(part, redact) for key, part in value.items()}
    return value
