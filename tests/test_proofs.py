"""What proves that something is gone from GitLab, and what does not: whole syncs over real HTTP."""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.request import Request, urlopen

import pytest

from gitlab_port_export.base import answer, http
from gitlab_port_export.base.errors import GitLabUnavailable
from gitlab_port_export.demo import gitlab_list_rows as lists
from gitlab_port_export.demo.gitlab import Fault, GitLabServer, Recorded, faults, gitlab_server
from gitlab_port_export.demo.gitlab_pages import HeaderList
from gitlab_port_export.demo.gitlab_rows import stamp
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import World
from gitlab_port_export.report.values import Report
from testbed.harness import acme, blueprint, mapping_of, port_with, resource, run_sync
from testbed.kinds import known_subjects, subject_of

pytestmark = pytest.mark.usefixtures("lent_evaluator")

DAY = 86_400
FREE: dict[str, Any] = {"entityDeletionThreshold": 1}


def held(store: PortStore, name: str = "thing") -> set[str]:
    """The identifiers of a blueprint's entities in Port."""
    return set(store.snapshot()[name])


def synced_twice(
    gitlab: GitLabServer, mapping: Any, change: Callable[[], None], *, name: str = "thing"
) -> tuple[set[str], set[str], Report]:
    """What Port held after a first sync and after a second one, before which something changed; the second report.

    Nothing but a proof keeps anything from being deleted: there is no limit.
    """
    store = port_with(blueprint(name, text="string"))
    first = run_sync(gitlab, store, mapping)
    assert first.report.exit_code == 0, first.report.problems
    before = held(store, name)
    assert before
    change()
    report = run_sync(gitlab, store, mapping).report
    return before, held(store, name), report


@pytest.fixture
def company() -> Iterator[tuple[GitLabServer, World, Any]]:
    """A GitLab with one group and one project in it."""
    world, _, group = acme()
    app = world.add_project(group, "app")
    with gitlab_server(world) as server:
        yield server, world, app


# Ends of lists


def without(*names: str) -> Callable[[Recorded, HeaderList], HeaderList]:
    """A proxy that takes these headers off."""
    return lambda _, headers: [(name, value) for name, value in headers if name.lower() not in names]


KEYSET_KINDS = {
    "project": (
        "id | tostring",
        lambda world, app: [world.add_project(world.group("acme"), f"p{n}") for n in range(150)],
    ),
    "job": (
        "id | tostring",
        lambda world, app: [world.add_job(world.add_pipeline(app), f"j{n}") for n in range(150)],
    ),
}


@pytest.mark.parametrize("kind", KEYSET_KINDS)
def test_a_short_page_whose_link_a_proxy_took_off_is_no_end(company: Any, kind: str) -> None:
    gitlab, world, app = company
    identifier, fill = KEYSET_KINDS[kind]
    fill(world, app)

    def short() -> None:
        """Keyset pages hold a third less than was asked for, and no Link arrives."""
        gitlab.proxy = without("link")
        respond = gitlab.respond

        def cut(secret: str, path: str, query: Any, *more: Any) -> Any:
            fewer = tuple((name, "65" if name == "per_page" else value) for name, value in query)
            return respond(secret, path, fewer if "pagination" in dict(query) else query, *more)

        gitlab.respond = cut  # type: ignore[method-assign]  # a server behind a gateway with bounds of its own

    before, after, report = synced_twice(gitlab, mapping_of(resource(kind, identifier=f".{identifier}"), **FREE), short)
    assert (after, report.exit_code) == (before, 0)


def test_a_short_page_of_one_list_alone_is_no_end_before_anything_is_deleted(company: Any) -> None:
    gitlab, world, app = company
    for number in range(100):
        world.add_job(world.add_pipeline(app), f"job {number}")

    def shorten() -> None:
        path = f"{gitlab.url}/api/v4/projects/{app['id']}/jobs?pagination=keyset&per_page=100"
        with urlopen(Request(path, headers={"Authorization": "Bearer token-of-reader"})) as answer:
            rows = json.loads(answer.read())
        gitlab.faults.append(Fault(f"^/projects/{app['id']}/jobs$", faults.reply_json(200, rows[:35])))

    before, after, report = synced_twice(gitlab, mapping_of(resource("job"), **FREE), shorten)
    assert (after, report.exit_code) == (before, 1)


