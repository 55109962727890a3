"""Check of roles: in which groups a token's role is too low, so that GitLab leaves out rows or refuses them."""

from collections import abc
from dataclasses import replace

from gitlab_port_export.base.parallel import drive
from gitlab_port_export.commands.checks.facts import Facts, Findings, Look
from gitlab_port_export.commands.checks.finding import Finding
from gitlab_port_export.gitlab.client import Get, GitLab, ReadFailed
from gitlab_port_export.gitlab.inventory import REPORTER, Patterns
from gitlab_port_export.gitlab.kinds.kind import About
from gitlab_port_export.gitlab.kinds.shared.roles import ROLES
from gitlab_port_export.gitlab.lists import read_list
from gitlab_port_export.mapping.model import Mapping
from gitlab_port_export.model import Dialect, Row
from gitlab_port_export.settings.settings import Token

GUEST, PLANNER = 10, 15
# Groups that a finding names before it only counts them.
NAMED = 5


def gitlab_roles(facts: Facts) -> Look:
    """Yield where the best token's role is too low for a kind that the mapping reads."""
    if gitlab := facts.gitlab:
        tokens = tuple(token for token in facts.settings.tokens if token.alias in facts.users)
        floor = _floor(facts.dialect, facts.mapping)
        yield from _roles(gitlab, tokens, facts.settings.workers, facts.kinds, floor)
    return None


def _floor(kind: Dialect, mapping: Mapping | None) -> int:
    """Return the role below which groups and projects are not even listed."""
    listed = kind == "gitlab-v2" and (mapping is None or mapping.visibility.use_min_access_level)
    return (mapping.visibility.min_access_level if mapping else 30) if listed else 0


def _roles(
    gitlab: GitLab, tokens: tuple[Token, ...], workers: int, about: abc.Mapping[str, About], floor: int
) -> Findings:
    """Yield where the best token's role is too low, so that GitLab leaves out rows or refuses them."""
    levels = sorted({GUEST, floor, *(entry.role for entry in about.values() if entry.role > floor)} - {0})
    best: dict[str, int] = {}
    failed = False
    for token in tokens:
        patterns, member = Patterns(token.patterns), set[str]()
        try:
            for level in levels:
                paths = {str(row.get("full_path")) for row in _groups(gitlab, token.alias, level, workers)}
                member |= paths
                wanted = (path for path in paths if patterns.allows(path) or patterns.may_allow_below(path))
                best.update((path, level) for path in wanted if level > best.get(path, 0))
        except ReadFailed as failure:
            if failure.status == 400 and floor != PLANNER and any(entry.role == PLANNER for entry in about.values()):
                # Versions of GitLab before 17.7 have no such role; there the next higher one shows what it would.
                older = {
                    kind: replace(entry, role=REPORTER) if entry.role == PLANNER else entry
                    for kind, entry in about.items()
                }
                yield from _roles(gitlab, tokens, workers, older, floor)
                return
            failed = True
            yield Finding("error", "gitlab", token.alias, f"may not list groups: {failure.why}", failure.hint)
            continue
        yield from _patterns(token, member)
    if tokens and not best and not failed:
        what = "no token's user is a member of a group that its patterns allow"
        yield Finding("warning", "gitlab", "groups", what, "invite the token's user, or use a group access token")
        return
    if left_out := [path for path, level in best.items() if level < floor]:
        yield _low(left_out, floor, "they and their projects are not read", "or lower `visibility.minAccessLevel`")
    for (role, effect), kinds in _grouped(about).items():
        if low := [path for path, level in best.items() if floor <= level < role]:
            yield _low(low, role, f"{effect} ({', '.join(kinds)})")
    if best and not any(level < max(levels) for level in best.values()):
        yield Finding("ok", "gitlab", "groups", f"the role is high enough in all groups ({len(best)})")


def _groups(gitlab: GitLab, token: str, level: int, workers: int) -> list[Row]:
    rows: list[Row] = []
    params = (("min_access_level", str(level)), ("order_by", "id"), ("sort", "asc"))
    for _ in drive([read_list(token, "/groups", params, rows.extend)], gitlab.get, Get, workers=workers):
        pass  # the rows were taken as they came
    return rows


def _patterns(token: Token, groups: set[str]) -> Findings:
    for text in token.patterns:
        pattern = Patterns((text,))
        if not text.startswith("*") and not any(
            pattern.allows(path) or pattern.may_allow_below(path) for path in groups
        ):
            what = f"no group of the token's user can hold what the pattern {text!r} is for"
            hint = "correct the pattern in TOKEN_MAPPING; one that matches nothing holds all deletions"
            yield Finding("warning", "gitlab", token.alias, what, hint)


def _grouped(about: abc.Mapping[str, About]) -> dict[tuple[int, str], list[str]]:
    found: dict[tuple[int, str], list[str]] = {}
    for kind, entry in about.items():
        if entry.role:
            found.setdefault((entry.role, _below_role(entry)), []).append(kind)
    return found


def _below_role(entry: About) -> str:
    if entry.refuses:
        return f"GitLab refuses {entry.refuses} there, and nothing of them is deleted"
    return f"GitLab silently leaves out {entry.hides} there"


def _low(paths: list[str], role: int, effect: str, other: str = "") -> Finding:
    ordered = sorted(paths)
    more = f" and {len(ordered) - NAMED} more" if len(ordered) > NAMED else ""
    name = ROLES.get(role, str(role))
    what = f"the role is below {name} in {', '.join(ordered[:NAMED])}{more}: {effect}"
    hint = " ".join(filter(None, (f"give the token's user the role {name} there,", other))).rstrip(",")
    return Finding("warning", "gitlab", "groups", what, hint)
