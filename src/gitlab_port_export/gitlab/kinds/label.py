"""Kind `label`: labels of groups (`__group`) and of projects (`__project`), each once: where it was made."""

from collections.abc import Iterator
from typing import Any

from gitlab_port_export.gitlab.client import Params
from gitlab_port_export.gitlab.kinds.kind import About, Context, Kind, Read, Requests, Since
from gitlab_port_export.gitlab.kinds.shared.scoped_lists import (
    OWNER,
    ScopedSelector,
    no_issues_or_merge_requests,
    scoped_reads,
)
from gitlab_port_export.mapping.model import Resource


class LabelSelector(ScopedSelector):
    """Labels of which groups and projects."""


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per group and per project."""
    yield from scoped_reads("label", "labels", resources, context, _params, no_issues_or_merge_requests)


def _params(_: Any, of_group: bool) -> Params:
    # By default GitLab repeats the labels of all groups above in each of their groups and projects.
    own: Params = (("include_ancestor_groups", "false"),)
    return (*own, ("include_descendant_groups", "false"), ("only_group_labels", "true")) if of_group else own


KIND = Kind(
    "label",
    LabelSelector,
    reads,
    active_groups=lambda selector: selector.include_only_active_groups,
    active_projects=lambda selector: selector.include_only_active_projects,
    about=About(
        "Labels, each once: that of a group comes with the group and not again with its projects.",
        ("GET /groups/:id/labels", "GET /projects/:id/labels"),
        OWNER,
        requests=Requests(group=1, project=1),
    ),
    since=Since("nothing", why="GitLab does not say which labels changed"),
)
