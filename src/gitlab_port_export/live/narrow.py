"""Turns a resource's selector and the tokens' path patterns into conditions on a payload, exactly or not at all."""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from gitlab_port_export.gitlab.kinds.kind import query_params
from gitlab_port_export.gitlab.kinds.pipeline import OLD_WINDOW_DAYS
from gitlab_port_export.mapping.model import Mapping, Resource
from gitlab_port_export.model import Dialect

DAY = 24 * 60 * 60
LEVELS = {"private": 0, "internal": 10, "public": 20}
# GitLab's list leaves these pipelines out, or not, by its version; with them an event could make what no sync makes.
# https://gitlab.com/gitlab-org/gitlab/-/blob/master/app/models/concerns/enums/ci/pipeline.rb (dangling_sources)
UNLISTED = (
    "parent_pipeline", "webide", "ondemand_dast_scan", "ondemand_dast_validation", "security_orchestration_policy",
    "container_registry_push", "duo_workflow", "pipeline_execution_policy_schedule",
)  # fmt: skip
# What the pipeline list is asked for that a payload can tell just as well.
PLAIN_PARAMS = ("status", "source", "sha")


class NotTold(Exception):
    """A payload does not show whether the selector takes the row; the text names the selector's field."""


def conditions(resource: Resource, dialect: Dialect) -> Iterator[str]:
    """Yield jq conditions under which the selector has the row. Raises NotTold.

    A window of time needs none where what has just happened is in it.
    """
    selector: Any = resource.selector
    for name in ("include_only_active_groups", "include_only_active_projects"):
        if getattr(selector, name, None) is not None:
            raise NotTold(f"the selector asks for {_camel(name)}")
    match resource.kind:
        case "merge-request":
            yield from _merge_request(selector, dialect)
        case "issue":
            yield from _issue(selector)
        case "pipeline":
            yield from _pipeline(selector.api_query_params, dialect)
        case "job" if dialect == "gitlab-v2":
            yield from _pipeline(selector.pipeline_query_params, dialect)


def scope(
    mapping: Mapping, dialect: Dialect, patterns: Iterable[str], prefixes: Iterable[str] | None = None
) -> Iterator[str]:
    """Yield jq conditions under which the project is one that a sync reads. Raises NotTold.

    `patterns` are those of the tokens together; `prefixes`, where given, the groups.
    """
    shapes = list(patterns)
    if not any(shape in ("**", "*", "**/*", "**/**") for shape in shapes):
        tests = [f"test({literal(_regular(shape))})" for shape in shapes]
        yield f"($b.project.path_with_namespace | {' or '.join(tests)})"
    if prefixes is not None:
        starts = [f"startswith({literal(prefix + '/')})" for prefix in prefixes]
        yield f"($b.project.path_with_namespace | {' or '.join(starts) or 'false'})"
    if dialect == "gitlab" and (wanted := mapping.project_visibility_filter) is not None:
        if wanted not in LEVELS:
            raise NotTold(f"projectVisibilityFilter is {wanted}")
        yield f"$b.project.visibility_level == {LEVELS[wanted]}"


def _merge_request(selector: Any, dialect: Dialect) -> Iterator[str]:
    # `gitlab` reads all states where none is named.
    if dialect == "gitlab-v2" or "states" in selector.model_fields_set:
        yield _one_of("$o.state", selector.states)


def _issue(selector: Any) -> Iterator[str]:
    if selector.state is not None:
        yield _one_of("$o.state", (selector.state,))
    if selector.issue_type is not None:
        yield f'(($o.type // "") | ascii_downcase | split(" ") | join("_")) == {literal(selector.issue_type)}'
    names = [name.strip() for name in (selector.labels or "").split(",") if name.strip()]
    if [name.lower() for name in names] == ["none"]:
        yield "($b.labels // [] | length) == 0"
    elif [name.lower() for name in names] == ["any"]:
        yield "($b.labels // [] | length) > 0"
    elif names:
        yield f"({literal(names)} - [$b.labels[]?.title] | length) == 0"


def _pipeline(query: Any, dialect: Dialect) -> Iterator[str]:
    asked = dict(query_params(query))
    told = {name: asked.pop(name) for name in PLAIN_PARAMS if name in asked}
    if asked:
        raise NotTold(f"the selector asks GitLab for {', '.join(sorted(asked))}")
    yield from (_one_of(f"$o.{name}", (value,)) for name, value in told.items())
    if "source" not in told:
        yield f"($o.source | {' and '.join(f'. != {literal(source)}' for source in UNLISTED)})"
    if dialect == "gitlab":
        yield f"($o.created_at | iso | fromdate) > (now - {int(OLD_WINDOW_DAYS * DAY)})"


def literal(value: Any) -> str:
    """Return a value as jq; without single quotes, which Port would take for double ones."""
    return json.dumps(value).replace("'", "\\u0027")


def _one_of(value: str, allowed: Iterable[str]) -> str:
    return f"({value} | {' or '.join(f'. == {literal(one)}' for one in allowed)})"


def _regular(pattern: str) -> str:
    """Return the pattern as a regular expression: `*` crosses slashes, and `**/x` matches `x` as well."""
    if "[" in pattern:
        raise NotTold("a pattern of the token mapping has brackets")
    bare = pattern.removeprefix("**/")
    any_depth = "" if bare == pattern else "(.*/)?"
    signs = {"*": ".*", "?": "."}
    return f"^{any_depth}{''.join(signs.get(sign) or re.escape(sign) for sign in bare)}$"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
