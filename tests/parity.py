"""Where the exporter meets the oracle: a world full of special cases, blueprints to hold rows, and the comparison."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from harness import blueprint, port_with, resource, run_sync
from oracle import Snapshot, expected

from gitlab_port_export.demo.gitlab import GitLabServer, Recorded, gitlab_server
from gitlab_port_export.demo.gitlab_rows import Row
from gitlab_port_export.demo.gitlab_store import DEVELOPER, GUEST, MAINTAINER, OWNER, REPORTER, World
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.model import Report

ONE, TWO = "token-of-reader", "token-of-second"
ROOT = "token-of-root"
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


def check(
    world: World,
    mapping: Mapping[str, Any],
    *,
    tokens: Mapping[str, Sequence[str]] | None = None,
    type: str = "gitlab-v2",
    exit_code: int = 0,
    empty: bool = False,
    **settings: Any,
) -> Report:
    """Sync twice: Port then holds what the oracle says, nothing was read twice, the second run wrote nothing.

    A case that is to leave nothing in Port says so, so that no other one compares nothing with nothing.
    """
    store = port_with(*BLUEPRINTS)
    wanted = expected(world, mapping, store.blueprints, tokens=tokens, type=type)
    assert any(wanted.values()) != empty, "the case shows nothing"
    with gitlab_server(world) as gitlab, port_server(store) as port:
        for run in ("first", "second"):
            before, gitlab.requests[:] = store.writes, []
            report, *_ = run_sync(gitlab, port, mapping, tokens=tokens, type=type, **settings)
            assert report.exit_code == exit_code, (run, report.problems, report.held)
            found = differences(store.snapshot(), wanted)
            assert not found, f"{run} run, {len(found)} differences:\n" + "\n".join(found[:10])
            twice = read_twice(gitlab)
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


def read_twice(gitlab: GitLabServer) -> list[str]:
    """Lists that were asked for more than once; each token asks for the groups and projects it may see."""

    def asked(request: Recorded) -> tuple[object, ...]:
        own = request.token if request.path in ("/groups", "/projects") else ""
        return own, request.path, tuple(sorted(request.query))

    counts = Counter(asked(request) for request in gitlab.requests if request.path != "/user")
    return [str(key) for key, count in counts.items() if count > 1]


def whole(kind: str, blueprint: str = "thing", **more: Any) -> Any:
    """A resource that keeps each row as it is, but for what depends on the token that read it."""
    row = "del(.permissions, .__project.permissions)" if kind == "pipeline" else "del(.permissions)"
    return resource(kind, blueprint, **{"properties": {"object": row}, **more})


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


FILLERS = {"merge_requests": fill_merge_requests, "issues": fill_issues, "pipelines": fill_pipelines}
