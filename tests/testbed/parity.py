"""Where the exporter meets the oracle: a world full of special cases, blueprints to hold rows, and the comparison."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from gitlab_port_export.demo import gitlab_list_rows as lists
from gitlab_port_export.demo.gitlab import GitLabServer, Recorded, gitlab_server
from gitlab_port_export.demo.gitlab_access import DEVELOPER, GUEST, MAINTAINER, OWNER, REPORTER
from gitlab_port_export.demo.gitlab_kinds.milestone import add_milestone
from gitlab_port_export.demo.gitlab_rows import Row
from gitlab_port_export.demo.gitlab_store import World
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.report.values import Report
from testbed.harness import blueprint, port_with, resource, run_sync
from testbed.oracle import Snapshot, expected, unmatched
from testbed.oracle_files import fill_files

# `make soak` runs each case on its own and more worlds by chance.
SOAK = bool(os.environ.get("SOAK"))
LARGEST_PARTY = 1 if SOAK else 10
ONE, TWO = "token-of-reader", "token-of-second"
# `thing` and `other` may hold any row: whole as `object`, or in parts.
FIELDS = {
    **dict.fromkeys(("text", "more"), "string"),
    **dict.fromkeys(("number", "count"), "number"),
    **dict.fromkeys(("flag", "known"), "boolean"),
    "list": "array",
    "object": "object",
}
BLUEPRINTS = (
    blueprint("target"),
    blueprint("thing", {"one": "target", "many": ["target"]}, **FIELDS),
    blueprint("other", {"one": "thing", "many": ["target"]}, **FIELDS),
    blueprint("defaulted", text={"type": "string", "default": "by default"}, number="number"),
)
Blueprints = tuple[dict[str, Any], ...]


def check(
    world: World,
    mapping: Mapping[str, Any],
    *,
    tokens: Mapping[str, Sequence[str]] | None = None,
    type: str = "gitlab-v2",
    exit_code: int | None = None,
    empty: bool | None = False,
    apart: bool = False,
    again: bool = True,
    blueprints: Sequence[Blueprints] = (BLUEPRINTS,),
) -> Report:
    """Sync twice: Port then holds what the oracle says, nothing was read twice, the second run wrote nothing.

    The exit code is by default 1 when a pattern matches nothing, else 0. A case that leaves nothing in Port says so
    (None: it may), so that no other one compares nothing with nothing; of several cases each has `blueprints` of its
    own. `apart`: each token may read the same lists. `again` False: once is enough.
    """
    store = port_with(*(one for own in blueprints for one in own))
    wanted = expected(world, mapping, store.blueprints, tokens=tokens, type=type)
    if exit_code is None:
        exit_code = int(unmatched(world, mapping, tokens=tokens, type=type) > 0)
    for own in blueprints:
        assert empty in (None, not any(wanted[one["identifier"]] for one in own)), "the case shows nothing"
    with gitlab_server(world, cached=True) as gitlab, port_server(store) as port:
        for run in ("first", "second") if again else ("first",):
            before, gitlab.requests[:] = store.writes, []
            report, *_ = run_sync(gitlab, port, mapping, tokens=tokens, type=type)
            # Where no row has an identifier, or a field fails on every one, the mapping is wrong, whatever else holds.
            slips = ("no row gave an entity", "the expression failed on every row")
            is_wrong = any(problem.why.startswith(slips) for problem in report.problems)
            assert report.exit_code == (exit_code or int(is_wrong)), (run, report.problems, report.held)
            found = differences(store.snapshot(), wanted)
            assert not found, f"{run} run, {len(found)} differences:\n" + "\n".join(found[:10])
            twice = read_twice(gitlab, apart=apart)
            assert not twice, f"{run} run read twice:\n" + "\n".join(twice[:10])
            assert run == "first" or store.writes == before, "the second run wrote something"
    return report


def differences(held: Snapshot, wanted: Snapshot) -> list[str]:
    """One line for each entity, or part of one, that Port holds and should not, or should hold and does not."""
    found = []
    for name in wanted.keys() | held.keys():
        ours, theirs = held.get(name, {}), wanted.get(name, {})
        found += [
            f"{name} {key}: should not be there: {ours[key]}"[:500] for key in sorted(ours.keys() - theirs.keys())
        ]
        found += [f"{name} {key}: is missing: {theirs[key]}"[:500] for key in sorted(theirs.keys() - ours.keys())]
        for key in sorted(ours.keys() & theirs.keys()):
            parts = zip(("title", "icon", "team", "properties", "relations"), ours[key], theirs[key], strict=True)
            found += [f"{name} {key}: {part} is {a}, should be {b}"[:1000] for part, a, b in parts if a != b]
    return found


def read_twice(gitlab: GitLabServer, *, apart: bool = False) -> list[str]:
    """Lists that were asked for more than once; each token asks for the groups, projects and languages it may see."""

    def asked(request: Recorded) -> tuple[object, ...]:
        own = request.token if apart or request.path in ("/groups", "/projects", "/api/graphql") else ""
        return own, request.path, tuple(sorted(request.query))

    counts = Counter(asked(request) for request in gitlab.requests if request.path != "/user")
    return [str(key) for key, count in counts.items() if count > 1]


def whole(kind: str, blueprint: str = "thing", **more: Any) -> Any:
    """A resource that keeps each row as it is."""
    return resource(kind, blueprint, **{"properties": {"object": "."}, **more})


class Case(NamedTuple):
    """What the world's projects hold, and a mapping."""

    fill: tuple[str, ...]
    mapping: dict[str, Any]


