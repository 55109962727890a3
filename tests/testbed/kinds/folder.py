"""What the safety suites know of folders of repositories."""

from testbed.company import a_file, change_tree, long_tree, no_file, of_project, titled
from testbed.oracle_files import folder_rows
from testbed.subject import Churn, FailingList, Subject

SUBJECT = Subject(
    fields={"selector": {"folders": [{"path": "dirs/*"}]}, "identifier": '.repo.path + "/" + .folder.name'},
    furnish=lambda world, project, _: world.set_file(project, "dirs/one/x.txt", ""),
    lists=(
        FailingList(
            "folder", "folder", of_project("repository/tree"), long_tree, change_tree,
            {
                "selector": {"folders": [{"path": "dirs/*"}]},
                "identifier": '.repo.path + "/" + .folder.name', **titled(".folder.path"),
            },
            in_group=False, counted=False, dialects=("gitlab-v2",),
        ),
    ),
    churn=Churn(
        "/repository/tree$", a_file("many/{}/x.txt"), no_file("many/1000/x.txt"),
        {"identifier": ".folder.path", "selector": {"folders": [{"path": "many/*"}]}}, page=None,
    ),
    rows=folder_rows,
    denied={"repository_access_level": "disabled"},
)  # fmt: skip
