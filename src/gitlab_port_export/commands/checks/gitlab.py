"""Checks of GitLab: that it answers, and that each token may read, may do no more, and does not expire soon."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from gitlab_port_export.commands.checks.facts import Facts, Findings, Look
from gitlab_port_export.commands.checks.finding import Finding
from gitlab_port_export.gitlab.client import Get, GitLab, ReadFailed
from gitlab_port_export.model import Row

EXPIRY_DAYS = 14


def gitlab_answers(facts: Facts) -> Look:
    """Yield whether GitLab answers and which tokens it takes. Learns the client, and the user of each good token."""
    gitlab = facts.connect_gitlab(facts.dialect)
    users: dict[str, Row] = {}
    for token in facts.settings.tokens:
        try:
            users[token.alias] = gitlab.get(Get(token.alias, "/user", gives="object"), first_contact=True).data
        except ReadFailed as failure:
            if failure.reason in ("network", "shape", "server"):
                yield Finding("error", "gitlab", gitlab.http.base_url, failure.why, failure.hint)
                return None
            if failure.reason == "dead token":
                yield Finding("error", "gitlab", token.alias, failure.why, failure.hint)
                continue
            users[token.alias] = {}  # a fine-grained token may not be allowed to read its user
    if users:
        yield Finding("ok", "gitlab", gitlab.http.base_url, f"answers{_version(gitlab, next(iter(users)))}")
    return replace(facts, gitlab=gitlab, users=users)


def gitlab_tokens(facts: Facts) -> Look:
    """Yield what each token may do, and when it expires."""
    if gitlab := facts.gitlab:
        today = datetime.now(UTC).date()
        for alias, user in facts.users.items():
            yield from _token(alias, user, _own(gitlab, alias), today, accounts="user" in facts.kinds)
    return None


def _version(gitlab: GitLab, token: str) -> str:
    try:
        version = gitlab.get(Get(token, "/version", gives="object")).data.get("version")
    except ReadFailed:
        return ""
    return f" (version {version})" if version else ""


def _own(gitlab: GitLab, token: str) -> Row | None:
    """Return what GitLab says of a token itself, or None: it does so for personal, group and project access tokens."""
    try:
        found: Row = gitlab.get(Get(token, "/personal_access_tokens/self", gives="object")).data
    except ReadFailed:
        return None
    return found


def _token(alias: str, user: Row, own: Row | None, today: date, *, accounts: bool) -> Findings:
    """Yield what is found about one token; `accounts` says that the mapping has a use for an administrator's."""
    who = f", as {user['username']}" if user.get("username") else ""
    if own is None:
        what = f"works{who}; GitLab does not tell its scopes and when it expires"
        yield Finding("warning", "gitlab", alias, what, "use a group access token with the scope read_api")
        return
    where = f"{alias} ({own['name']})" if own.get("name") else alias
    yield Finding("ok", "gitlab", where, f"works{who}")
    scopes = [str(scope) for scope in own.get("scopes") or ()]
    yield from _scopes(where, [scope for scope in scopes if not (accounts and scope == "admin_mode")])
    yield from _expiry(where, own.get("expires_at"), today)
    if user.get("is_admin") and not accounts:
        what = "is an administrator's, which is more than reading needs"
        yield Finding("warning", "gitlab", where, what, "use a group access token with the scope read_api")


def _scopes(where: str, scopes: list[str]) -> Findings:
    if not {"read_api", "api"} & set(scopes) and not any(scope.startswith("granular") for scope in scopes):
        what = f"lacks the scope read_api (it has {', '.join(scopes) or 'none'})"
        yield Finding("error", "gitlab", where, what, "make a new token with the scope read_api")
    surplus = [scope for scope in scopes if not scope.startswith(("read_", "granular")) and scope != "self_rotate"]
    if surplus:
        what = f"may do more than read: {', '.join(surplus)}"
        yield Finding("warning", "gitlab", where, what, "make a new token with the scope read_api alone")


def _expiry(where: str, text: Any, today: date) -> Findings:
    try:
        days = (date.fromisoformat(str(text)) - today).days
    except ValueError:
        return
    if days < EXPIRY_DAYS:
        left = "today" if days <= 0 else "tomorrow" if days == 1 else f"in {days} days"
        hint = "rotate it in GitLab, and put the new one where the old one is kept"
        yield Finding("warning", "gitlab", where, f"expires {left} ({text})", hint)
