"""The hooks that are made: where, with which events and secrets, known again, mended and removed, and nothing else."""

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from conftest import Bench
from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.errors import GitLabUnavailable, UsageError
from gitlab_port_export.base.text import Redactor
from gitlab_port_export.commands.check import check
from gitlab_port_export.commands.hooks import run_hooks
from gitlab_port_export.demo.gitlab import Fault, GitLabServer, faults, gitlab_server
from gitlab_port_export.demo.gitlab_hooks import Hook, Watch
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.port_webhooks import Unknown
from gitlab_port_export.demo.world import DEVELOPER, MAINTAINER, OWNER, Row, World
from gitlab_port_export.live.provision import HooksReport
from gitlab_port_export.live.wish import load_wish
from gitlab_port_export.settings.load import load_settings
from testbed.harness import NoWait, acme, environ_for, run_sync

TOKEN = "token-of-reader"
CI = {"to": "ci", "url": "https://ci.example.com/start?token={token}"}
VARIABLES = {"OCEAN__EXPORT__HOOKS_URL_VARIABLES": '{"token": "start-secret"}'}


@dataclass
class Bed:
    world: World
    reader: Row
    group: Row
    gitlab: GitLabServer
    port: PortServer
    environ: dict[str, str] = field(default_factory=dict)

    def run(self, command: Any = "apply", *, clock: Clock | None = None, **wish: Any) -> HooksReport:
        environ = environ_for(self.gitlab, self.port, None, "gitlab-v2") | self.environ
        settings = load_settings(environ, dotenv=None)
        wanted = load_wish(environ, settings, **wish)
        return run_hooks(command, wanted, settings, clock or NoWait(), Redactor(()))

    def hooks(self) -> list[Hook]:
        return list(self.gitlab.hooks.held.values())

    def flags(self, hook: Hook) -> set[str]:
        return {name for name, value in hook.shown.items() if name.endswith("_events") and value}


@contextmanager
def stand_ins(role: int = OWNER, scopes: tuple[str, ...] = ("api",)) -> Iterator[Bed]:
    world, reader, group = acme(TOKEN, role)
    world.tokens[TOKEN].scopes = scopes
    with gitlab_server(world) as gitlab, port_server(PortStore.default()) as port:
        yield Bed(world, reader, group, gitlab, port)


@pytest.fixture
def owner() -> Iterator[Bed]:
    with stand_ins() as found:
        found.world.add_project(found.world.add_group("below", found.group), "web")
        yield found


def states(report: HooksReport) -> list[tuple[str, str]]:
    return [(done.step.action, done.state) for done in report.steps]


# --- what is made


def test_each_top_group_gets_one_hook_and_port_a_webhook(owner: Bed) -> None:
    planned = owner.run("plan")
    assert planned.changes
    assert owner.hooks() == []
    assert owner.port.store.webhooks.held == {}
    report = owner.run()
    (hook,) = owner.hooks()
    (webhook,) = owner.port.store.webhooks.held.values()
    assert (hook.level, hook.place, hook.shown["url"]) == ("group", owner.group["id"], webhook["url"])
    assert owner.flags(hook) == {"merge_requests_events", "issues_events", "pipeline_events"}
    assert hook.token == webhook["security"]["secret"]
    assert webhook["security"]["signatureHeaderName"] == "x-gitlab-token"
    assert (report.exit_code, states(report)) == (0, [("create", "done")])


def test_applying_again_changes_nothing(owner: Bed) -> None:
    owner.run()
    owner.gitlab.requests.clear()
    owner.port.requests.clear()
    report = owner.run()
    assert [request.method for request in owner.gitlab.requests if request.method != "GET"] == []
    assert owner.port.calls("(POST|PATCH|PUT|DELETE) /v1/webhooks") == []
    assert states(report) == [("unchanged", "done")]
    assert owner.run("plan").exit_code == 0
    assert not owner.run("plan").changes


