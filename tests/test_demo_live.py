"""The stand-ins of live updates behave as GitLab and Port do: what is fired where, refused, forgotten, disabled."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from gitlab_port_export.demo.gitlab import GitLabServer, gitlab_server
from gitlab_port_export.demo.gitlab_hooks import Watch, fire
from gitlab_port_export.demo.gitlab_payloads import Shapes
from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.port_webhooks import Unknown
from gitlab_port_export.demo.world import DEVELOPER, MAINTAINER, OWNER, Row, World
from testbed.harness import blueprint, port_with, process_environ

TOKENS = {"owner": OWNER, "maintainer": MAINTAINER, "developer": DEVELOPER}


@dataclass
class Bed:
    world: World
    project: Row
    gitlab: GitLabServer
    port: PortServer

    def ask(self, method: str, path: str, token: str = "owner", **more: Any) -> Any:
        headers = {"PRIVATE-TOKEN": f"token-of-{token}"}
        return requests.request(method, f"{self.gitlab.url}/api/v4{path}", headers=headers, timeout=10, **more)

    def made(self, path: str = "/groups/acme/hooks", **body: Any) -> Any:
        answered = self.ask("POST", path, json={"url": f"{self.port.url}/ingest/none", **body})
        assert answered.status_code == 201, answered.text
        return answered.json()

    def of_port(self, method: str, path: str, **more: Any) -> Any:
        answered = requests.post(
            f"{self.port.url}/v1/auth/access_token",
            json={"clientId": "demo-client", "clientSecret": "demo-secret"},
            timeout=10,
        )
        headers = {"Authorization": f"Bearer {answered.json()['accessToken']}"}
        return requests.request(method, f"{self.port.url}/v1{path}", headers=headers, timeout=10, **more)


@pytest.fixture
def bed() -> Iterator[Bed]:
    world = World()
    group = world.add_group("acme")
    for name, level in TOKENS.items():
        user = world.add_user(name)
        world.add_member(group, user, level)
        world.add_token(f"token-of-{name}", user, ("api",))
    project = world.add_project(world.add_group("shop", group), "web")
    things = blueprint("thing", {"parent": "thing"}, size="number", text="string")
    with gitlab_server(world) as gitlab, port_server(port_with(things)) as port:
        yield Bed(world, project, gitlab, port)


# --- GitLab's routes


def test_who_may_manage_hooks(bed: Bed) -> None:
    assert bed.ask("GET", "/groups/acme/hooks", "owner").status_code == 200
    assert bed.ask("GET", "/groups/acme/hooks", "maintainer").status_code == 403
    assert bed.ask("GET", "/projects/acme%2Fshop%2Fweb/hooks", "maintainer").status_code == 200
    assert bed.ask("GET", "/projects/acme%2Fshop%2Fweb/hooks", "developer").status_code == 403
    assert bed.ask("GET", "/hooks", "owner").status_code == 403
    assert bed.ask("GET", "/groups/other/hooks", "owner").status_code == 404
    bed.world.tokens["token-of-owner"].scopes = ("read_api",)
    assert bed.ask("GET", "/groups/acme/hooks").status_code == 200
    refused = bed.ask("POST", "/groups/acme/hooks", json={"url": "https://x.example.com"})
    assert (refused.status_code, refused.json()["error"]) == (403, "insufficient_scope")


def test_without_the_plan_groups_have_no_hooks(bed: Bed) -> None:
    bed.gitlab.hooks.plan = "free"
    assert bed.ask("GET", "/groups/acme/hooks").status_code == 404
    assert bed.ask("GET", "/projects/acme%2Fshop%2Fweb/hooks").status_code == 200


def test_a_hook_is_made_changed_and_deleted_and_shows_no_secret(bed: Bed) -> None:
    secrets = {
        "token": "hush-hush",
        "custom_headers": [{"key": "Authorization", "value": "hush-hush"}],
        "url_variables": [{"key": "name", "value": "hush-hush"}],
    }
    made = bed.made(**secrets, url="https://x.example.com/{name}", name="mine", issues_events=True)
    assert (made["push_events"], made["issues_events"], made["alert_status"]) == (True, True, "executable")
    assert made["custom_headers"] == [{"key": "Authorization"}]
    shown = bed.ask("GET", f"/groups/acme/hooks/{made['id']}")
    assert shown.json() == made
    assert "hush" not in shown.text
    changed = bed.ask("PUT", f"/groups/acme/hooks/{made['id']}", json={"push_events": False})
    assert (changed.status_code, changed.json()["push_events"], changed.json()["name"]) == (200, False, "mine")
    assert bed.gitlab.hooks.held[made["id"]].token == "hush-hush"
    assert bed.ask("GET", "/groups/acme/hooks").headers["X-Total"] == "1"
    assert bed.ask("DELETE", f"/groups/acme/hooks/{made['id']}").status_code == 204
    assert bed.ask("GET", f"/groups/acme/hooks/{made['id']}").status_code == 404


def test_another_address_loses_the_secrets(bed: Bed) -> None:
    made = bed.made(token="hush-hush")
    bed.ask("PUT", f"/groups/acme/hooks/{made['id']}", json={"url": "https://y.example.com"})
    assert bed.gitlab.hooks.held[made["id"]].token == ""


@pytest.mark.parametrize(("url", "status"), [("", 400), ("ftp://x", 422), ("https://x.example.com/{name}", 422)])
def test_an_address_that_is_none_is_refused(bed: Bed, url: str, status: int) -> None:
    assert bed.ask("POST", "/groups/acme/hooks", json={"url": url}).status_code == status


# --- GitLab's deliveries


def test_the_hooks_of_all_groups_above_are_fired(bed: Bed) -> None:
    flags = {"issues_events": True, "push_events": False}
    for path in ("/groups/acme/hooks", "/groups/acme%2Fshop/hooks", "/projects/acme%2Fshop%2Fweb/hooks"):
        bed.made(path, **flags)
    bed.made("/groups/acme/hooks", push_events=True)
    other = bed.world.add_project(bed.world.groups[1], "other")
    shapes, ann = Shapes(bed.world), bed.world.users[1]
    assert fire(bed.gitlab.hooks, bed.world, shapes.issue(bed.world.add_issue(bed.project, "x"), ann)) == 3
    assert fire(bed.gitlab.hooks, bed.world, shapes.issue(bed.world.add_issue(other, "x"), ann)) == 1
    secret = bed.world.add_issue(other, "x", confidential=True)
    assert fire(bed.gitlab.hooks, bed.world, shapes.issue(secret, ann)) == 0


def test_a_system_hook_is_told_of_merge_requests_and_of_members_always(bed: Bed) -> None:
    bed.world.tokens["token-of-owner"].admin = True
    bed.made("/hooks", merge_requests_events=True, push_events=False)
    shapes, ann = Shapes(bed.world), bed.world.users[1]
    group = bed.world.group("acme")
    tried = [
        fire(bed.gitlab.hooks, bed.world, payload)
        for payload in (
            shapes.merge_request(bed.world.add_merge_request(bed.project, "x"), ann),
            shapes.member(group, ann, DEVELOPER),
            shapes.issue(bed.world.add_issue(bed.project, "x"), ann),
            shapes.push(bed.project, ann),
        )
    ]
    assert tried == [1, 1, 0, 0]


def test_a_hook_that_fails_four_times_in_a_row_is_off_and_nothing_is_sent_again(bed: Bed) -> None:
    made = bed.made(issues_events=True)
    watch = Watch(bed.gitlab.hooks, bed.world, bed.world.users[1])
    for number in range(6):
        bed.world.add_issue(bed.project, f"issue {number}")
        assert watch.fire() == (1 if number < 4 else 0)
    shown = bed.ask("GET", f"/groups/acme/hooks/{made['id']}").json()
    assert shown["alert_status"] == "temporarily_disabled"
    failed = bed.ask("GET", f"/groups/acme/hooks/{made['id']}/events?status=client_failure").json()
    assert [event["response_status"] for event in failed] == ["404"] * 4
    assert bed.ask("GET", f"/groups/acme/hooks/{made['id']}/events?status=successful").json() == []


def test_headers_variables_and_templates_are_filled_in(bed: Bed) -> None:
    port = bed.of_port("POST", "/webhooks", json=webhook()).json()["integration"]
    made = bed.made(
        url=port["url"].replace(port["webhookKey"], "{key}"),
        url_variables=[{"key": "key", "value": port["webhookKey"]}],
        custom_webhook_template='{"kind": "{{object_kind}}", "iid": {{object_attributes.iid}}, "no": "{{x.y}}"}',
        issues_events=True,
        token="the-token",
    )
    fire(
        bed.gitlab.hooks, bed.world, Shapes(bed.world).issue(bed.world.add_issue(bed.project, "x"), bed.world.users[1])
    )
    (request,) = bed.port.calls("POST /ingest/")
    assert request.body == {"kind": "issue", "iid": 1, "no": ""}
    assert bed.gitlab.hooks.held[made["id"]].events[0]["response_status"] == "202"
    assert port["webhookKey"] not in bed.ask("GET", f"/groups/acme/hooks/{made['id']}").text


def test_only_what_changed_is_fired(bed: Bed) -> None:
    watch = Watch(bed.gitlab.hooks, bed.world, bed.world.users[1])
    assert watch.payloads() == []
    request = bed.world.add_merge_request(bed.project, "x")
    (payload,) = watch.payloads()
    assert payload["object_attributes"]["action"] == "open"
    request["title"] = "y"
    assert [one["object_attributes"]["action"] for one in watch.payloads()] == ["update"]
    request["state"] = "merged"
    assert [one["object_attributes"]["action"] for one in watch.payloads()] == ["merge"]
    assert watch.payloads() == []


# --- Port's webhooks


def webhook(*items: Row, **changes: Any) -> Row:
    security = {"secret": "the-token", "signatureHeaderName": "x-gitlab-token", "signatureAlgorithm": "plain"}
    return {
        "identifier": "hook",
        "title": "Hook",
        "enabled": True,
        "mappings": [*items],
        "security": security,
    } | changes


def item(filter: str = "true", **entity: Any) -> Row:
    return {"blueprint": "thing", "filter": filter, "entity": {"identifier": ".body.id", **entity}}


def send(bed: Bed, body: Any, **headers: str) -> int:
    (hook,) = bed.port.store.webhooks.held.values()
    given = {"X-Gitlab-Token": "the-token", **headers}
    data = body if isinstance(body, bytes) else json.dumps(body)
    return requests.post(hook["url"], data, headers=given, timeout=10).status_code


@pytest.mark.parametrize(
    "change",
    [
        {"identifier": "x" * 31},
        {"title": "x" * 31},
        {"description": "x" * 201},
        {"other": 1},
        {"security": {"signatureAlgorithm": "md5"}},
        {"mappings": [{"blueprint": "thing"}]},
        {"mappings": [{**item(), "other": 1}]},
        {"mappings": [{**item(), "entity": {"identifier": ".x", "other": ".y"}}]},
    ],
)
def test_a_webhook_that_does_not_fit_the_schema_is_refused(bed: Bed, change: Row) -> None:
    assert bed.of_port("POST", "/webhooks", json=webhook() | change).status_code == 422


def test_a_webhook_is_made_changed_and_deleted(bed: Bed) -> None:
    assert bed.of_port("GET", "/webhooks/hook").status_code == 404
    made = bed.of_port("POST", "/webhooks", json=webhook()).json()["integration"]
    assert bed.of_port("POST", "/webhooks", json=webhook()).status_code == 409
    assert bed.of_port("GET", "/webhooks/hook").json()["integration"] == made
    assert bed.of_port("PATCH", "/webhooks/hook", json={"enabled": False}).json()["integration"]["title"] == "Hook"
    assert bed.of_port("GET", "/webhooks").json()["integrations"][0]["enabled"] is False
    assert bed.of_port("DELETE", "/webhooks/hook").json() == {"ok": True}
    bed.port.store.webhooks.readable = False
    assert bed.of_port("GET", "/webhooks").status_code == 403


def test_what_becomes_of_a_payload(bed: Bed) -> None:
    text = {"text": ".body.t // empty", "size": ".body.n | length"}
    bed.of_port("POST", "/webhooks", json=webhook(item(".body.id != null", title=".body.t", properties=text)))
    assert send(bed, {"id": 7, "t": "hello", "n": "abc"}) == 202
    thing = bed.port.store.entity("thing", "7")
    assert thing is not None
    assert (thing["title"], thing["properties"]) == ("hello", {"text": "hello", "size": 3})
    assert send(bed, {"t": "no id"}) == 202
    assert send(bed, b"no JSON") == 202
    assert bed.port.store.identifiers("thing") == {"7"}


def test_a_wrong_token_a_disabled_webhook_and_a_large_payload_write_nothing(bed: Bed) -> None:
    bed.of_port("POST", "/webhooks", json=webhook(item()))
    assert send(bed, {"id": "a"}, **{"X-Gitlab-Token": "wrong"}) == 202
    bed.port.store.webhooks.unknown = Unknown(wrong_token=401)
    assert send(bed, {"id": "a"}, **{"X-Gitlab-Token": "wrong"}) == 401
    assert send(bed, {"id": "a", "x": "x" * 600_000}) == 413
    bed.of_port("PATCH", "/webhooks/hook", json={"enabled": False})
    assert send(bed, {"id": "a"}) == 202
    assert bed.port.store.identifiers("thing") == set()


def test_repeated_deliveries_are_dropped(bed: Bed) -> None:
    security = webhook()["security"] | {"requestIdentifierPath": '.headers."idempotency-key"'}
    bed.of_port("POST", "/webhooks", json=webhook(item(title=".body.t"), security=security))
    for text, key in (("first", "1"), ("again", "1"), ("second", "2")):
        send(bed, {"id": "a", "t": text}, **{"Idempotency-Key": key})
    assert len(bed.port.store.webhooks.audit) == 2
    for text in ("third", "fourth"):
        send(bed, {"id": "a", "t": text})
    assert len(bed.port.store.webhooks.audit) == 4


def test_refused_items_stand_in_the_audit_log_and_the_others_are_written(bed: Bed) -> None:
    items = item(relations={"parent": ".body.p"}), item(properties={"size": ".body.n"})
    bed.of_port("POST", "/webhooks", json=webhook(*items))
    send(bed, {"id": "a", "p": "nobody", "n": 3})
    assert bed.port.store.identifiers("thing") == {"a"}
    (failure,) = bed.of_port("GET", "/audit-log?webhookId=hook&status=FAILURE").json()["audits"]
    assert "nobody" in failure["message"]


def test_items_of_a_list_give_an_entity_each(bed: Bed) -> None:
    each = {**item(), "itemsToParse": ".body.all", "entity": {"identifier": ".item.id", "title": ".body.t"}}
    bed.of_port("POST", "/webhooks", json=webhook(each))
    send(bed, {"t": "x", "all": [{"id": str(number)} for number in range(600)]})
    assert len(bed.port.store.identifiers("thing")) == 500


@pytest.mark.parametrize(("owner", "expected"), [("own", "port/webhook/hook"), ("kept", "before"), ("none", "")])
def test_who_owns_what_was_written(bed: Bed, owner: Any, expected: str) -> None:
    bed.port.store.webhooks.unknown = Unknown(owner=owner)
    bed.port.store.seed("thing", [{"identifier": "a"}], "before")
    bed.of_port("POST", "/webhooks", json=webhook(item()))
    send(bed, {"id": "a"})
    thing = bed.port.store.entity("thing", "a")
    assert thing is not None
    assert thing["$datasource"] == expected


@pytest.mark.parametrize("clears", [True, False])
def test_null_clears_or_leaves(bed: Bed, clears: bool) -> None:
    bed.port.store.webhooks.unknown = Unknown(null_clears=clears)
    bed.port.store.seed("thing", [{"identifier": "a", "properties": {"text": "old"}}])
    bed.of_port("POST", "/webhooks", json=webhook(item(properties={"text": "null"})))
    send(bed, {"id": "a"})
    thing = bed.port.store.entity("thing", "a")
    assert thing is not None
    assert thing["properties"] == ({} if clears else {"text": "old"})


def test_missing_targets_are_made_where_port_does_so(bed: Bed) -> None:
    bed.port.store.webhooks.unknown = Unknown(creates_targets=True)
    bed.of_port("POST", "/webhooks", json=webhook(item(relations={"parent": ".body.p"})))
    send(bed, {"id": "a", "p": "b"})
    assert bed.port.store.identifiers("thing") == {"a", "b"}


# --- the demo


def test_the_demo_shows_how_the_catalog_follows(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gitlab_port_export", "demo", "--live"]
    ran = subprocess.run(
        command, cwd=tmp_path, env=process_environ({}), capture_output=True, text=True, timeout=100, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "webhook in Port: created at http://127.0.0.1" in ran.stdout
    assert ran.stdout.count(": created\n  sends issues_events, merge_requests_events, pipeline_events to ") == 3
    assert "GitLab sends 2 events" in ran.stdout
    assert "    status: opened -> merged\n" in ran.stdout
    assert "    status: opened -> closed\n" in ran.stdout
    assert "exit 0: done for a part: an event of GitLab" in ran.stdout
    assert "    language: Go -> Rust\n" in ran.stdout
