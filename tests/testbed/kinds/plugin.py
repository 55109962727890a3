"""What the safety suites know of plugins."""

from gitlab_port_export.demo.world import Row, World
from testbed.company import first_project, in_all, of_project, titled
from testbed.oracle_eyes import Eyes, Found, active_groups
from testbed.oracle_files import files_of
from testbed.subject import Churn, FailingList, Subject

MANIFEST = "gemini-extension.json"


def _put(world: World, project: Row, version: str) -> None:
    world.set_file(project, MANIFEST, f'{{"version": "{version}"}}')


def _add(world: World, group: Row, _: Row, number: int) -> None:
    world.set_file(world.add_project(group, f"p{number}"), ".claude-plugin/plugin.json", '{"name": "x"}')


def _rows(selector: Row, eye: Eyes) -> Found:
    for project in eye.projects(active_groups(selector)):
        if MANIFEST in files_of(eye, project, project["default_branch"]):
            yield project["id"], {"name": MANIFEST, "plugin": {}, "repo": project}


SUBJECT = Subject(
    fields={"identifier": ".repo.path"},
    furnish=lambda world, project, user: _put(world, project, user["name"]),
    lists=(
        FailingList(
            "plugin", "plugin", of_project(f"repository/files/{MANIFEST}"),
            *in_all(lambda c, project, text: _put(c.world, project, text)),
            {"identifier": ".repo.path", **titled(".plugin.version")},
            later_path=of_project(f"repository/files/{MANIFEST}", "two"), in_group=False, counted=False, alike=True,
            dialects=("gitlab-v2",),
        ),
    ),
    churn=Churn("/projects$", _add, first_project, {"identifier": ".repo.id | tostring"}, page=None),
    rows=_rows,
    denied={"default_branch": None, "empty_repo": True},
    each=lambda c: len(c.world.projects),
    compared={"text": ".repo.path"},
)  # fmt: skip