def test_what_was_changed_by_hand_is_put_right(owner: Bed) -> None:
    owner.run()
    (hook,) = owner.hooks()
    hook.shown |= {"push_events": True, "issues_events": False, "enable_ssl_verification": False}
    (webhook,) = owner.port.store.webhooks.held.values()
    webhook["enabled"] = False
    planned = owner.run("plan")
    assert set(planned.steps[0].step.why) == {"push_events", "issues_events", "enable_ssl_verification"}
    assert planned.port is not None
    assert planned.port.why == ("enabled",)
    owner.run()
    assert hook.shown["enable_ssl_verification"]
    assert owner.flags(hook) == {"merge_requests_events", "issues_events", "pipeline_events"}
    assert next(iter(owner.port.store.webhooks.held.values()))["enabled"]


def test_a_new_secret_reaches_both_sides(owner: Bed) -> None:
    owner.run()
    owner.environ["OCEAN__EXPORT__HOOKS_SECRET"] = "a-new-secret"
    report = owner.run()
    (hook,) = owner.hooks()
    (webhook,) = owner.port.store.webhooks.held.values()
    assert (hook.token, webhook["security"]["secret"]) == ("a-new-secret", "a-new-secret")
    assert report.steps[0].step.why == ("secrets",)


def test_the_token_is_sent_again_when_the_address_changes(owner: Bed) -> None:
    owner.environ |= VARIABLES
    owner.run(**CI)
    (hook,) = owner.hooks()
    before = hook.token
    owner.run(to="ci", url="https://ci.example.com/other?token={token}")
    assert owner.hooks() == [hook]
    assert hook.shown["url"] == "https://ci.example.com/other?token={token}"
    assert (hook.token, hook.variables) == (before, {"token": "start-secret"})


def test_hooks_of_others_are_left_alone(owner: Bed) -> None:
    owner.run()
    (ours,) = owner.hooks()
    other = Hook(900, "group", owner.group["id"], {"url": ours.shown["url"], "name": "somebody's", "push_events": True})
    owner.gitlab.hooks.held[other.id] = other
    before = dict(other.shown)
    owner.run()
    report = owner.run("remove")
    assert owner.hooks() == [other]
    assert other.shown == before
    assert owner.port.store.webhooks.held == {}
    assert (report.exit_code, states(report)) == (0, [("delete", "done")])


def test_an_older_gitlab_without_names_is_known_again_by_the_address(owner: Bed) -> None:
    owner.gitlab.hooks.version = (16, 0)
    owner.run()
    assert states(owner.run()) == [("unchanged", "done")]
    owner.run("remove")
    assert owner.hooks() == []


def test_a_hook_that_is_there_twice_or_below_goes(owner: Bed) -> None:
    owner.run()
    (ours,) = owner.hooks()
    below = next(group for group in owner.world.groups.values() if group["parent_id"])
    for number, place in ((800, owner.group["id"]), (801, below["id"])):
        owner.gitlab.hooks.held[number] = Hook(number, "group", place, dict(ours.shown), ours.token)
    owner.run()
    assert owner.hooks() == [ours]


def test_what_gitlab_does_not_keep_is_told(owner: Bed) -> None:
    owner.environ |= VARIABLES
    report = owner.run(**CI)
    assert report.steps[0].stuck == ("project_events",)
    assert report.exit_code == 1
    owner.gitlab.hooks.ignored = frozenset()
    assert owner.run(**CI).exit_code == 0


def test_what_an_older_gitlab_lacks_is_told(owner: Bed) -> None:
    owner.environ["OCEAN__EXPORT__HOOKS_HEADERS"] = '{"Authorization": "Bearer abcdef"}'
    owner.gitlab.hooks.version = (16, 0)
    report = owner.run(to="ci", url="https://ci.example.com")
    assert report.steps[0].stuck == ("project_events", "custom_headers")


