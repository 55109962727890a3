"""The small world of the safety suites, and the steps that fill it and change it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gitlab_port_export.demo.gitlab_rows import stamp
from gitlab_port_export.demo.world import DEVELOPER, OWNER, Row, World

# More than a page of rows, and how many a full page holds.
MANY, FULL = 120, 100
Step = Callable[["Company"], Any]


@dataclass(frozen=True)
class Company:
    """What the tests name of their world: `alpha` holds `one` and a subgroup with `two`, `beta` holds `three`."""

    world: World
    alpha: Row
    beta: Row
    one: Row
    two: Row
    three: Row
    people: list[Row]
    reader: Row


def company() -> Company:
    """Two groups and a subgroup with a project each, which two tokens of one owner see."""
    world = World(datetime.now(UTC).replace(microsecond=0))
    reader = world.add_user("catalog-reader")
    people = [world.add_user(f"user-{n:03}") for n in range(10)]
    alpha, beta = world.add_group("alpha"), world.add_group("beta")
    sub = world.add_group("sub", alpha)
    for secret in ("token-of-alice", "token-of-bob"):
        world.add_token(secret, reader)
    for group in (alpha, beta):
        world.add_member(group, reader, OWNER)
        world.add_member(group, people[0], DEVELOPER)
    one, two, three = (world.add_project(g, p) for g, p in ((alpha, "one"), (sub, "two"), (beta, "three")))
    for project in (one, two, three):
        world.set_languages(project, Go=60.0, Shell=40.0)
        world.add_label(project, "bug")
        for title in ("A change", "Another change"):
            world.add_merge_request(project, title, author=people[0])
        for title in ("An issue", "Another issue"):
            world.add_issue(project, title, author=people[0])
        world.add_job(world.add_pipeline(project), "build")
    return Company(world, alpha, beta, one, two, three, people, reader)


def of_group(name: str) -> Callable[[Company], str]:
    """The path of a list of the group `alpha`."""
    return lambda c: f"/groups/{c.alpha['id']}/{name}"


def of_project(name: str, which: str = "one") -> Callable[[Company], str]:
    """The path of a list of a project."""
    return lambda c: f"/projects/{getattr(c, which)['id']}/{name}"


def steps(*found: Step) -> Step:
    """Do one after the other."""
    return lambda c: [step(c) for step in found]


def many(add: Callable[[Company, int], Any]) -> Step:
    """Add more than a page of rows."""
    return lambda c: [add(c, n) for n in range(MANY)]


def change_rows(
    held: str, name: str, new: Callable[[World, Row, str], Row], where: str = "one"
) -> Callable[[Company], None]:
    """Delete, change and add a row of the list of the first project or group."""

    def change(c: Company) -> None:
        rows = getattr(c.world, held)[getattr(c, where)["id"]]
        del rows[40]
        rows[30] |= {name: "something else"}
        new(c.world, getattr(c, where), "new")
        c.world.touch()

    return change


def change_others(
    kind: str, name: str, new: Callable[[World, Row, str], Row], where: str = "one"
) -> Callable[[Company], None]:
    """Delete, change and add a row of a kind that the world keeps under its name (`World.rows_of`)."""

    def change(c: Company) -> None:
        rows = c.world.rows_of(kind, getattr(c, where))
        del rows[40]
        rows[30] |= {name: "something else"}
        new(c.world, getattr(c, where), "new")
        c.world.touch()

    return change


def titled(text: str) -> dict[str, Any]:
    """The fields of a resource whose entities hold one text."""
    return {"properties": {"text": text}}


def newcomers(c: Company, source: Row, count: int, name: str = "member") -> list[Row]:
    """So many new people as members of a group or project."""
    return [c.world.add_member(source, c.world.add_user(f"{name}-{n:03}"), DEVELOPER) for n in range(count)]


def join(world: World, project: Row, user: Row) -> None:
    """Make a user a member of a project, if that is none yet."""
    if all(row["id"] != user["id"] for row in world.project_members.get(project["id"], ())):
        world.add_member(project, user, DEVELOPER)


def old_project(c: Company) -> None:
    """Add the project that `change_projects` deletes."""
    c.world.set_languages(c.world.add_project(c.alpha, "old"), Perl=100.0)


def change_projects(c: Company) -> None:
    """Delete a project, change one and add one."""
    c.world.delete_project(c.world.project("alpha/old"))
    c.world.set_languages(c.one, Rust=100.0)
    c.world.set_languages(c.world.add_project(c.beta, "new"), C=100.0)
    c.world.add_label(c.two, "new")


def change_groups(c: Company) -> None:
    """Delete a group, change one and add one."""
    c.world.delete_group(c.world.group("alpha/old"))
    c.world.add_group("new", c.beta)
    newcomers(c, c.alpha, 1, "newcomer")


def change_members(c: Company) -> None:
    """Delete a member of the first group, change one and add one."""
    members = c.world.group_members[c.alpha["id"]]
    c.world.remove_member(c.alpha, c.world.users[members[40]["id"]])
    members[30] |= {"name": "Another Name"}
    newcomers(c, c.alpha, 1, "newcomer")


def in_all(put: Callable[[Company, Row, str], None]) -> tuple[Step, Step]:
    """Put something into each project and one more; then take that away, put something else, and it into a new one."""

    def before(c: Company) -> None:
        for number, project in enumerate((c.one, c.two, c.three, c.world.add_project(c.alpha, "old"))):
            put(c, project, f"number {number}")

    def change(c: Company) -> None:
        c.world.delete_project(c.world.project("alpha/old"))
        put(c, c.one, "something else")
        put(c, c.world.add_project(c.beta, "new"), "new")

    return before, change


def long_tree(c: Company) -> None:
    """More than a page of entries, of which a few are wanted, on the first page and the last."""
    for n in range(MANY):
        c.world.set_file(c.one, f"dirs/{n:03}/x.txt", "")
    for n in range(4):
        c.world.set_file(c.one, f"spec/{n}.json", f'{{"text": "number {n}"}}')


def change_tree(c: Company) -> None:
    """Delete, change and add entries of that tree."""
    c.world.remove_file(c.one, "spec/3.json")
    c.world.set_file(c.one, "spec/2.json", '{"text": "something else"}')
    c.world.set_file(c.one, "spec/new.json", '{"text": "new"}')
    for n in (5, 110):
        c.world.remove_file(c.one, f"dirs/{n:03}/x.txt")
    c.world.set_file(c.one, "dirs/new/x.txt", "")


# Rows that join and leave while lists are read


def now() -> str:
    """The instant at which GitLab notes a change."""
    return stamp(datetime.now(UTC))


def close(row: Row) -> None:
    """Close a merge request or issue, as GitLab does it."""
    row |= {"state": "closed", "updated_at": now()}


def first_of(rows: str) -> Callable[[World, Row, Row], object]:
    """Take away the first row that a project holds of a sort."""
    return lambda world, group, project: getattr(world, rows)[project["id"]].pop(0)


def first_project(world: World, group: Row, project: Row) -> None:
    """Take away the first other project."""
    world.delete_project(next(row for row in world.projects.values() if row is not project))


def first_group(world: World, group: Row, project: Row) -> None:
    """Take away the first other group."""
    world.delete_group(next(row for row in world.groups.values() if row is not group))


def first_member(world: World, group: Row, project: Row) -> None:
    """Take away the first other member."""
    world.remove_member(group, world.users[world.group_members[group["id"]][1]["id"]])


def a_project(world: World, group: Row, project: Row, number: int) -> object:
    """Add a project."""
    return world.add_project(group, f"p{number}")


def a_group(world: World, group: Row, project: Row, number: int) -> object:
    """Add a subgroup."""
    return world.add_group(f"g{number}", group)


def a_member(world: World, group: Row, project: Row, number: int) -> object:
    """Add a member."""
    return world.add_member(group, world.add_user(f"u{number}"), DEVELOPER)


def a_file(path: str) -> Callable[[World, Row, Row, int], object]:
    """Add a file."""
    return lambda world, group, project, number: world.set_file(project, path.format(number), f"{number}")


def no_file(path: str) -> Callable[[World, Row, Row], object]:
    """Take a file away."""
    return lambda world, group, project: world.remove_file(project, path)
