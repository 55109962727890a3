"""The table of kinds: adding one is one file here and one line below."""

from collections.abc import Mapping

from gitlab_port_export.gitlab.kinds import (
    access,
    branch,
    deployment,
    environment,
    file,
    folder,
    group,
    group_with_members,
    issue,
    job,
    label,
    member,
    merge_request,
    milestone,
    pipeline,
    plugin,
    project,
    project_with_members,
    release,
    skill,
    tag,
    user,
)
from gitlab_port_export.gitlab.kinds.kind import Kind

KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        project.KIND,
        group.KIND,
        member.KIND,
        group_with_members.KIND,
        project_with_members.KIND,
        merge_request.KIND,
        issue.KIND,
        pipeline.KIND,
        job.KIND,
        file.KIND,
        folder.KIND,
        skill.KIND,
        plugin.KIND,
        user.KIND,
        access.KIND,
        release.KIND,
        tag.KIND,
        branch.KIND,
        deployment.KIND,
        environment.KIND,
        label.KIND,
        milestone.KIND,
    )
}