def test_events_are_told_apart_only_where_gitlab_marks_them(owner: Bed) -> None:
    owner.run()
    assert security(owner)["requestIdentifierPath"] == '.headers."idempotency-key"'
    older = faults.Reply(200, b'{"version": "17.3.2-ee"}')
    owner.gitlab.faults.append(Fault("^/version$", older))
    owner.gitlab.hooks.version = (17, 3)
    owner.port.store.webhooks.unknown = Unknown(drops_unmarked=True)
    owner.run()
    assert security(owner)["requestIdentifierPath"] is None
    assert owner.run().changes is False
    run_sync(owner.gitlab, owner.port)
    watch = Watch(owner.gitlab.hooks, owner.world, owner.reader)
    made = [owner.world.add_issue(next(iter(owner.world.projects.values())), name) for name in ("one", "two")]
    watch.fire()
    assert owner.port.store.identifiers("gitlabIssue") == {str(issue["id"]) for issue in made}


def security(bed: Bed) -> dict[str, Any]:
    (webhook,) = bed.port.store.webhooks.held.values()
    found: dict[str, Any] = webhook["security"]
    return found


def test_removing_takes_no_mapping(owner: Bed) -> None:
    owner.run()
    owner.port.store.integrations["my-gitlab-v2-integration"] = {
        "installationId": "my-gitlab-v2-integration",
        "installationAppType": "gitlab-v2",
        "config": {"resources": "broken"},
    }
    with pytest.raises(UsageError):
        owner.run("plan")
    assert owner.run("remove").exit_code == 0
    assert owner.hooks() == []


def test_a_hook_of_ocean_s_is_named_and_left(owner: Bed) -> None:
    other = Hook(7, "group", owner.group["id"], {"url": "https://ocean.example.com/integration/webhook"})
    owner.gitlab.hooks.held[7] = other
    assert "Ocean's (hook 7)" in owner.run().notes[0]
    owner.run("remove")
    assert owner.hooks() == [other]


# --- patterns of the token mapping


def patterned(*patterns: str) -> dict[str, str]:
    return {"OCEAN__INTEGRATION__CONFIG__TOKEN_MAPPING": json.dumps({TOKEN: patterns})}


def test_only_groups_that_are_meant_as_a_whole_get_hooks(owner: Bed) -> None:
    web = owner.world.add_project(owner.group, "web-1")
    owner.world.add_project(owner.group, "other")
    owner.environ |= patterned("acme/below/**", "acme/web-*")
    owner.run(**{})
    below = owner.world.group("acme/below")
    assert {(hook.level, hook.place) for hook in owner.hooks()} == {("group", below["id"]), ("project", web["id"])}


# --- rights and plans


def test_without_group_hooks_each_project_gets_one(owner: Bed) -> None:
    owner.gitlab.hooks.plan = "free"
    report = owner.run()
    assert {(hook.level, hook.place) for hook in owner.hooks()} == {("project", id) for id in owner.world.projects}
    assert report.exit_code == 0
    assert states(owner.run()) == [("unchanged", "done")]
    owner.run("remove")
    assert owner.hooks() == []


def test_personal_projects_get_hooks_of_their_own(owner: Bed) -> None:
    mine = owner.world.add_project(owner.reader, "mine")
    owner.run()
    assert ("project", mine["id"]) in {(hook.level, hook.place) for hook in owner.hooks()}


def test_a_group_without_an_owner_is_told() -> None:
    with stand_ins(DEVELOPER) as found:
        report = found.run()
        assert [gap.where for gap in report.gaps] == ["group acme"]
        assert "Owner" in report.gaps[0].hint
        assert report.exit_code == 1


def test_where_no_hook_can_be_made_it_is_told() -> None:
    with stand_ins() as found:
        found.world.remove_member(found.group, found.reader)
        project = found.world.add_project(found.group, "web")
        found.world.add_member(project, found.reader, MAINTAINER)
        report = found.run()
        assert report.exit_code == 1
        assert "--level project" in report.gaps[0].hint
        assert found.run(projects=True).exit_code == 0


def test_a_deadline_is_told() -> None:
    with stand_ins() as found:
        clock = NoWait()
        found.gitlab.latency = lambda rows: clock.stop() or 0.0  # type: ignore[func-returns-value]  # to stop it now
        with pytest.raises(GitLabUnavailable, match="deadline"):
            found.run(clock=clock)


