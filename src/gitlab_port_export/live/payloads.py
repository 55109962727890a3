"""Which fields of a row a hook's payload holds: a tree per kind, each field with the jq that gives its value.

The jq sees `$b`, the payload; `$o`, its `object_attributes`; `$i`, one of its `builds`. Only what jq 1.6 has is used:
Port does not document its version. Shapes: https://docs.gitlab.com/user/project/integrations/webhook_events/
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gitlab_port_export.model import Dialect

# GitLab writes `2026-01-16 05:56:22 UTC`, on a server with a zone of its own `2026-01-16 05:56:22 +0100`, and in some
# places ISO; Port takes ISO alone. Fractions of seconds are not in the payload.
ISO = (
    'def iso: if . == null or .[10:11] == "T" then . elif endswith("UTC") then .[0:10] + "T" + .[11:19] + "Z"'
    ' else ((.[0:10] + "T" + .[11:19] + "Z") | fromdate) - ((.[20:21] + "1" | tonumber)'
    " * ((.[21:23] | tonumber) * 3600 + (.[-2:] | tonumber) * 60)) | todate end;"
)
# The address of the GitLab, which may live under a path.
BASE = "($b.project | .web_url[0:((.web_url | length) - (.path_with_namespace | length) - 1)])"
# `user` is who acted; the author is known where a user in the payload has the author's id.
AUTHOR = (
    "([$b.user, $b.assignees[]?, $b.reviewers[]?]"
    ' | map(select(type == "object" and .id != null and .id == $o.author_id)) | .[0])'
)


@dataclass(frozen=True)
class When:
    """A condition in jq and in words; `by_version` where it holds for every payload of a newer GitLab."""

    jq: str
    words: str
    by_version: bool = False


@dataclass(frozen=True)
class Leaf:
    """A value of the row that the payload gives in full."""

    jq: str
    when: When | None = None


@dataclass(frozen=True)
class Items:
    """A list of objects of which some parts are known; in their jq `.` is an item of the list that `jq` gives."""

    jq: str
    parts: Mapping[str, Leaf]
    when: When | None = None


@dataclass(frozen=True)
class Part:
    """An object of the row of which some parts are known."""

    parts: "Mapping[str, Node]"
    when: When | None = None


Node = Leaf | Items | Part


@dataclass(frozen=True)
class Source:
    """Which payloads give rows of a kind: the hook's flag, the condition that picks them, and the tree of a row."""

    kind: str
    flag: str
    filter: str
    row: Part
    # A list in the payload whose items give a row each.
    each: str = ""
    # Fields that the payload has not, in words, for those who ask why.
    absent: Mapping[str, str] = field(default_factory=dict)


def has(name: str, since: str, where: str = "$o") -> When:
    """Return the condition that a key is there, which it is from a version of GitLab on."""
    return When(f"({where} | has({json.dumps(name)}))", f"payloads hold {name} ({since})", by_version=True)


def _same(*names: str) -> dict[str, Leaf]:
    return {name: Leaf(f"$o.{name}") for name in names}


def _times(*names: str) -> dict[str, Leaf]:
    return {name: Leaf(f"($o.{name} | iso)") for name in names}


def _person(of: str, when: When | None = None) -> Part:
    """Return what is known of a user; avatars have another size, and states and addresses are not sent."""
    known = ("id", "username", "name")
    parts: dict[str, Node] = {name: Leaf(f"{of}.{name}") for name in known}
    return Part(parts | {"web_url": Leaf(f'({BASE} + "/" + {of}.username)')}, when)


def _people(name: str, when: When | None = None) -> Items:
    parts = {part: Leaf(f".{part}") for part in ("id", "username", "name")}
    return Items(f"($b.{name} // [])", parts | {"web_url": Leaf(f'({BASE} + "/" + .username)')}, when)


def _references(mark: str) -> Part:
    short = f'("{mark}" + ($o.iid | tostring))'
    return Part({"short": Leaf(short), "full": Leaf(f"($b.project.path_with_namespace + {short})")})