@pytest.mark.parametrize(
    "link", ['</style.css>; rel="preload"; as="style"', '<https://docs.example.com>; rel="help"', "2"]
)
def test_a_link_of_a_gateway_in_the_place_of_gitlabs_is_no_end(company: Any, link: str) -> None:
    gitlab, world, app = company
    for number in range(150):
        lists.add_branch(world, app, f"b{number}")
        world.add_job(world.add_pipeline(app), f"job {number}")

    def foreign(_: Recorded, headers: HeaderList) -> HeaderList:
        return [*without("link", "x-next-page", "x-total", "x-total-pages")(_, headers), ("Link", link)]

    def replace_links() -> None:
        gitlab.proxy = foreign

    branches = resource("branch", identifier='"b-\\(.name)"', selector={"defaultBranchOnly": False})
    mapping = mapping_of(branches, resource("job"), **FREE)
    before, after, report = synced_twice(gitlab, mapping, replace_links)
    assert (after, report.exit_code) == (before, 0)


def test_headers_that_contradict_each_other_hold_deletions(company: Any) -> None:
    gitlab, world, app = company
    for number in range(122):
        world.add_issue(app, f"Issue {number}")

    def contradict() -> None:
        gitlab.proxy = lambda _, headers: [
            (name, "" if name == "X-Next-Page" else value) for name, value in headers if name != "X-Total"
        ]

    before, after, report = synced_twice(gitlab, mapping_of(resource("issue"), **FREE), contradict)
    assert (after, report.exit_code) == (before, 1)


def test_next_links_that_name_another_host_are_read_on_from_the_configured_one(company: Any) -> None:
    _, world, app = company
    for number in range(150):
        world.add_job(world.add_pipeline(app), f"job {number}")
    store = port_with(blueprint("thing"))
    with gitlab_server(world, external_url="https://gitlab.example.com") as gitlab:
        report = run_sync(gitlab, store, mapping_of(resource("job"))).report
    assert (report.exit_code, len(held(store))) == (0, 150)


# The run's instant


def test_time_windows_count_from_gitlabs_clock(company: Any) -> None:
    gitlab, world, app = company
    # This machine is ten days ahead of GitLab, whose rows are all of the last 90 days.
    gitlab.clock = lambda: time.time() - 10 * DAY
    there = datetime.now(UTC) - timedelta(days=10)
    for age in (1, 85, 89):
        world.add_merge_request(app, f"mr-{age}", state="merged", updated_at=stamp(there - timedelta(days=age)))
    world.add_merge_request(app, "mr-91", state="merged", updated_at=stamp(there - timedelta(days=91)))
    store = port_with(blueprint("thing"))
    wanted = resource("merge-request", selector={"states": ["merged"]}, identifier=".title")
    report = run_sync(gitlab, store, mapping_of(wanted)).report
    assert held(store) == {"mr-1", "mr-85", "mr-89"}
    (warning,) = report.problems
    assert (report.exit_code, warning.warning) == (0, True)
    assert "the clock of this machine" in warning.why


def test_a_clock_that_is_nearly_right_is_not_worth_a_word(company: Any) -> None:
    gitlab, _, _ = company
    for seconds in (-240, 240):
        gitlab.clock = lambda seconds=seconds: time.time() + seconds
        assert run_sync(gitlab, port_with(blueprint("thing")), mapping_of(resource("project"))).report.problems == ()


@pytest.mark.parametrize("date", ["", "yesterday", "Mon, 01 Jan 0001 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 +0000"])
def test_a_date_that_no_clock_tells_ends_no_run(company: Any, date: str) -> None:
    gitlab, _, _ = company
    answer = faults.reply_json(200, {"id": 1}, ("Date", date))
    gitlab.faults.append(Fault("^/user$", answer))
    wanted = resource("merge-request", selector={"states": ["merged"]})
    assert run_sync(gitlab, port_with(blueprint("thing")), mapping_of(wanted)).report.exit_code == 0


# Rows that lie