def test_a_gitlab_that_does_not_list_groups_is_told(owner: Bed) -> None:
    for system in ("false", "true"):
        owner.environ["OCEAN__INTEGRATION__CONFIG__USE_SYSTEM_HOOK"] = system
        owner.gitlab.faults.append(Fault("^/groups$", faults.insufficient_scope()))
        with pytest.raises(GitLabUnavailable):
            owner.run()


def test_a_maintainer_can_have_project_hooks() -> None:
    with stand_ins(MAINTAINER) as found:
        project = found.world.add_project(found.group, "web")
        report = found.run(projects=True)
        assert [(hook.level, hook.place) for hook in found.hooks()] == [("project", project["id"])]
        assert report.exit_code == 0


def test_a_token_that_may_only_read_is_told_what_it_lacks() -> None:
    with stand_ins(scopes=("read_api",)) as found:
        report = found.run()
        assert states(report) == [("create", "failed")]
        assert "scope api" in report.steps[0].hint
        found.world.add_token("token-for-hooks", found.reader, ("api",))
        found.environ["OCEAN__EXPORT__HOOKS_TOKEN"] = "token-for-hooks"
        found.environ["OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN"] = TOKEN
        assert found.run().exit_code == 0


def test_credentials_that_may_not_see_webhooks_change_nothing(owner: Bed) -> None:
    owner.port.store.webhooks.readable = False
    owner.gitlab.requests.clear()
    report = owner.run()
    assert {request.method for request in owner.gitlab.requests} == {"GET"}
    assert report.port is not None
    assert "moderator" in report.port.why[0]
    assert report.exit_code == 1
    assert owner.hooks() == []


# --- system hook


def test_an_administrator_gets_one_system_hook(owner: Bed) -> None:
    owner.environ["OCEAN__INTEGRATION__CONFIG__USE_SYSTEM_HOOK"] = "true"
    owner.world.tokens[TOKEN].admin = True
    report = owner.run()
    (hook,) = owner.hooks()
    assert (hook.level, owner.flags(hook)) == ("system", {"merge_requests_events"})
    assert {one.kind for one in report.fields if one.state != "sync"} == {"merge-request"}
    owner.run("remove")
    assert owner.hooks() == []


def test_the_hooks_of_groups_go_when_there_is_one_for_the_instance_and_come_back(owner: Bed) -> None:
    owner.world.tokens[TOKEN].admin = True
    owner.run()
    for system, level in (("true", "system"), ("false", "group")):
        owner.environ["OCEAN__INTEGRATION__CONFIG__USE_SYSTEM_HOOK"] = system
        assert states(owner.run()) == [("create", "done"), ("delete", "done")]
        assert [hook.level for hook in owner.hooks()] == [level]


LEVELS: dict[str, tuple[dict[str, Any], str]] = {
    "group": ({}, "false"),
    "project": ({"projects": True}, "false"),
    "system": ({}, "true"),
}


@pytest.mark.parametrize(("before", "after"), [*itertools.permutations(LEVELS, 2)])
def test_hooks_of_another_level_are_named_by_status_and_removed(owner: Bed, before: str, after: str) -> None:
    owner.world.add_project(owner.group, "other")
    owner.world.tokens[TOKEN].admin = True

    def run(level: str, command: str = "apply") -> HooksReport:
        wish, system = LEVELS[level]
        return owner.run(command, **wish) if system == "false" else owner.run(command)

    def choose(level: str) -> None:
        owner.environ["OCEAN__INTEGRATION__CONFIG__USE_SYSTEM_HOOK"] = LEVELS[level][1]

    choose(before)
    assert run(before).exit_code == 0
    places = {hook.place for hook in owner.hooks()}
    choose(after)
    told = run(after, "status")
    assert {done.step.place.id for done in told.steps if done.step.action == "delete"} == places
    assert told.exit_code == 1
    assert run(after).exit_code == 0
    assert {hook.level for hook in owner.hooks()} == {after}
    assert run(after, "status").exit_code == 0
    # Removing takes no level.
    choose("group")
    owner.run("remove")
    assert owner.hooks() == []