class Party(NamedTuple):
    """Cases that one run shows, each with blueprints of its own."""

    fill: tuple[str, ...]
    mapping: dict[str, Any]
    blueprints: tuple[Blueprints, ...]


def parties(cases: Mapping[str, Case], *, by_kind: bool = True) -> dict[str, Party]:
    """The cases in fewer runs, of which none has different options or, `by_kind`, a kind of two cases.

    Runs take time, resources hardly any. With SOAK set each case has a run of its own.
    """
    found: list[dict[str, Case]] = []
    for name, case in cases.items():
        room = (party for party in found if len(party) < LARGEST_PARTY)
        fit = (party for party in room if all(_go(case, other, by_kind) for other in party.values()))
        party = next(fit, None)
        if party is None:
            found.append(party := {})
        party[name] = case
    return {"; ".join(party): _party(party) for party in found}


def _go(one: Case, other: Case, by_kind: bool) -> bool:
    """Whether two cases may share a run."""
    first, second = ({**case.mapping, "resources": []} for case in (one, other))
    kinds, more = ({each["kind"] for each in case.mapping["resources"]} for case in (one, other))
    return first == second and not (by_kind and kinds & more)


def _party(cases: Mapping[str, Case]) -> Party:
    fill = tuple(sorted({name for case in cases.values() for name in case.fill}))
    resources = [_own(one, n) for n, case in enumerate(cases.values()) for one in case.mapping["resources"]]
    mapping = {**next(iter(cases.values())).mapping, "resources": resources}
    return Party(fill, mapping, tuple(_own_blueprints(number) for number in range(len(cases))))


def _own(resource: dict[str, Any], number: int) -> dict[str, Any]:
    """The resource with the blueprints of that number; their names stand in jq."""
    names = "|".join(one["identifier"] for one in BLUEPRINTS)
    given = resource["port"]["entity"]["mappings"]
    changed = [
        {**one, "blueprint": re.sub(f'"({names})"', rf'"\g<1>{number}"', one["blueprint"])}
        for one in (given if isinstance(given, list) else [given])
    ]
    mappings = changed if isinstance(given, list) else changed[0]
    return {**resource, "port": {**resource["port"], "entity": {"mappings": mappings}}}


def _own_blueprints(number: int) -> Blueprints:
    def named(one: dict[str, Any]) -> dict[str, Any]:
        relations = {name: {**r, "target": f"{r['target']}{number}"} for name, r in one["relations"].items()}
        return {**one, "identifier": f"{one['identifier']}{number}", "relations": relations}

    return tuple(named(one) for one in BLUEPRINTS)


