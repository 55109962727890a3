"""Worlds and mappings by chance, for comparing the exporter with the oracle."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from gitlab_port_export.demo.gitlab_access import DEVELOPER, MAINTAINER, OWNER, REPORTER
from gitlab_port_export.demo.gitlab_rows import Row
from gitlab_port_export.demo.gitlab_store import World
from testbed.harness import mapping_of, resource
from testbed.parity import ONE, SOAK, TWO, fill_lists

# The same ones every time; a smaller example would take minutes to find, as each one is four runs over HTTP.
BY_CHANCE = settings(
    max_examples=100 if SOAK else 6,
    derandomize=True,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)

BY_CHANCE_KINDS = (
    *("project", "group", "member", "group-with-members", "project-with-members", "merge-request", "issue", "pipeline"),
    *("job", "release", "tag", "branch", "environment", "deployment", "label", "milestone"),
)
LEVELS = (REPORTER, DEVELOPER, MAINTAINER, OWNER)
AGES = (0.5, 7.5, 30.5, 120.5)
PATTERNS = ("**", "**/*", "g*", "g0/**", "g0*/**", "**/p1", "*/p?", "first/*", "g1", "g0/p0")
TEXTS = (
    ".path",
    ".title // .name",
    ".path, .id",
    "empty",
    '(.name // .title // "") + 1',
    "'it:' + .web_url",
    '"\\(.id): \\(.name)"',
)
NUMBERS = (".id", ".iid // 0", "keys | length", "[.. | strings] | length", ".id, 7", "def f: .id; f * 2", ".nothing")
FLAGS = (".archived", 'has("x")', 'has("__languages")', ".archived | not", ".id % 2 == 0", ".state == 'opened'")
OBJECTS = (
    ".",
    "{id, web_url}",
    "{a: .id | tostring, b: .path}",
    ". as $r | {$r} | {}",
)
LISTS = (
    ".topics",
    "[.id, .path]",
    ".labels // []",
    ".__members | map(.id)",
    "[.name, .id] # both",
    ".__languages | keys",
)
QUERIES = ("true", ".id % 3 != 0", ".archived | not", ".state != 'closed'", "[.id] | any")


class SmallWorld(World):
    """A world that can be shown when a case fails."""

    def __repr__(self) -> str:
        options = ("visibility", "archived", "marked_for_deletion_on")
        return "\n".join(
            f"{row.get('full_path') or row['path_with_namespace']} {[row[name] for name in options]} "
            + str({member["username"]: member["access_level"] for member in members.get(row["id"], [])})
            for rows, members in ((self.groups, self.group_members), (self.projects, self.project_members))
            for row in rows.values()
        )

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(repr(self))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A few groups, projects and what they hold; two users with roles, each with a token."""
    world = SmallWorld(datetime.now(UTC))
    users = [world.add_user("first", "First ⭐"), world.add_user("second"), world.add_user("third")]
    for secret, user in zip((ONE, TWO), users, strict=False):
        world.add_token(secret, user)
    visibility, flag = (
        st.sampled_from(("private", "private", "internal", "public")),
        st.sampled_from((False, False, True)),
    )
    groups: list[Row] = []
    for number in range(draw(st.integers(1, 4))):
        parent = draw(st.sampled_from((None, *groups)))
        doomed = "2026-01-01" if draw(flag) and draw(flag) else None
        groups.append(world.add_group(f"g{number}", parent, visibility=draw(visibility), marked_for_deletion_on=doomed))
    projects = [
        world.add_project(
            draw(st.sampled_from((*groups, *groups, *users[:2]))),
            f"p{number}",
            visibility=draw(visibility),
            archived=draw(flag),
            topics=draw(st.lists(st.sampled_from(("go", "größe", "x y")), max_size=2, unique=True)),
            builds_access_level=draw(st.sampled_from(("enabled", "enabled", "disabled"))),
        )
        for number in range(draw(st.integers(1, 5)))
    ]
    for place in (*groups, *projects):
        for user in draw(st.lists(st.sampled_from(users), max_size=2, unique_by=lambda user: int(user["id"]))):
            if all(row["id"] != user["id"] for row in world.project_members.get(place["id"], []) if place in projects):
                world.add_member(place, user, draw(st.sampled_from(LEVELS)))
    if draw(flag):
        world.share_project(projects[0], groups[-1], draw(st.sampled_from(LEVELS)))
    for project in projects:
        _hold(draw, world, project, users)
    return world


def _hold(draw: st.DrawFn, world: World, project: Row, users: list[Row]) -> None:
    for age in draw(st.lists(st.sampled_from(AGES), max_size=3)):
        when, author = world.ago(days=age), draw(st.sampled_from(users))
        state = draw(st.sampled_from(("opened", "closed", "merged", "locked")))
        world.add_merge_request(project, f"Change of {age}", state, author, when, when, labels=["bug"])
        world.add_issue(project, f"Issue of {age}", draw(st.sampled_from(("opened", "closed"))), author, when, when)
    for age in sorted(draw(st.lists(st.sampled_from(AGES), max_size=3)), reverse=True):
        when, status = world.ago(days=age), draw(st.sampled_from(("success", "failed", "running")))
        source = draw(st.sampled_from(("push", "push", "parent_pipeline")))
        pipeline = world.add_pipeline(project, status, users[2], created_at=when, updated_at=when, source=source)
        world.add_job(pipeline, "build", retried=True)
        world.add_job(pipeline, "build", status)
    if draw(st.booleans()):
        fill_lists(world, project, users[0])