def test_a_place_that_two_tokens_show_is_one_place(owner: Bed) -> None:
    owner.world.add_token("token-of-reader-2", owner.reader, ("api",))
    # The first token sees the project too, and is meant for another one.
    tokens = {TOKEN: ["elsewhere/**"], "token-of-reader-2": ["**"]}
    owner.environ["OCEAN__INTEGRATION__CONFIG__TOKEN_MAPPING"] = json.dumps(tokens)
    for _ in range(2):
        owner.run(projects=True)
        assert [hook.level for hook in owner.hooks()] == ["project"]
    owner.run()
    assert [hook.level for hook in owner.hooks()] == ["group"]


def test_hooks_of_projects_stay_where_their_group_can_have_none(owner: Bed) -> None:
    other = owner.world.add_group("zoo")
    owner.world.add_member(other, owner.reader, OWNER)
    owner.run(projects=True)
    (hook,) = owner.hooks()
    owner.gitlab.faults.append(Fault(f"^/groups/{owner.group['id']}/hooks$", faults.insufficient_scope()))
    report = owner.run()
    assert [(one.level, one.place) for one in owner.hooks()] == [("project", hook.place), ("group", other["id"])]
    assert [gap.group for gap in report.gaps] == ["acme"]


def test_a_hook_stays_until_there_is_another_one(owner: Bed) -> None:
    owner.world.tokens[TOKEN].admin = True
    owner.run()
    owner.environ["OCEAN__INTEGRATION__CONFIG__USE_SYSTEM_HOOK"] = "true"
    refused = Fault(lambda request: request.method == "POST" and request.path == "/hooks", faults.forbidden())
    owner.gitlab.faults.append(refused)
    assert states(owner.run()) == [("create", "failed"), ("delete", "failed")]
    assert [hook.level for hook in owner.hooks()] == ["group"]


def test_a_system_hook_tells_nothing_of_foreign_projects(owner: Bed) -> None:
    owner.environ["OCEAN__INTEGRATION__CONFIG__USE_SYSTEM_HOOK"] = "true"
    owner.world.tokens[TOKEN].admin = True
    owner.run()
    run_sync(owner.gitlab, owner.port)
    watch = Watch(owner.gitlab.hooks, owner.world, owner.reader)
    foreign = owner.world.add_merge_request(owner.world.add_project(owner.world.add_group("acme-2"), "x"), "foreign")
    own = owner.world.add_merge_request(next(iter(owner.world.projects.values())), "own")
    watch.fire()
    assert owner.port.store.identifiers("gitlabMergeRequest") == {str(own["id"])} - {str(foreign["id"])}


def test_a_system_hook_that_cannot_be_changed_is_made_anew(owner: Bed) -> None:
    owner.environ["OCEAN__INTEGRATION__CONFIG__USE_SYSTEM_HOOK"] = "true"
    owner.world.tokens[TOKEN].admin = True
    owner.gitlab.hooks.version = (16, 0)
    owner.run()
    (before,) = owner.hooks()
    before.shown["push_events"] = True
    assert owner.run().exit_code == 0
    (after,) = owner.hooks()
    assert (after.id != before.id, owner.flags(after)) == (True, {"merge_requests_events"})


def test_who_is_no_administrator_is_told_what_to_enter(owner: Bed) -> None:
    owner.environ["OCEAN__INTEGRATION__CONFIG__USE_SYSTEM_HOOK"] = "true"
    report = owner.run()
    (webhook,) = owner.port.store.webhooks.held.values()
    said = "\n".join(report.by_hand)
    assert webhook["url"] in said
    assert "Merge request events" in said
    assert webhook["security"]["secret"] not in said
    assert report.exit_code == 1


# --- TOKEN_GROUP_HOOKS_OVERRIDE_MAPPING