AUTHOR_KNOWN = When(f"{AUTHOR} != null", "the author is the acting user, an assignee or a reviewer")
# Relative addresses of images are made absolute in payloads.
NO_IMAGES = When('(($o.description // "") | contains("![") | not)', "the description shows no image")
NO_MILESTONE = When("$o.milestone_id == null", "there is no milestone")
# The payload has the source branch in its place.
NO_MERGE_REQUEST_PIPELINE = When('$o.source != "merge_request_event"', "it is no pipeline of a merge request")

_ISSUABLE: dict[str, Node] = {
    **_same("id", "iid", "title", "state"),
    **_times("created_at", "updated_at"),
    "description": Leaf("$o.description", NO_IMAGES),
    "labels": Leaf("([$b.labels[]?.title] | sort)"),
    "assignees": _people("assignees"),
    "author": _person(AUTHOR, AUTHOR_KNOWN),
    "milestone": Leaf("null", NO_MILESTONE),
}
_UNTOLD = "payloads do not hold it"
# Without the key it is not known whether there are labels; an absent list of people means that there are none.
LABELLED = '($b.labels | type) == "array"'

MERGE_REQUEST = Source(
    "merge-request",
    "merge_requests_events",
    f'$b.object_kind == "merge_request" and $o.id != null and {LABELLED}',
    Part(
        {
            **_ISSUABLE,
            **_same("source_branch", "target_branch", "source_project_id", "target_project_id", "merge_commit_sha"),
            **_same("merge_when_pipeline_succeeds", "detailed_merge_status"),
            "squash_commit_sha": Leaf("$o.squash_commit_sha", has("squash_commit_sha", "newer GitLab")),
            "project_id": Leaf("$o.target_project_id"),
            "draft": Leaf('(if $o | has("draft") then $o.draft else $o.work_in_progress end)'),
            "work_in_progress": Leaf('(if $o | has("draft") then $o.draft else $o.work_in_progress end)'),
            "prepared_at": Leaf("($o.prepared_at | iso)", has("prepared_at", "GitLab 15.9")),
            "merged_at": Leaf(
                "($o.merged_at | iso)",
                When('(($o | has("merged_at")) or $o.state != "merged")', "it is not merged, or GitLab is 19 or newer"),
            ),
            "web_url": Leaf('($o.url // ($b.project.web_url + "/-/merge_requests/" + ($o.iid | tostring)))'),
            "sha": Leaf("$o.last_commit.id"),
            "reviewers": _people(
                "reviewers",
                When(
                    "(($b.reviewers // [] | length) == ($o.reviewer_ids // [] | length))",
                    "payloads name every reviewer (GitLab 15.3)",
                    by_version=True,
                ),
            ),
            "references": _references("!"),
        }
    ),
    absent={"closed_at": _UNTOLD, "merged_by": "payloads tell who acted, not who merged"},
)

ISSUE = Source(
    "issue",
    "issues_events",
    # GitLab sends tasks, incidents and epics as work items, whose addresses differ from those of lists.
    f'$b.object_kind == "issue" and $o.id != null and $o.confidential == false and {LABELLED}',
    Part(
        {
            **_ISSUABLE,
            **_same("confidential", "due_date", "discussion_locked", "project_id"),
            "weight": Leaf("$o.weight", has("weight", "Premium")),
            "closed_at": Leaf("($o.closed_at | iso)", has("closed_at", "GitLab 14")),
            "issue_type": Leaf('($o.type | ascii_downcase | split(" ") | join("_"))', has("type", "GitLab 17.2")),
            "web_url": Leaf("$o.url"),
            "references": _references("#"),
        }
    ),
    absent={"closed_by": "payloads tell who acted, not who closed it"},
)

_REF = Leaf("$o.ref", NO_MERGE_REQUEST_PIPELINE)
_PIPELINE: dict[str, Node] = {
    **_same("id", "status", "source", "sha"),
    "iid": Leaf("$o.iid", has("iid", "GitLab 15")),
    "project_id": Leaf("$b.project.id"),
    "created_at": Leaf("($o.created_at | iso)"),
    "web_url": Leaf('($o.url // ($b.project.web_url + "/-/pipelines/" + ($o.id | tostring)))'),
    "ref": _REF,
}
PIPELINE = Source(
    "pipeline",
    "pipeline_events",
    '$b.object_kind == "pipeline" and $o.id != null',
    Part(
        {
            **_PIPELINE,
            "name": Leaf("$o.name", has("name", "GitLab 16.1")),
            "__project": Part({"path_with_namespace": Leaf("$b.project.path_with_namespace")}),
        }
    ),
    absent={"updated_at": _UNTOLD},
)