def company(fill: Iterable[str] = ()) -> World:
    """Two companies' groups as two users see them, with archived, leaving, shared, public and personal places.

    `fill` names what each project holds: merge_requests, issues, pipelines.
    """
    world = World(datetime.now(UTC))
    reader, second = world.add_user("reader", "Reader"), world.add_user("second", "Second")
    ada = world.add_user("ada", "Ada Ünal", public_email="ada@example.com")
    abbott = world.add_user("abbott", "Abbott 🌿")
    root = world.add_user("root", "Root")
    world.add_token(ONE, reader)
    world.add_token(TWO, second)

    acme = world.add_group("acme", name="Acme & Söhne")
    app = world.add_group("app", acme, "App")
    deep = world.add_group("deep", app, "深い 💡")
    legacy = world.add_group("app-legacy", acme, "App (old)", visibility="internal")
    archived = world.add_group("archived", acme, archived=True)
    leaving = world.add_group("leaving", acme, marked_for_deletion_on="2026-01-01")
    beta = world.add_group("beta", name="Beta")
    inner = world.add_group("inner", beta, "Inner")
    world.add_group("empty", beta, "Empty")
    gamma = world.add_group("gamma", name="Gamma")
    public = world.add_group("public", name="Public", visibility="public")

    world.add_member(acme, reader, MAINTAINER)
    world.add_member(acme, ada, OWNER, expires_at="2030-01-01")
    world.add_member(app, ada, DEVELOPER)
    world.add_member(app, abbott, REPORTER, email="abbott@example.com")
    world.add_member(app, second, OWNER)
    world.add_member(deep, ada, GUEST)
    world.add_member(beta, second, OWNER)
    world.add_member(inner, reader, DEVELOPER)
    world.add_member(gamma, reader, REPORTER)
    world.add_member(gamma, second, GUEST)
    world.add_member(public, root, OWNER)
    world.add_member(app, world.add_user("group_2_bot_0badcafe", "release", bot=True), REPORTER)
    # Some servers leave `bot` out of member rows; then only the name tells.
    world.add_member(inner, world.add_user("group_8_bot_1f", "nightly"), GUEST)

    places = [
        world.add_project(acme, "core", name="Kern ⚙", topics=["go", "http"], description="It's the 'core'"),
        world.add_project(app, "web", visibility="internal"),
        world.add_project(deep, "api"),
        world.add_project(legacy, "old", archived=True),
        world.add_project(archived, "frozen", archived=True),
        world.add_project(archived, "thawed"),
        world.add_project(leaving, "gone"),
        world.add_project(acme, "app1"),
        world.add_project(beta, "secret"),
        world.add_project(inner, "lib", name="Bibliothek"),
        world.add_project(gamma, "low"),
        world.add_project(public, "site", visibility="public"),
        world.add_project(beta, "shared"),
        world.add_project(second, "dotfiles"),
        world.add_project(ada, "tool"),
        world.add_project(ada, "attic", archived=True),
        world.add_project(app, "off", builds_access_level="disabled", issues_access_level="disabled"),
    ]
    web = world.project("acme/app/web")
    world.add_member(web, abbott, MAINTAINER)
    world.add_member(web, world.add_user("project_2_bot_00ff", "deploy", bot=True), DEVELOPER)
    world.add_member(world.project("ada/tool"), reader, DEVELOPER)
    world.add_member(world.project("ada/attic"), reader, MAINTAINER)
    world.share_project(world.project("beta/shared"), acme, DEVELOPER)
    world.set_languages(world.project("acme/core"), Go=70.5, Shell=29.5)
    world.set_languages(web, TypeScript=100.0)
    world.add_label(acme, "team::core", "#6699cc")
    world.add_label(world.project("acme/core"), "bug")
    for project in places:
        for name in fill:
            FILLERS[name](world, project, ada)
    return world