def overriding(value: Any) -> dict[str, str]:
    return {"OCEAN__INTEGRATION__CONFIG__TOKEN_GROUP_HOOKS_OVERRIDE_MAPPING": json.dumps(value)}


@pytest.mark.parametrize("deep", [True, False])
def test_the_named_groups_get_the_named_events(owner: Bed, deep: bool) -> None:
    groups = {"acme/below": {"events": ["merge_requests_events", "push_events"]}}
    owner.environ |= overriding({TOKEN: {"groups": groups} if deep else groups})
    report = owner.run()
    (hook,) = owner.hooks()
    assert hook.place == owner.world.group("acme/below")["id"]
    # Only what feeds the webhook is asked for.
    assert owner.flags(hook) == {"merge_requests_events"}
    assert {one.kind for one in report.fields if one.state != "sync"} == {"merge-request"}


def test_all_faults_of_the_override_are_told_at_once(owner: Bed) -> None:
    owner.environ |= overriding(
        {
            TOKEN: {
                "groups": {
                    "acme": {"events": ["jobs_events"]},
                    "acme/below": {"events": ["push_events"]},
                    "other": {"event": []},
                }
            },
            "glpat-unknown-secret": {"groups": {}},
        }
    )
    with pytest.raises(UsageError) as caught:
        owner.run()
    said = "\n".join(map(str, caught.value.faults))
    for part in ("'jobs_events' is none of", "acme/below is below acme", "other has no list", "token 2 is not among"):
        assert part in said
    assert "glpat-unknown-secret" not in said
    assert len(caught.value.faults) == 5


def test_ocean_s_addresses_are_answered(owner: Bed) -> None:
    owner.environ |= {"OCEAN__BASE_URL": "https://x.example.com", "OCEAN__INTEGRATION__CONFIG__APP_HOST": "y"}
    report = owner.run("plan")
    assert [note.split()[0] for note in report.notes] == ["OCEAN__INTEGRATION__CONFIG__APP_HOST", "OCEAN__BASE_URL"]


# --- to a CI system


def test_a_hook_for_a_ci_job_shows_no_secret(owner: Bed) -> None:
    owner.environ |= VARIABLES | {"OCEAN__EXPORT__HOOKS_HEADERS": '{"Authorization": "Bearer abcdef"}'}
    owner.gitlab.hooks.ignored = frozenset()
    report = owner.run(**CI)
    (hook,) = owner.hooks()
    assert hook.shown["url"] == CI["url"]
    assert (hook.variables, hook.headers) == ({"token": "start-secret"}, {"Authorization": "Bearer abcdef"})
    assert "start-secret" not in repr(report)
    assert "pipeline_events" not in owner.flags(hook)
    assert {"merge_requests_events", "confidential_issues_events", "push_events"} <= owner.flags(hook)
    assert owner.port.store.webhooks.held == {}


@pytest.mark.parametrize(
    ("wish", "fault"),
    [
        ({"to": "ci"}, "needs --url"),
        ({"to": "ci", "url": "ftp://x"}, "no address|is not an address"),
        ({"to": "ci", "url": "https://x.example.com?token=abcdef"}, "holds a secret"),
        ({"to": "ci", "url": "https://u:p@x.example.com"}, "holds a secret"),
        ({"to": "ci", "url": "https://x.example.com/{key}"}, "has no key"),
        ({"to": "port", "url": "https://x.example.com"}, "Port names the address itself"),
        ({"kinds": ("group",)}, "'group' is none of"),
    ],
)
def test_what_cannot_be_wanted_is_told(owner: Bed, wish: dict[str, Any], fault: str) -> None:
    with pytest.raises(UsageError) as caught:
        owner.run("plan", **wish)
    assert any(part in str(caught.value) for part in fault.split("|"))
    assert "abcdef" not in str(caught.value)


# --- status


