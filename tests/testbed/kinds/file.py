"""What the safety suites know of files of repositories."""

from typing import Any

from gitlab_port_export.demo.world import Row, World
from testbed.company import a_file, change_tree, in_all, long_tree, no_file, of_project, titled
from testbed.oracle_files import file_rows
from testbed.subject import Churn, FailingList, Subject


def _fields(path: str) -> dict[str, Any]:
    return {
        "selector": {"files": {"path": path}},
        "identifier": '.repo.path + "/" + .file.file_path',
        **titled(".file.content.text"),
    }


def _put(world: World, project: Row, text: str) -> None:
    world.set_file(project, "info.json", f'{{"text": "{text}"}}')


SUBJECT = Subject(
    fields={"selector": {"files": {"path": "**/spec/*.json"}}, "identifier": '.repo.path + "/" + .file.file_path'},
    furnish=lambda world, project, _: world.set_file(project, "spec/one.json", '{"text": "one"}'),
    lists=(
        FailingList(
            "file", "file", of_project("repository/tree"), long_tree, change_tree, _fields("**/spec/*.json"),
            in_group=False, counted=False,
        ),
        FailingList(
            "file-content", "file", of_project("repository/files/info.json"),
            *in_all(lambda c, project, text: _put(c.world, project, text)), _fields("info.json"),
            later_path=of_project("repository/files/info.json", "two"), in_group=False, counted=False,
            dialects=("gitlab",),
        ),
    ),
    churn=Churn(
        "/repository/tree$", a_file("many/{}.txt"), no_file("many/1000.txt"),
        {"identifier": ".file.path", "selector": {"files": {"path": "many/*.txt"}}}, page=None,
    ),
    rows=file_rows,
    denied={"repository_access_level": "disabled"},
    each=lambda c: len(c.world.projects),
)  # fmt: skip
