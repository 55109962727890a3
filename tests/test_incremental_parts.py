"""What runs with `--since last` are made of: who takes part, what the state says, and what GitLab is asked."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitlab_port_export.gitlab.kinds import SELECTORS
from gitlab_port_export.incremental.frames import BUCKETS, DIGEST_BYTES, Frames, Moved, Outline, cuts_of
from gitlab_port_export.incremental.key import Basis, differing, key_of
from gitlab_port_export.incremental.mode import why_full, why_full_after_all
from gitlab_port_export.incremental.state import State, state_of
from gitlab_port_export.incremental.takes_part import left_out
from gitlab_port_export.mapping.load import mapping_from_object
from testbed.harness import mapping_of, resource

NOW = datetime(2026, 1, 2, 10, tzinfo=UTC)
DAY = timedelta(days=1)
STATE = State(
    {"the mapping": "a"}, NOW - timedelta(hours=5), NOW - timedelta(minutes=10), {"issue": NOW - timedelta(minutes=10)},
    Frames(7, 3, bytes(BUCKETS * DIGEST_BYTES)), {"issue": 12}, {NOW: Moved(frozenset([1, 2]), frozenset([3]))},
    (4,),
)  # fmt: skip


def left(*resources: Any, **options: Any) -> dict[int, str]:
    mapping, _ = mapping_from_object(mapping_of(*resources, **options), "test", SELECTORS)
    return left_out(mapping)


# --- who takes part

ONE = "several rows may give one entity, as far as the identifier tells"
ANOTHER = "several rows may give one entity: another resource sets the same fields"


@pytest.mark.parametrize(
    ("kind", "identifier"),
    [
        ("merge-request", ".id | tostring"),
        ("merge-request", '"\\(.id)"'),
        ("merge-request", ".web_url"),
        ("merge-request", '.references.full | gsub("/"; "-")'),
        ("merge-request", '"mr-\\(.project_id)-\\(.iid)"'),
        ("project", '.path_with_namespace | gsub(" "; "")'),
        ("project", '.namespace.full_path + "/" + .path'),
        ("environment", '.__project.path_with_namespace + "/" + .name'),
        ("release", '"\\(.__project.path_with_namespace)@\\(.tag_name)"'),
        ("file", '.repo.path_with_namespace + ":" + .file.path'),
        ("job", ".id // .web_url"),
    ],
)
def test_a_resource_takes_part_whose_identifier_is_made_of_the_rows_own_key(kind: str, identifier: str) -> None:
    selector = {"files": {"path": "a.yml"}} if kind == "file" else {}
    assert left(resource(kind, "thing", identifier=identifier, selector=selector)) == {}


@pytest.mark.parametrize(
    ("kind", "identifier"),
    [
        ("merge-request", ".author.username"),
        ("merge-request", ".iid | tostring"),
        ("merge-request", '.references.full | split("!")[0]'),
        ("merge-request", "(.id | tostring)[:2]"),
        ("merge-request", '"\\(.id)-\\(.title)"'),
        ("merge-request", "if .draft then .id else .author.id end | tostring"),
        ("merge-request", ". | tojson"),
        ("environment", ".name"),
        ("pipeline", ".ref"),
        ("job", ".name"),
        ("tag", ".name"),
        ("project", ".name"),
    ],
)
def test_a_resource_is_left_to_full_runs_where_several_rows_may_give_one_entity(kind: str, identifier: str) -> None:
    assert left(resource(kind, "thing", identifier=identifier)) == {0: ONE}


@pytest.mark.parametrize(
    ("kind", "selector", "why"),
    [
        ("member", {}, "GitLab does not say which members changed"),
        ("label", {}, "GitLab does not say which labels changed"),
        ("pipeline", {"apiQueryParams": {"scope": "branches"}}, "with scope branches a pipeline leaves the list"),
        ("job", {"pipelineQueryParams": {"scope": "tags"}}, "with scope tags a pipeline leaves the list"),
    ],
)
def test_what_gitlab_cannot_tell_is_left_to_full_runs(kind: str, selector: dict[str, Any], why: str) -> None:
    assert left(resource(kind, selector=selector))[0].startswith(why)


def test_items_take_part_where_the_row_they_are_of_is_in_their_identifier() -> None:
    items = {"itemsToParse": ".labels"}
    assert left(resource("issue", port=items, identifier='"\\(.id)-\\(.item)"')) == {}
    assert left(resource("issue", port=items, identifier=".item")) == {0: ONE}


def test_resources_that_set_the_same_fields_take_part_only_with_one_kind_and_key() -> None:
    issue, other = resource("issue", "work", title=".title"), resource("merge-request", "work", title=".title")
    assert left(issue, other) == {0: ANOTHER, 1: ANOTHER}
    assert left(issue, resource("issue", "work", title=".title", query=".draft")) == {}
    assert left(issue, resource("issue", "work", title=".title", identifier=".web_url")) == {0: ANOTHER, 1: ANOTHER}
    # Other fields of the same blueprint do no harm, unless Port overwrites.
    apart = resource("merge-request", "work", properties={"link": ".web_url"})
    assert left(issue, apart) == {}
    assert left(issue, apart, enableMergeEntity=False) == {0: ANOTHER, 1: ANOTHER}


def test_a_resource_that_is_left_takes_along_what_shares_its_fields() -> None:
    people = resource("member", "work", title=".name")
    assert left(people, resource("issue", "work", title=".title"))[1] == ANOTHER
    row = resource("issue", title=".title", blueprint_expression=".type")
    assert left(row) == {0: "the row decides over the blueprint"}


def test_entities_that_a_search_finds_are_left() -> None:
    search = {"combinator": "and", "rules": [{"property": "x", "operator": "=", "value": ".id"}]}
    assert left(resource("issue", identifier=search)) == {0: "a search finds the entities"}


# --- the state


def test_a_state_comes_back_as_it_was() -> None:
    assert state_of(STATE.text) == STATE


@given(st.integers(0, len(STATE.text) - 1), st.characters(codec="ascii"))
def test_a_state_in_which_anything_is_damaged_is_none(place: int, char: str) -> None:
    text = STATE.text[:place] + char + STATE.text[place + 1 :]
    # Another spelling of the same JSON is no damage.
    assert state_of(text) in (None, STATE)
    assert state_of(STATE.text[:place]) is None


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"format": 1}', b"\xff\xfe"])
def test_what_is_no_state_is_none(text: str | bytes) -> None:
    assert state_of(text) is None


def test_a_state_is_small() -> None:
    assert len(STATE.text) < 12_000


BASIS = Basis(
    "my-gitlab", "gitlab-v2", "https://p", "org", "https://g", "m", {"R": "1"}, {"token 1": ("**",)}, {"token 1": 5}
)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"integration": "other"}, "the integration"),
        ({"dialect": "gitlab"}, "the integration"),
        ({"port": "https://q"}, "Port's address or organization"),
        ({"organization": "other"}, "Port's address or organization"),
        ({"gitlab": "https://h"}, "GitLab's address"),
        ({"mapping": "n"}, "the mapping"),
        ({"environ": {"R": "2"}}, "what jq may read of the environment"),
        ({"patterns": {"token 1": ("a/**",)}}, "a token's patterns or user"),
        ({"users": {"token 1": 6}}, "a token's patterns or user"),
    ],
)
def test_whatever_decides_what_is_read_is_in_the_key(changes: dict[str, Any], part: str) -> None:
    assert list(differing(key_of(BASIS), key_of(replace(BASIS, **changes)))) == [part]


def test_no_part_of_the_key_can_be_read() -> None:
    text = json.dumps(key_of(replace(BASIS, environ={"REGION": "very-own-value"})))
    assert "very-own-value" not in text


@pytest.mark.parametrize(
    ("projects", "cuts"), [(0, []), (749, []), (750, [375]), (1_000, [500]), (1_500, [500, 1_000])]
)
def test_a_long_list_of_projects_is_cut_into_equal_ranges(projects: int, cuts: list[int]) -> None:
    found = [Outline(id, False, b"", "", "", True) for id in range(projects, 0, -1)]
    assert list(cuts_of(found)) == cuts
    assert len(cuts_of(Outline(id, False, b"", "", "", True) for id in range(20_000))) == 7


# --- the decision


@pytest.mark.parametrize(
    ("state", "key", "why"),
    [
        (STATE, STATE.key, ""),
        (None, STATE.key, "nothing there"),
        (STATE, {"the mapping": "b"}, "since the last run this changed: the mapping"),
        (replace(STATE, last_full=NOW - DAY), STATE.key, "the last one was 24 h ago (--full-every 24 h)"),
        (
            replace(STATE, last_run=NOW + timedelta(seconds=1)),
            STATE.key,
            "the state is of a later time than GitLab's clock shows",
        ),
    ],
)
def test_a_full_run_is_due(state: State | None, key: dict[str, str], why: str) -> None:
    assert why_full(state, "nothing there", key, NOW, DAY) == why


@pytest.mark.parametrize(
    ("moved", "unsettled", "lost", "full"),
    [
        (20, 20, {}, False),
        (21, 21, {}, True),
        (0, 33, {}, False),
        (0, 34, {}, True),
        (0, 0, {"issue": (12, 11)}, True),
    ],
)
def test_many_moved_projects_and_lost_entities_make_a_full_run(
    moved: int, unsettled: int, lost: dict[str, tuple[int, int]], full: bool
) -> None:
    assert bool(why_full_after_all(moved, unsettled, 100, lost)) == full
