"""The labels of groups and projects."""

from __future__ import annotations

from collections.abc import Iterable

from gitlab_port_export.demo.gitlab_call import Call, kept, searched, wanted_group, wanted_project
from gitlab_port_export.demo.gitlab_pages import Listing
from gitlab_port_export.demo.gitlab_route import Route
from gitlab_port_export.demo.gitlab_rows import Row


def _group_labels(call: Call) -> Listing:
    group = wanted_group(call)
    above = [*call.world.ancestors(group["id"])]
    sources = above if call.flag("include_ancestor_groups", True) else [group]
    if call.flag("include_descendant_groups", False):
        sources += [row for row in call.world.family(group) if row is not group]
    rows = [label for source in sources for label in call.world.group_labels.get(source["id"], ())]
    return _labels(call, rows)


def _project_labels(call: Call) -> Listing:
    project = wanted_project(call)
    rows = [*call.world.project_labels.get(project["id"], ())]
    if call.flag("include_ancestor_groups", True):
        of_group = {"priority": None, "is_project_label": False}
        for group in call.world.ancestors(project["namespace"]["id"]):
            rows += [label | of_group for label in call.world.group_labels.get(group["id"], ())]
    return _labels(call, rows)


def _labels(call: Call, labels: Iterable[Row]) -> Listing:
    return Listing(sorted(kept(labels, searched(call, "name")), key=lambda row: (row["name"], row["id"])))


ROUTES = (
    Route("/groups/:id/labels", "labels", _group_labels),
    Route("/projects/:id/labels", "labels", _project_labels),
)