def guest_and_owner() -> World:
    """A group whose first token's user is a guest, with a subgroup that the second one's user owns."""
    world = World(datetime.now(UTC))
    guest, owner = world.add_user("reader"), world.add_user("second")
    world.add_token(ONE, guest)
    world.add_token(TWO, owner)
    top = world.add_group("top")
    below = world.add_group("below", top)
    world.add_member(top, guest, GUEST)
    world.add_member(below, owner, OWNER)
    for place, path in ((top, "one"), (below, "two")):
        project = world.add_project(place, path)
        world.add_merge_request(project, "Change")
        world.add_issue(project, "Plain")
        world.add_issue(project, "Secret", confidential=True, author=world.add_user(path))
    return world


def fill_merge_requests(world: World, project: Row, ada: Row) -> None:
    """Every state, on both sides of every window that a selector may have by default."""
    for state, ages in {"opened": (1, 200), "merged": (5, 20, 120), "closed": (10, 40), "locked": (3,)}.items():
        for days in ages:
            when = world.ago(days=days)
            world.add_merge_request(project, f"{state} for {days}", state, ada, when, when)


def fill_issues(world: World, project: Row, ada: Row) -> None:
    """Open, closed, old, confidential, labelled and of several types."""
    old = world.ago(days=100)
    world.add_issue(project, "Old", created_at=old, updated_at=old)
    world.add_issue(project, "Done", "closed", ada, labels=["bug", "team::core"])
    world.add_issue(project, "Leak", author=ada, confidential=True, labels=["bug"])
    world.add_issue(project, "Fire", author=ada, issue_type="incident")


def fill_pipelines(world: World, project: Row, ada: Row) -> None:
    """Several refs, states, ages and sources, each with jobs; a failed test was tried once before."""
    runs: tuple[tuple[str, int, Row], ...] = (
        ("success", 1, {}),
        ("failed", 5, {"source": "schedule"}),
        ("running", 20, {"ref": "feature/ü"}),
        ("success", 2, {"source": "parent_pipeline"}),
        ("canceled", 60, {"name": "Nightly", "ref": "feature/ü"}),
    )
    for status, days, more in runs:
        when = world.ago(days=days)
        user = ada if days != 5 else None
        pipeline = world.add_pipeline(project, status, user, created_at=when, updated_at=when, **more)
        world.add_job(pipeline, "build", user=ada)
        if status == "failed":
            world.add_job(pipeline, "test", status, retried=True)
        world.add_job(pipeline, "test", status)


def fill_lists(world: World, project: Row, ada: Row) -> None:
    """Refs, releases and deployments of several kinds, labels and milestones, also of the groups above."""
    for name in (project["default_branch"], "feature/ü", "release/1.0", "Release/2"):
        lists.add_branch(world, project, name)
    for name, days in (("v1.0", 90), ("v2.0", 30), ("nightly/ü", 1)):
        lists.add_tag(world, project, name, world.ago(days=days))
        lists.add_release(world, project, name, ada, world.ago(days=days), name="Same name")
    states = {"production": "available", "review/1": "stopped", "review/2": "stopping"}
    for name, state in states.items():
        environment = lists.add_environment(world, project, name, state=state)
        runs = (("success", 90), ("failed", 30), ("running", 1), ("success", 0.5))
        for status, days in runs if state == "available" else runs[:1]:
            lists.add_deployment(world, project, environment, ada if days > 1 else None, status, world.ago(days=days))
    world.add_label(project, "own", "#ff0000", description="It's | odd\n")
    add_milestone(world, project, "Now", due_date="2026-05-01")
    add_milestone(world, project, "Done 🌍", "closed")
    for group in world.ancestors(project["namespace"]["id"]):
        if not world.group_milestones[group["id"]]:
            world.add_label(group, f"of {group['path']}")
            add_milestone(world, group, "Whole group", "closed")


FILLERS = {
    "merge_requests": fill_merge_requests,
    "issues": fill_issues,
    "pipelines": fill_pipelines,
    "files": fill_files,
    "lists": fill_lists,
}
