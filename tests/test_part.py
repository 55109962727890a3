"""`--only` and `--kind`: a run reads these alone, writes, and deletes nothing."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gitlab_port_export.base.errors import UsageError
from gitlab_port_export.demo.gitlab import Fault, GitLabServer, gitlab_server
from gitlab_port_export.demo.gitlab_faults import forbidden
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.world import DEVELOPER, GUEST, World
from gitlab_port_export.model import Problem
from gitlab_port_export.report import console, html, junit, markdown, openmetrics
from gitlab_port_export.report import json as as_json
from gitlab_port_export.report.screen import Screen
from gitlab_port_export.report.values import Counts
from testbed.harness import Ran, acme, blueprint, environ_for, mapping_of, port_with, resource, run_command, run_sync

MAPPING = mapping_of(
    resource("group", "group", title=".name"),
    resource("project", "project", title=".name"),
    resource("merge-request", "mr", title=".title"),
    resource("issue", "issue", title=".title"),
)


class Bed:
    """acme/shop/web, acme/shop/app and acme/tools/cli, each with a merge request and an issue."""

    def __init__(self, world: World, gitlab: GitLabServer, port: PortServer) -> None:
        self.world, self.gitlab, self.port = world, gitlab, port

    def sync(self, mapping: Any = MAPPING, **options: Any) -> Ran:
        return run_sync(self.gitlab, self.port, mapping, **options)

    def titles(self, name: str) -> set[str]:
        store = self.port.store
        return {str((store.entity(name, one) or {})["title"]) for one in store.identifiers(name)}


@pytest.fixture
def bed() -> Iterator[Bed]:
    world, _, group = acme()
    shop, tools = world.add_group("shop", group), world.add_group("tools", group)
    for owner, name in ((shop, "web"), (shop, "app"), (tools, "cli")):
        project = world.add_project(owner, name)
        world.add_merge_request(project, f"MR of {name}")
        world.add_issue(project, f"Issue of {name}")
    blueprints = (blueprint(name) for name in ("group", "project", "mr", "issue", "member"))
    with gitlab_server(world) as gitlab, port_server(port_with(*blueprints)) as port:
        yield Bed(world, gitlab, port)


@pytest.mark.parametrize(
    ("paths", "groups", "projects"),
    [
        (["acme/shop"], {"shop"}, {"web", "app"}),
        (["acme/shop/web"], set(), {"web"}),
        (["/acme/shop/web/", "acme/tools"], {"tools"}, {"web", "cli"}),
        (["acme/*/cli"], set(), {"cli"}),
        (["**/web"], set(), {"web"}),
        (["acme"], {"acme", "shop", "tools"}, {"web", "app", "cli"}),
    ],
)
def test_only_what_is_at_and_below_the_paths_is_read(
    bed: Bed, paths: list[str], groups: set[str], projects: set[str]
) -> None:
    report = bed.sync(only=paths).report
    assert report.exit_code == 0
    assert bed.titles("group") == groups
    assert bed.titles("project") == projects
    assert bed.titles("mr") == {f"MR of {name}" for name in projects}
    assert bed.titles("issue") == {f"Issue of {name}" for name in projects}


@pytest.mark.parametrize("type", ["gitlab", "gitlab-v2"])
def test_a_kind_alone_is_read(bed: Bed, type: str) -> None:
    report = bed.sync(kinds=["issue"], type=type).report
    assert (report.exit_code, set(report.kinds)) == (0, {"issue"})
    assert len(bed.titles("issue")) == 3
    report = bed.sync(kinds=["merge-request", "issue"], only=["acme/tools"], type=type).report
    assert report.part == "kinds merge-request, issue of acme/tools"
    assert report.blueprints == {"issue": Counts(unchanged=1), "mr": Counts(created=1)}


def test_nothing_is_deleted_and_the_owned_entities_are_not_listed(bed: Bed) -> None:
    bed.sync()
    bed.world.delete_project(bed.world.project("acme/shop/web"))
    before = len(bed.port.requests)
    report = bed.sync(only=["acme/shop"]).report
    assert (report.exit_code, report.held) == (0, ())
    assert "web" in bed.titles("project")
    assert report.left[0] == "deletions: a run that reads a part deletes nothing"
    assert not any("datasource-entities" in str(one) for one in bed.port.requests[before:])
    assert bed.sync().report.blueprints["project"].deleted == 1


def test_a_plan_of_a_part_writes_nothing(bed: Bed) -> None:
    report = bed.sync(command="plan", only=["acme/tools"], detailed=True).report
    assert (report.exit_code, report.blueprints["project"]) == (10, Counts(created=1))
    assert bed.titles("project") == set()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"only": ["acme/shp"]}, "--only: 'acme/shp': no token lists such a group or project"),
        ({"only": ["acme/shop", "other/*"]}, "--only: 'other/*': no token lists such a group or project"),
        ({"kinds": ["isue"]}, "--kind: 'isue': the mapping has no such kind"),
        ({"kinds": ["pipeline"]}, "--kind: 'pipeline': the mapping has no such kind"),
    ],
)
def test_what_is_not_known_ends_with_2_and_the_nearest_name_before_anything_is_sent(
    bed: Bed, options: dict[str, Any], why: str
) -> None:
    bed.sync()
    states = [one for one in bed.port.requests if one.method in ("PATCH", "PUT")]
    with pytest.raises(UsageError) as raised:
        bed.sync(**options)
    assert list(map(str, raised.value.faults)) == [why]
    assert raised.value.exit_code == 2
    assert [one for one in bed.port.requests if one.method in ("PATCH", "PUT")] == states
    hints = {"acme/shp": "did you mean 'acme/shop'?", "isue": "did you mean 'issue'?"}
    assert raised.value.hint == hints.get(next(iter(options.values()))[0], "")


def test_a_person_in_several_groups_keeps_the_values_of_the_group_that_wins(bed: Bed) -> None:
    bob = bed.world.add_user("bob")
    for path, role in (("acme/shop", GUEST), ("acme/tools", DEVELOPER)):
        bed.world.add_member(bed.world.group(path), bob, role)
    mapping = mapping_of(resource("member", "member", identifier=".username", title=".access_level | tostring"))
    bed.sync(mapping)
    assert bed.titles("member") == {"50", "10"}
    report = bed.sync(mapping, only=["acme/tools"]).report
    assert bed.titles("member") == {"50", "10"}
    assert report.left[1:] == ("member: 1 entity that other rows may give as well, which only a full run compares",)
    # All groups are read, so that the winner is known.
    bed.world.remove_member(bed.world.group("acme/shop"), bob)
    assert bed.sync(mapping, kinds=["member"]).report.blueprints["member"].updated == 1


def test_an_account_keeps_what_a_list_tells_that_is_not_read(bed: Bed) -> None:
    mapping = mapping_of(
        resource("user", "member", identifier=".username", title=".email", selector={"source": "members"})
    )  # fmt: skip
    ann = bed.world.add_user("ann")
    for path, email in (("acme/shop", "ann@example.com"), ("acme/tools", None)):
        bed.world.add_member(bed.world.group(path), ann, DEVELOPER)["email"] = email
    bed.sync(mapping)
    assert "ann@example.com" in bed.titles("member")
    bed.sync(mapping, only=["acme/tools"])
    assert "ann@example.com" in bed.titles("member")


def test_every_report_says_that_it_is_of_a_part(bed: Bed, capsys: pytest.CaptureFixture[str]) -> None:
    report = bed.sync(only=["acme/tools"]).report
    console.render(report, Screen.of(sys.stdout, {}).console)
    shown = capsys.readouterr().out
    assert "in step" not in shown
    assert shown.splitlines()[0].startswith("sync of my-gitlab-v2-integration, only acme/tools")
    assert shown.splitlines()[-1].startswith("exit 0: done for a part: acme/tools")
    for text in (shown, markdown.render(report), html.render(report), junit.render(report), as_json.render(report)):
        assert "acme/tools" in text
        assert "a run that reads a part deletes nothing" in text
        assert "in step" not in text
    metrics = openmetrics.render(report)
    assert "gitlab_port_export_partial{" in metrics
    assert "last_success" not in metrics


def test_a_failed_read_of_a_part_is_a_problem_all_the_same(bed: Bed) -> None:
    bed.gitlab.faults.append(Fault(r"/projects/\d+/issues", forbidden()))
    report = bed.sync(only=["acme/shop/web"]).report
    assert report.exit_code == 1
    assert [problem.kind for problem in report.problems if isinstance(problem, Problem)] == ["issue"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--event", "missing.json"), "missing.json: cannot be read: No such file or directory"),
        (("--event", "empty.json"), "empty.json: is empty"),
        (("--event", "odd.json"), "odd.json:1: is not JSON"),
        (("--event", "event.json", "--only", "acme"), "--event: names itself what is read"),
        (("--event", "event.json", "--kind", "issue"), "--event: names itself what is read"),
        (("--plan", "plan.json", "--only", "acme"), "--plan: applies a plan and reads nothing"),
        (("--plan", "plan.json", "--event", "event.json"), "--plan: applies a plan and reads nothing"),
    ],
)
def test_what_cannot_go_together_or_be_read_ends_with_2_and_nothing_is_sent(
    bed: Bed, tmp_path: Path, arguments: tuple[str, ...], why: str
) -> None:
    (tmp_path / "empty.json").touch()
    (tmp_path / "odd.json").write_text("{", "utf-8")
    (tmp_path / "event.json").write_text('{"object_kind": "wiki_page"}', "utf-8")
    ran = run_command(["sync", *arguments], environ_for(bed.gitlab, bed.port), tmp_path)
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[0] == f"error: {why}"
    assert bed.port.requests == []


def test_an_event_may_be_given_by_a_variable_and_takes_no_deletion(bed: Bed, tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text('{"object_kind": "wiki_page"}\n{"object_kind": "feature_flag"}', "utf-8")
    environ = environ_for(bed.gitlab, bed.port) | {"OCEAN__EXPORT__EVENT": "event.json"}
    ran = run_command(["sync", "--output", "json"], environ, tmp_path)
    report = json.loads(ran.stdout)
    assert (ran.returncode, report["part"]) == (0, "2 events of GitLab")
    assert report["left"] == [
        "wiki_page: no kind of the mapping is read for it",
        "feature_flag: no kind of the mapping is read for it",
    ]


def test_no_report_replaces_the_file_of_events(bed: Bed, tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_text('{"object_kind": "wiki_page"}', "utf-8")
    arguments = ["sync", "--event", "event.json", "--report-json", "event.json"]
    ran = run_command(arguments, environ_for(bed.gitlab, bed.port), tmp_path)
    assert ran.returncode == 2
    assert file.read_text("utf-8") == '{"object_kind": "wiki_page"}'
