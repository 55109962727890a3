"""What the safety suites know of skills."""

from gitlab_port_export.demo.world import Row, World
from testbed.company import MANY, Company, a_file, no_file, of_project, titled
from testbed.oracle_eyes import Eyes, Found, active_groups
from testbed.oracle_files import files_of
from testbed.subject import Churn, FailingList, Subject


def _skill(world: World, project: Row, name: str, text: str) -> None:
    world.set_file(project, f"skills/{name}/SKILL.md", f"---\ndescription: {text}\n---\n")


def _fill(c: Company) -> None:
    """More than a page of entries, of which a few are skills, on the first page and the last."""
    for n in range(MANY):
        c.world.set_file(c.one, f"skills/{n:03}/notes.txt", "")
    for n in (0, 1, 2, 110, 111, 112):
        _skill(c.world, c.one, f"{n:03}", f"number {n}")


def _change(c: Company) -> None:
    c.world.remove_file(c.one, "skills/111/SKILL.md")
    c.world.remove_file(c.one, "skills/001/SKILL.md")
    _skill(c.world, c.one, "112", "something else")
    _skill(c.world, c.one, "new", "new")


def _rows(selector: Row, eye: Eyes) -> Found:
    for project in eye.projects(active_groups(selector)):
        for path in files_of(eye, project, project["default_branch"]):
            if path.startswith("skills/") and path.endswith("/SKILL.md"):
                skill = path.removesuffix("/SKILL.md")
                yield project["id"], {"name": skill, "skill": {"path": skill}, "repo": project}


SUBJECT = Subject(
    fields={"identifier": '.repo.path + "/" + .skill.path'},
    furnish=lambda world, project, user: _skill(world, project, "review", user["name"]),
    lists=(
        FailingList(
            "skill", "skill", of_project("repository/tree"), _fill, _change,
            {"identifier": '.repo.path + "/" + .skill.path', **titled(".skill.description")},
            in_group=False, counted=False, alike=True, dialects=("gitlab",),
        ),
    ),
    churn=Churn(
        "/repository/tree$", a_file("skills/{}/SKILL.md"), no_file("skills/1000/SKILL.md"),
        {"identifier": ".skill.path"}, page=None,
    ),
    rows=_rows,
    denied={"default_branch": None, "empty_repo": True},
    each=lambda c: 2 * len(c.world.projects),
    compared={"text": ".skill.path"},
)  # fmt: skip