def _selectors(kind: str, v1: bool) -> dict[str, st.SearchStrategy[Any]]:
    yes_or_no = st.sampled_from((True, False, "true", "no"))
    active = st.sampled_from((None, True, False))
    members: dict[str, st.SearchStrategy[Any]] = {"includeBotMembers": yes_or_no, "includeInheritedMembers": yes_or_no}
    query = st.sampled_from(({}, {"status": "failed"}, {"scope": "finished"}, {"source": "parent_pipeline"}))
    if v1 and kind == "project":
        return {"includeLabels": yes_or_no}
    if v1:
        return members if kind == "group-with-members" else {}
    groups, projects = {"includeOnlyActiveGroups": active}, {"includeOnlyActiveProjects": active}
    states = st.lists(st.sampled_from(("opened", "closed", "merged")), max_size=4)
    days = st.sampled_from((0, 20, "60", 14.5))
    scopes = st.lists(st.sampled_from(("group", "project")), max_size=3)
    found: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "project": {**projects, "includeLanguages": yes_or_no},
        "group": groups,
        "member": groups | members,
        "group-with-members": groups | members,
        "project-with-members": projects | members,
        "merge-request": {**groups, "states": states, "updatedAfter": days},
        "issue": {**groups, "state": st.sampled_from((None, "opened")), "nonArchived": yes_or_no, "updatedAfter": days},
        "pipeline": {**projects, "apiQueryParams": query},
        "job": {**projects, "pipelineQueryParams": query},
        "release": projects,
        "tag": projects,
        "branch": {
            **projects,
            "defaultBranchOnly": yes_or_no,
            "search": st.sampled_from(("e", "^rel", "0$")),
            "regex": st.sampled_from(("", "^[a-z]+$", "/")),
        },
        "environment": {**projects, "states": st.lists(st.sampled_from(("available", "stopping", "stopped")))},
        "deployment": {**projects, "apiQueryParams": st.sampled_from(({}, {"status": "success"}))},
        "label": {**groups, **projects, "scopes": scopes},
        "milestone": {**groups, **projects, "scopes": scopes, "state": st.sampled_from((None, "active", "closed"))},
    }
    return found[kind]


@st.composite
def mappings(draw: st.DrawFn, v1: bool) -> dict[str, Any]:
    """One to three resources of different kinds that feed one or two blueprints with fields from the menus."""
    # `gitlab` may list public projects that a token is no member of; GitLab refuses to tell of their deployments.
    left_out = ("member", "project-with-members", "environment", "deployment") if v1 else ()
    kinds = [kind for kind in BY_CHANCE_KINDS if kind not in left_out]
    root: dict[str, Any] = {"filterOwnedProjects": draw(st.sampled_from((False, None)))} if v1 else {}
    if not v1 and draw(st.booleans()):
        root["visibility"] = {"minAccessLevel": draw(st.sampled_from((20, 30, "40")))}
    fields = {
        **dict.fromkeys(("text", "more"), st.sampled_from(TEXTS)),
        **dict.fromkeys(("number", "count"), st.sampled_from(NUMBERS)),
        **dict.fromkeys(("flag", "known"), st.sampled_from(FLAGS)),
        "list": st.sampled_from(LISTS),
        "object": st.sampled_from(OBJECTS),
    }
    resources = []
    for kind in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3, unique=True)):
        identifiers = [".id", ".id | tostring", f'"{kind}-\\(.id)"', "if .id % 2 == 0 then .id else null end"]
        if kind in ("release", "tag", "branch"):
            name = ".tag_name" if kind == "release" else ".name"
            identifiers = [name, f'.__project.path_with_namespace + "/" + {name}']
        elif kind not in ("merge-request", "issue"):
            identifiers += ["(.username // .status // .visibility) # many rows"]
        selector = draw(st.fixed_dictionaries({}, optional=_selectors(kind, v1)))
        resources.append(
            resource(
                kind,
                draw(st.sampled_from(("thing", "other"))),
                query=draw(st.sampled_from(QUERIES)),
                selector=selector,
                identifier=draw(st.sampled_from(identifiers)),
                properties=draw(st.fixed_dictionaries({}, optional=fields)),
                **draw(st.fixed_dictionaries({}, optional={"title": st.sampled_from((".name", "null", "'A thing'"))})),
            )
        )
    return mapping_of(*resources, **root)


def tokens() -> st.SearchStrategy[dict[str, list[str]]]:
    """One or both tokens with some patterns."""
    patterns = st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3, unique=True)
    return st.one_of(
        st.just({ONE: ["**"], TWO: ["**"]}),
        st.fixed_dictionaries({ONE: patterns}, optional={TWO: patterns}),
    )