def test_a_hook_that_gitlab_disabled_is_found_with_the_reason_and_woken(owner: Bed) -> None:
    owner.run()
    (hook,) = owner.hooks()
    (webhook,) = owner.port.store.webhooks.held.values()
    project = next(iter(owner.world.projects.values()))
    watch = Watch(owner.gitlab.hooks, owner.world, owner.reader)
    key, webhook["webhookKey"] = webhook["webhookKey"], "elsewhere"
    for number in range(5):
        owner.world.add_merge_request(project, f"change {number}")
        watch.fire()
    assert hook.status == "temporarily_disabled"
    assert len(hook.events) == 4
    report = owner.run("status")
    assert (report.states[0].status, report.states[0].failures) == (
        "temporarily_disabled",
        ("merge_request: answered 404",),
    )
    assert report.exit_code == 1
    webhook["webhookKey"] = key
    assert states(owner.run()) == [("wake", "done")]
    assert hook.status == "executable"


def test_check_and_status_tell_of_a_mapping_that_changed(owner: Bed) -> None:
    def found() -> list[tuple[str, str]]:
        settings = load_settings(environ_for(owner.gitlab, owner.port, None, "gitlab-v2") | owner.environ, dotenv=None)
        findings = check(settings, NoWait(), Redactor(()))
        return [(one.level, one.what) for one in findings if one.where.startswith("webhook gpe-")]

    run_sync(owner.gitlab, owner.port)
    assert found() == []
    owner.run(kinds=("job",))
    assert found() == [("ok", "live updates follow this mapping")]
    resources = owner.port.store.integrations["my-gitlab-v2-integration"]["config"]["resources"]
    issue = next(one for one in resources if one["kind"] == "issue")
    issue["port"]["entity"]["mappings"]["title"] = '.title + "!"'
    ((level, what),) = found()
    assert level == "warning"
    assert "another mapping" in what
    report = owner.run("status", kinds=("job",))
    assert report.exit_code == 1
    assert report.port is not None
    assert report.port.why[0] == "the mapping changed"
    owner.run()
    assert found()[0][0] == "ok"
    owner.environ |= patterned("acme/**")
    assert found()[0][0] == "warning"
    owner.port.store.webhooks.readable = False
    assert found() == []


def test_status_tells_of_a_mapping_that_changed_and_a_hook_that_is_missing(owner: Bed) -> None:
    owner.run()
    assert owner.run("status").exit_code == 0
    owner.gitlab.hooks.held.clear()
    next(iter(owner.port.store.webhooks.held.values()))["mappings"] = []
    report = owner.run("status")
    assert report.exit_code == 1
    assert report.port is not None
    assert report.port.why == ("mappings",)
    assert states(report) == [("create", "planned")]
    assert owner.hooks() == []


# --- what Port does is not known in places


EVERY = [
    Unknown("own", True, False, False, 202, False, False),
    Unknown("kept", False, False, True, 401, True, True),
    Unknown("none", True, True, True, 202, True, False),
    Unknown("own", False, True, False, 401, False, True),
    Unknown("none", False, False, True, 202, False, False),
]


@pytest.mark.parametrize("unknown", EVERY, ids=str)
@pytest.mark.parametrize("zone", [0, 2])
def test_events_bring_port_to_what_a_sync_would_write(owner: Bed, unknown: Unknown, zone: int) -> None:
    owner.port.store.webhooks.unknown = unknown
    owner.gitlab.hooks.version = (19, 0)
    run_sync(owner.gitlab, owner.port)
    owner.run(kinds=("job",))
    watch = Watch(owner.gitlab.hooks, owner.world, owner.reader, zone)
    world, project = owner.world, next(iter(owner.world.projects.values()))
    ann = world.add_user("ann")
    request = world.add_merge_request(project, 'It\'s "new"', author=ann, assignees=[ann])
    issue = world.add_issue(project, "closed now", "closed", labels=["a", "b"])
    pipeline = world.add_pipeline(project, "failed", name="nightly")
    job = world.add_job(pipeline, "test", "failed", user=owner.reader)
    # The job comes with its pipeline.
    assert watch.fire() == 3
    world.touch()
    request |= {"state": "merged", "merged_at": request["updated_at"]}
    assert watch.fire() == 1
    live = {name: dict(found) for name, found in owner.port.store.snapshot().items()}
    assert str(job["id"]) in live["gitlabJob"]
    run_sync(owner.gitlab, owner.port)
    synced = owner.port.store.snapshot()
    left = {("gitlabPipeline", "updatedAt")}
    for name, row in (("gitlabMergeRequest", request), ("gitlabIssue", issue), ("gitlabPipeline", pipeline)):
        (title, _, _, properties, relations), after = live[name][str(row["id"])], synced[name][str(row["id"])]
        assert (title, relations) == (after[0], after[4])
        for key, value in after[3].items():
            if (name, key) not in left:
                assert same(properties.get(key), value), (name, key)