def lying(gitlab: GitLabServer, **fields: Any) -> None:
    """Let the list of projects, and only that, say something else of each of them."""
    respond = gitlab.respond

    def answer(secret: str, path: str, *more: Any) -> Any:
        answered = respond(secret, path, *more)
        if path != "/projects":
            return answered
        rows = [row | fields for row in json.loads(answered.body)]
        return replace(answered, body=json.dumps(rows).encode(), packed=None)

    gitlab.respond = answer  # type: ignore[method-assign]  # the stand-in never lies by itself


LIES: dict[str, dict[str, Any]] = {
    "null": {"default_branch": None, "empty_repo": False},
    "empty": {"empty_repo": True},
    "nothing at all": {"default_branch": None, "empty_repo": True},
    "off": {"repository_access_level": "disabled"},
}
TEXTS = {
    "files": ({"includedFiles": ["README.md"]}, '.__includedFiles["README.md"]'),
    "languages": ({"includeLanguages": True}, '.__languages | keys | join(",")'),
    "an older file": ({}, "file://README.md"),
    "an older search": ({}, "search://scope=blobs&&query=go"),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("text", TEXTS)
def test_values_of_a_project_whose_row_denies_its_code_stay(company: Any, text: str, lie: str) -> None:
    gitlab, world, app = company
    world.set_file(app, "README.md", "Written in Go.\n")
    world.set_languages(app, Go=100.0)
    selector, expression = TEXTS[text]
    mapping = mapping_of(resource("project", selector=selector, properties={"text": expression}))
    store = port_with(blueprint("thing", text="boolean" if "search" in text else "string"))
    assert run_sync(gitlab, store, mapping).report.exit_code == 0
    before = store.snapshot()
    assert [content[3]["text"] for content in before["thing"].values()] != [None], before
    lying(gitlab, **LIES[lie])
    assert run_sync(gitlab, store, mapping).report.exit_code == 0
    assert store.snapshot() == before


DENIED = [kind for kind, subject in known_subjects().items() if subject.denied is not None]


@pytest.mark.parametrize("kind", DENIED)
def test_what_a_row_denies_and_gitlab_gives_is_not_deleted(company: Any, kind: str) -> None:
    gitlab, world, app = company
    subject = subject_of(kind)
    subject.furnish(world, app, next(iter(world.users.values())))
    mapping, store = mapping_of(resource(kind, **subject.fields), **FREE), port_with(blueprint("thing"))
    assert run_sync(gitlab, store, mapping).report.exit_code == 0
    before = held(store)
    assert before
    respond = gitlab.respond
    for lie in (*LIES.values(), subject.denied):
        gitlab.respond = respond  # type: ignore[method-assign]  # one lie at a time
        lying(gitlab, **(lie or {}))
        report = run_sync(gitlab, store, mapping).report
        assert (held(store), report.exit_code) == (before, 0), lie


# Paths that change


@pytest.mark.parametrize("kind", ["merge-request", "issue"])
def test_a_project_that_is_renamed_while_its_rows_are_read_keeps_them(kind: str) -> None:
    world, _, group = acme()
    kept, other = world.add_project(group, "app-one"), world.add_project(group, "tool")
    for number in range(3):
        (world.add_issue if kind == "issue" else world.add_merge_request)(kept, f"Row {number}")
    world.add_issue(other, "Not wanted")
    store = port_with(blueprint("thing"))
    # A pattern with a wildcard, so that the group is read and its rows are filtered.
    mapping, tokens = mapping_of(resource(kind), **FREE), {"token-of-reader": ["acme/app-*"]}
    with gitlab_server(world) as gitlab:
        assert run_sync(gitlab, store, mapping, tokens=tokens).report.exit_code == 0
        before = held(store)
        assert len(before) == 3

        def renamed(request: Recorded) -> bool:
            if request.path.startswith(f"/groups/{group['id']}/") and kept["path"] == "app-one":
                world.rename_project(kept, path="service")
                for row in (*world.issues[kept["id"]], *world.merge_requests[kept["id"]]):
                    row["references"]["full"] = row["references"]["full"].replace("app-one", "service")
            return False

        gitlab.faults.append(Fault(renamed, faults.forbidden()))
        report = run_sync(gitlab, store, mapping, tokens=tokens).report
    assert kept["path"] == "service"
    assert (held(store), report.exit_code) == (before, 0)


# Files that cannot be read

UNREAD: dict[str, str | bytes] = {
    "too large": "[" + "1," * 600_000 + "1]",
    "no text": b'[{"name": "a"}, {"name": "\xff"}]',
    "no JSON": '[{"name": "a"}, {"name": "b"',
    "a pointer": "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
}
FILES: dict[str, Any] = {
    "items": {
        "selector": {"files": {"path": "**/team.json"}},
        "port": {"itemsToParse": "[.file.content[]?]"},
        "identifier": ".item.name",
    },
    "a selector": {
        "selector": {"files": {"path": "**/team.json"}},
        "query": '(.file.content | type) == "array" and (.file.content[0].name | length) == 1',
        "identifier": '.file.path | gsub("/"; "-")',
    },
    "items of an included file": {
        "kind": "project",
        "selector": {"includedFiles": ["one/team.json"]},
        "port": {"itemsToParse": '[(.__includedFiles["one/team.json"] // "[]") | (try fromjson catch [])[]?]'},
        "identifier": ".item.name",
    },
}


@pytest.mark.parametrize("text", UNREAD)
@pytest.mark.parametrize("way", FILES)
def test_entities_of_a_file_that_cannot_be_read_stay_and_those_of_others_go_on(
    company: Any, way: str, text: str
) -> None:
    gitlab, world, app = company
    world.set_file(app, "one/team.json", json.dumps([{"name": name} for name in "abc"]))
    world.set_file(app, "two/team.json", json.dumps([{"name": name} for name in "de"]))
    mapping = mapping_of(resource(**{"kind": "file", **FILES[way]}), **FREE)
    store = port_with(blueprint("thing"))
    assert run_sync(gitlab, store, mapping).report.exit_code == 0
    before = held(store)
    world.set_file(app, "one/team.json", UNREAD[text])
    world.set_file(app, "two/team.json", json.dumps([{"name": name} for name in "xyz"]))
    report = run_sync(gitlab, store, mapping).report
    if "included" in way and text in ("no JSON", "a pointer"):
        return  # a text that can be read: what the expression makes of it is the mapping's
    assert before <= held(store)
    assert report.exit_code == 1
    assert [problem.warning for problem in report.problems if "team.json" in problem.why] == [False]
    if way == "items":
        assert held(store) == before | {"x", "y", "z"}


def test_a_file_that_is_only_shown_may_be_unreadable(company: Any) -> None:
    gitlab, world, app = company
    for name, content in UNREAD.items():
        world.set_file(app, f"{name}/team.json", content)
    wanted = resource(
        "file",
        selector={"files": {"path": "**/team.json"}},
        identifier='.file.path | gsub("[^a-z]"; "-")',
        properties={"text": ".file.content | tostring | .[0:20]"},
    )
    store = port_with(blueprint("thing", text="string"))
    report = run_sync(gitlab, store, mapping_of(wanted)).report
    assert (report.exit_code, len(held(store))) == (0, len(UNREAD))


@pytest.mark.parametrize("kind", ["skill", "plugin"])
@pytest.mark.parametrize("text", ["too large", "no text", "no JSON"])
def test_skills_and_plugins_that_cannot_be_read_stay(company: Any, kind: str, text: str) -> None:
    gitlab, world, app = company
    other = world.add_project(world.group("acme"), "other")
    path = "skills/go/SKILL.md" if kind == "skill" else ".claude-plugin/plugin.json"
    content = "---\nname: go\n---\nGo.\n" if kind == "skill" else '{"name": "go"}'
    for project in (app, other):
        world.set_file(project, path, content)
    mapping = mapping_of(resource(kind, identifier=f'"\\(.repo.path)-\\(.{kind}.name)"'), **FREE)
    store = port_with(blueprint("thing"))
    assert run_sync(gitlab, store, mapping).report.exit_code == 0
    before = held(store)
    assert before == {"app-go", "other-go"}
    broken = "---\nname: *go\n---\nGo.\n" if (kind, text) == ("skill", "no JSON") else UNREAD[text]
    world.set_file(app, path, broken)
    report = run_sync(gitlab, store, mapping).report
    assert before <= held(store)
    assert report.exit_code == 1


# Bounds


def test_a_page_of_long_issues_is_read_in_pages_of_fewer(company: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gitlab, world, app = company
    for number in range(90):
        world.add_issue(app, f"Issue {number}", description=f"{number} " * 10_000)
    monkeypatch.setattr(answer, "MAX_BODY_BYTES", 1024 * 1024)
    store = port_with(blueprint("thing"))
    for _ in range(2):
        report = run_sync(gitlab, store, mapping_of(resource("issue"))).report
        assert (report.exit_code, len(held(store))) == (0, 90)


def test_a_page_that_would_fill_the_memory_is_a_problem_of_its_list(company: Any) -> None:
    gitlab, world, app = company
    world.add_issue(app, "One")
    store = port_with(blueprint("thing"), blueprint("issue"))
    mapping = mapping_of(resource("project"), resource("issue", "issue"), **FREE)
    assert run_sync(gitlab, store, mapping).report.exit_code == 0
    before = store.snapshot()
    body = b"[" + b"{}," * (answer.MAX_VALUES + 1) + b"{}]"
    gitlab.faults.append(Fault("/issues$", faults.Reply(200, body, (("X-Next-Page", ""),))))
    report = run_sync(gitlab, store, mapping).report
    (problem,) = report.problems
    assert (report.exit_code, problem.kind, problem.why) == (1, "issue", "an answer held more than 1,000,000 values")
    assert store.snapshot() == before


@pytest.mark.parametrize("number", [2**53 + 1, 2**63, 2**64 + 1, 10**30, -(2**70)])
def test_ids_of_any_size_are_no_bug(company: Any, number: int) -> None:
    gitlab, world, app = company
    world.add_issue(app, "One")
    rows = [{"id": number, "iid": 1, "title": "One", "project_id": app["id"]}]
    gitlab.faults.append(Fault("/issues$", faults.reply_json(200, rows, ("X-Next-Page", ""))))
    store = port_with(blueprint("thing"), blueprint("issue"))
    report = run_sync(gitlab, store, mapping_of(resource("project"), resource("issue", "issue"))).report
    assert report.exit_code in (0, 1)
    assert held(store)


@pytest.mark.parametrize("header", ["X-Total", "X-Total-Pages", "X-Next-Page"])
@pytest.mark.parametrize("path", ["/issues$", "^/groups$", "^/projects$"])
def test_counts_of_thousands_of_digits_are_no_bug(company: Any, path: str, header: str) -> None:
    gitlab, world, app = company
    world.add_issue(app, "One")
    gitlab.proxy = lambda request, headers: (
        [(name, value) for name, value in headers if name != header] + [(header, "9" * 5000)]
        if re.search(path, request.path)
        else headers
    )
    store = port_with(blueprint("thing"), blueprint("issue"))
    mapping = mapping_of(resource("project"), resource("issue", "issue"))
    if path == "^/groups$":
        with pytest.raises(GitLabUnavailable) as refused:
            run_sync(gitlab, store, mapping)
        assert all(len(str(fault)) < 500 for fault in refused.value.faults)
        return
    report = run_sync(gitlab, store, mapping).report
    # Pages of projects are not counted.
    assert report.exit_code == (0 if path == "^/projects$" else 1)
    assert all(len(problem.why) < 500 for problem in report.problems)


def test_a_timeout_that_the_user_set_counts_for_the_first_answer_too(
    company: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gitlab, _, _ = company
    monkeypatch.setattr(http, "FIRST_TIMEOUT", (3.0, 0.2))
    mapping = mapping_of(resource("project"))
    gitlab.faults.append(Fault("^/user$", faults.Slow(0.5)))
    patient = run_sync(gitlab, port_with(blueprint("thing")), mapping, OCEAN__CLIENT_TIMEOUT="20")
    assert patient.report.exit_code == 0
    with pytest.raises(GitLabUnavailable):
        run_sync(gitlab, port_with(blueprint("thing")), mapping)