_BUILD_TIMES = ("created_at", "started_at", "finished_at")
# GitLab names a reason for jobs that did not fail, too.
_REASON = '(if {0} == "failed" then {1} else null end)'


def _user(of: str) -> Part:
    there = When(f'({of} == null or ({of} | has("username")))', "payloads hold the user's name", by_version=True)
    return Part({name: Leaf(f"{of}.{name}", there) for name in ("id", "username", "name")})


# The jobs of a pipeline's event: they are the latest of their names, as the list of `gitlab-v2` has them, and what the
# selector says of their pipelines can be told.
JOBS_OF_PIPELINE = Source(
    "job",
    "pipeline_events",
    PIPELINE.filter,
    Part(
        {
            **{name: Leaf(f"$i.{name}") for name in ("id", "name", "stage", "status", "allow_failure")},
            **{name: Leaf(f"$i.{name}", has(name, "GitLab 14", "$i")) for name in ("duration", "queued_duration")},
            **{name: Leaf(f"($i.{name} | iso)") for name in _BUILD_TIMES},
            "failure_reason": Leaf(
                _REASON.format("$i.status", "$i.failure_reason"), has("failure_reason", "GitLab 15.4", "$i")
            ),
            "user": _user("$i.user"),
            "ref": _REF,
            "web_url": Leaf('($b.project.web_url + "/-/jobs/" + ($i.id | tostring))'),
            "pipeline": Part(_PIPELINE),
        }
    ),
    each=".body.builds",
)
# A job's own event; `gitlab` reads all jobs of a project.
JOB = Source(
    "job",
    "job_events",
    '$b.object_kind == "build" and $b.build_id != null',
    Part(
        {
            **{
                name: Leaf(f"$b.build_{name}")
                for name in ("id", "name", "stage", "status", "duration", "queued_duration", "allow_failure")
            },
            **{name: Leaf(f"($b.build_{name} | iso)") for name in _BUILD_TIMES},
            **{name: Leaf(f"$b.{name}") for name in ("ref", "tag")},
            "failure_reason": Leaf(_REASON.format("$b.build_status", "$b.build_failure_reason")),
            "user": _user("$b.user"),
            "web_url": Leaf('(($b.project.web_url // $b.repository.homepage) + "/-/jobs/" + ($b.build_id | tostring))'),
            "pipeline": Part(
                {
                    "id": Leaf("$b.pipeline_id"),
                    "sha": Leaf("$b.commit.sha"),
                    "project_id": Leaf("$b.project_id"),
                }
            ),
        }
    ),
)

# A push names its project. Other events do so too, but would write a project again for each of them.
PROJECT = Source(
    "project",
    "push_events",
    # System hooks name the event alone.
    '($b.object_kind // $b.event_name) == "push" and $b.project.id != null',
    Part(
        {
            **{
                name: Leaf(f"$b.project.{name}")
                for name in ("id", "name", "description", "web_url", "path_with_namespace", "default_branch")
            },
            "path": Leaf('($b.project.path_with_namespace | split("/") | .[-1])'),
            "ssh_url_to_repo": Leaf("$b.project.git_ssh_url"),
            "http_url_to_repo": Leaf("$b.project.git_http_url"),
            "visibility": Leaf(
                '($b.project.visibility_level | if . == 20 then "public" elif . == 10 then "internal"'
                ' elif . == 0 then "private" else null end)'
            ),
        }
    ),
    absent=dict.fromkeys(("__languages", "archived", "topics", "last_activity_at"), _UNTOLD),
)


def sources(dialect: Dialect) -> Mapping[str, Source]:
    """Return the source of each kind that payloads can feed."""
    job = JOBS_OF_PIPELINE if dialect == "gitlab-v2" else JOB
    with_members = replace(PROJECT, kind="project-with-members")
    return {source.kind: source for source in (MERGE_REQUEST, ISSUE, PIPELINE, job, PROJECT, with_members)}