@pytest.mark.parametrize("backwards", [True, False])
def test_a_project_that_port_does_not_know_costs_the_relation_alone(owner: Bed, backwards: bool) -> None:
    owner.port.store.webhooks.unknown = Unknown(backwards=backwards)
    run_sync(owner.gitlab, owner.port)
    owner.run()
    watch = Watch(owner.gitlab.hooks, owner.world, owner.reader)
    issue = owner.world.add_issue(owner.world.add_project(owner.group, "new"), "first")
    watch.fire()
    found = owner.port.store.entity("gitlabIssue", str(issue["id"]))
    assert found is not None
    assert (found["title"], found["properties"]["status"], found["relations"]) == ("first", "opened", {})
    assert "acme/new" in owner.run("status").port_failures[0]


def same(live: Any, synced: Any) -> bool:
    """Payloads lack fractions of seconds."""
    is_time = isinstance(synced, str) and synced.endswith("Z") and "." in synced
    return bool(live == (f"{synced.partition('.')[0]}Z" if is_time else synced))


# --- the command


def test_the_command_says_what_it_did_and_shows_no_secret(bench: Bench) -> None:
    for token in bench.world.tokens.values():
        token.scopes = ("api",)
        for group in [group for group in bench.world.groups.values() if not group["parent_id"]]:
            bench.world.add_member(group, token.user, OWNER)
    bench.secrets.extend(["a-secret-of-ours", "start-secret", "Bearer abcdef"])
    given = {"OCEAN__EXPORT__HOOKS_SECRET": "a-secret-of-ours"}
    ran = bench.run("hooks", "plan", "--detailed-exitcode", **given)
    assert "merge-request:\n  identifier: live" in ran.stdout
    assert "properties.updatedAt: left to the sync: .updated_at: payloads do not hold it" in ran.stdout
    assert "28 of 67 fields live, 6 under a condition, 33 left to the sync" in ran.stdout
    assert "webhook in Port: create" in ran.stdout
    assert bench.gitlab.hooks.held == {}
    ran = bench.run("hooks", "apply", "--output", "json", **given)
    document = json.loads(ran.stdout)
    assert {hook["action"] for hook in document["hooks"]} == {"create"}
    assert document["port"]["action"] == "create"
    assert len(bench.gitlab.hooks.held) == len(document["hooks"])
    ran = bench.run("hooks", "remove", **given)
    assert bench.gitlab.hooks.held == {}
    assert "deleted" in ran.stdout
    secrets = {
        "OCEAN__EXPORT__HOOKS_URL_VARIABLES": '{"token": "start-secret"}',
        "OCEAN__EXPORT__HOOKS_HEADERS": '{"Authorization": "Bearer abcdef"}',
    }
    ran = bench.run("hooks", "apply", "--to", "ci", "--url", CI["url"], "--debug", **given, **secrets)
    assert "sends " in ran.stdout
    assert CI["url"] in ran.stdout


def test_wrong_options_end_with_2_and_nothing_is_sent(bench: Bench) -> None:
    ran = bench.run("hooks", "apply", "--to", "ci", "--kind", "nothing")
    assert ran.returncode == 2
    assert "--kind: 'nothing' is none of" in ran.stderr
    assert "needs --url" in ran.stderr
    assert bench.gitlab.requests == []
    assert bench.port.requests == []
