"""The stand-in Port keeps Port's rules: checked over real HTTP, as a client meets them."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
import requests

from gitlab_port_export.demo.port import PortServer, port_server
from gitlab_port_export.demo.port_faults import Fault, drop, html, refuse, slow
from gitlab_port_export.demo.port_store import PortStore
from testbed.port_bed import port_api, with_shapes

AGENT = "port-ocean/gitlab-v2/1.0/my-integration/exporter"
UPSERT = {"upsert": "true", "merge": "true"}
OVERRIDE = {"upsert": "true", "merge": "false"}
MISSING = {**UPSERT, "create_missing_related_entities": "true"}

GROUP = {
    "identifier": "group",
    "title": "Group",
    "schema": {"properties": {"level": {"type": "string", "enum": ["a", "b"]}}, "required": []},
}
SERVICE = {
    "identifier": "service",
    "title": "Service",
    "schema": {
        "properties": {
            "url": {"type": "string", "format": "url"},
            "language": {"type": "string", "maxLength": 10},
            "stars": {"type": "number", "default": 7, "minimum": 0},
            "open": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "born": {"type": "string", "format": "date-time"},
            "extra": {"type": "object"},
            "mail": {"type": "string", "format": "user"},
        },
        "required": [],
    },
    "relations": {
        "group": {"target": "group", "many": False, "required": False},
        "friends": {"target": "service", "many": True, "required": False},
    },
    "mirrorProperties": {"groupTitle": {"path": "group.$title", "title": "Group"}},
}
JOB = {
    "identifier": "job",
    "title": "Job",
    "schema": {"properties": {"status": {"type": "string"}}, "required": ["status"]},
    "relations": {"service": {"target": "service", "many": False, "required": True}},
}
USER = {"identifier": "_user", "title": "User", "schema": {"properties": {}}}
OWNED = {
    "identifier": "owned",
    "title": "Owned",
    "schema": {"properties": {}},
    "relations": {"user": {"target": "_user", "many": False, "required": False}},
    "ownership": {"type": "Inherited", "path": "user"},
}


@dataclass
class Api:
    """A client that is logged in; every call returns the response, whatever its status."""

    url: str
    session: requests.Session = field(default_factory=requests.Session)

    def __call__(self, method: str, path: str, body: Any = None, **params: Any) -> requests.Response:
        return self.session.request(method, f"{self.url}/v1/{path}", json=body, params=params, timeout=10)

    def log_in(self, client: str = "demo-client", secret: str = "demo-secret") -> requests.Response:
        answer = self("POST", "auth/access_token", {"clientId": client, "clientSecret": secret})
        if answer.ok:
            self.session.headers["Authorization"] = f"Bearer {answer.json()['accessToken']}"
        return answer

    def bulk(self, blueprint: str, *rows: Any, **params: Any) -> requests.Response:
        return self("POST", f"blueprints/{blueprint}/entities/bulk", {"entities": rows}, **params)

    def put(self, blueprint: str, identifier: Any, **fields: Any) -> requests.Response:
        return self("POST", f"blueprints/{blueprint}/entities", {"identifier": identifier, **fields}, **UPSERT)

    def search(self, blueprint: str, **body: Any) -> Any:
        return self("POST", f"blueprints/{blueprint}/entities/search", body).json()

    def matches(self, rule: Any, blueprint: str = "service") -> list[str]:
        answer = self.search(blueprint, query={"combinator": "and", "rules": [rule]})
        return [row["identifier"] for row in answer["entities"]]


def a_store(**options: Any) -> PortStore:
    store = PortStore(credentials={"demo-client": "demo-secret"}, **options)
    for blueprint in (GROUP, SERVICE, JOB, USER, OWNED):
        store.add_blueprint(blueprint)
    return store


@pytest.fixture
def port() -> Iterator[PortServer]:
    with port_server(a_store()) as server:
        yield server


@pytest.fixture
def api(port: PortServer) -> Iterator[Api]:
    with requests.Session() as session:
        session.headers["User-Agent"] = AGENT
        client = Api(port.url, session)
        client.log_in()
        yield client


def error(answer: requests.Response) -> tuple[int, str]:
    assert answer.json()["ok"] is False
    return answer.status_code, answer.json()["error"]


def row_error(answer: requests.Response) -> tuple[int, str]:
    (row,) = answer.json()["errors"]
    return row["statusCode"], row["error"]


class TestAccess:
    def test_a_wrong_secret_is_refused(self, api: Api) -> None:
        assert error(api.log_in(secret="wrong")) == (401, "invalid_credentials")
        assert error(api.log_in(client="nobody")) == (401, "invalid_credentials")

    def test_the_login_takes_nothing_but_the_pair(self, api: Api) -> None:
        body = {"clientId": "demo-client", "clientSecret": "demo-secret", "more": 1}
        assert api("POST", "auth/access_token", body).status_code == 422
        assert api("POST", "auth/access_token", {"clientId": "demo-client"}).status_code == 422

    def test_a_token_is_needed_and_can_be_revoked(self, port: PortServer, api: Api) -> None:
        assert api("GET", "blueprints").status_code == 200
        port.store.revoke_tokens()
        assert error(api("GET", "blueprints")) == (401, "unauthorized")
        del api.session.headers["Authorization"]
        assert api("GET", "blueprints").status_code == 401

    def test_a_token_expires(self) -> None:
        now = [1_000.0]
        store = a_store(clock=lambda: now[0], token_lifetime=60)
        with port_server(store) as server, requests.Session() as session:
            api = Api(server.url, session)
            assert api.log_in().json()["expiresIn"] == 60
            now[0] = 1_059
            assert api("GET", "blueprints").status_code == 200
            now[0] = 1_060
            assert api("GET", "blueprints").status_code == 401

    def test_integrations_may_be_forbidden(self, port: PortServer, api: Api) -> None:
        port.store.integration_access = False
        assert error(api("GET", "integration/mine")) == (403, "forbidden")
        body = {"installationId": "mine", "installationAppType": "gitlab-v2"}
        assert api("POST", "integration", body).status_code == 403
        assert api("PATCH", "integration/mine/resync-state", {"status": "running"}).status_code == 403


class TestIdentifiers:
    @pytest.mark.parametrize("name", ["a", "a/b", "Größe", "日本", "a@b_c.d+e:f\\g=h-1", "...", "x" * 1000])
    def test_accepted(self, port: PortServer, api: Api, name: str) -> None:
        assert api.put("group", name).status_code == 201
        assert port.store.identifiers("group") == {name}
        path = f"blueprints/group/entities/{quote(name, safe='')}"
        assert api("GET", path).json()["entity"]["identifier"] == name

    @pytest.mark.parametrize("name", ["", ".", "..", "a b", "a,b", "a#b", "a\n", "²", "🦊", "x" * 1001, 5, None])
    def test_refused_for_the_whole_call(self, port: PortServer, api: Api, name: Any) -> None:
        answer = api.bulk("group", {"identifier": "fine"}, {"identifier": name}, **UPSERT)
        assert error(answer) == (422, "invalid_request")
        assert port.store.identifiers("group") == set()

    def test_an_encoded_slash_is_part_of_it(self, port: PortServer, api: Api) -> None:
        api.put("group", "a/b")
        assert api("GET", "blueprints/group/entities/a%2Fb").json()["entity"]["identifier"] == "a/b"
        assert error(api("GET", "blueprints/group/entities/a/b")) == (404, "not_found")
        assert api("DELETE", "blueprints/group/entities/a%2Fb", delete_dependents="false").json() == {"ok": True}
        assert port.store.identifiers("group") == set()


class TestProperties:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("url", "https://gitlab.example.com/x"),
            ("stars", 0),
            ("stars", 1.5),
            ("open", False),
            ("tags", ["x"]),
            ("born", "2026-01-02T03:04:05.678Z"),
            ("extra", {"deep": [1]}),
            ("mail", "ann@example.com"),
            ("language", None),
        ],
    )
    def test_right_values_are_kept(self, port: PortServer, api: Api, name: str, value: Any) -> None:
        assert api.put("service", "s", properties={name: value}).status_code == 201
        assert port.store.entity("service", "s")["properties"].get(name) == value

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("unknown", 1),
            ("groupTitle", "computed by Port"),
            ("url", "no url"),
            ("stars", "5"),
            ("stars", True),
            ("stars", -1),
            ("open", "true"),
            ("tags", "x"),
            ("tags", [1]),
            ("born", "yesterday"),
            ("born", "2026-13-45T00:00:00Z"),
            ("extra", []),
            ("mail", "ann"),
            ("language", "x" * 11),
        ],
    )
    def test_wrong_values_refuse_their_row_alone(self, port: PortServer, api: Api, name: str, value: Any) -> None:
        answer = api.bulk(
            "service", {"identifier": "bad", "properties": {name: value}}, {"identifier": "good"}, **UPSERT
        )
        assert answer.status_code == 207
        assert row_error(answer) == (422, "blueprint_schema_mismatch")
        assert answer.json()["errors"][0] | {"message": ""} == {
            "identifier": "bad",
            "index": 0,
            "statusCode": 422,
            "error": "blueprint_schema_mismatch",
            "message": "",
        }
        assert answer.json()["entities"] == [{"created": True, "identifier": "good", "index": 1}]
        assert port.store.identifiers("service") == {"good"}

    def test_an_enum_is_kept(self, api: Api) -> None:
        assert error(api.put("group", "g", properties={"level": "c"})) == (422, "blueprint_schema_mismatch")

    def test_required_ones_may_not_be_missing_or_cleared(self, api: Api) -> None:
        api.put("service", "s")
        relations = {"service": "s"}
        assert error(api.put("job", "j", relations=relations)) == (422, "missing_property")
        assert api.put("job", "j", relations=relations, properties={"status": "ok"}).status_code == 201
        assert error(api.put("job", "j", properties={"status": None})) == (422, "missing_property")
        assert error(api.put("job", "k", properties={"status": "ok"})) == (422, "required_relation")

    @pytest.mark.parametrize("properties", [{}, {"stars": None}])
    def test_defaults_fill_new_entities_alone(self, port: PortServer, api: Api, properties: Any) -> None:
        api.put("service", "s", properties=properties)
        assert port.store.entity("service", "s")["properties"] == {"stars": 7}
        api.put("service", "s", properties={"stars": None})
        assert port.store.entity("service", "s")["properties"] == {}


class TestMerge:
    def before(self, api: Api) -> None:
        api.put("group", "g")
        api.put(
            "service",
            "s",
            title="Title",
            icon="Git",
            team="red",
            properties={"language": "Go", "open": True},
            relations={"group": "g", "friends": []},
        )

    def after(self, port: PortServer, api: Api, row: Any, **params: Any) -> Any:
        self.before(api)
        answer = api.bulk("service", {"identifier": "s", **row}, **params)
        assert answer.json()["entities"] == [{"created": False, "identifier": "s", "index": 0}]
        return port.store.snapshot()["service"]["s"]

    def test_merge_keeps_what_is_absent_and_clears_what_is_null(self, port: PortServer, api: Api) -> None:
        row = {"properties": {"language": None, "stars": 1}}
        found = self.after(port, api, row, **UPSERT)
        assert found == ("Title", "Git", ["red"], {"open": True, "stars": 1}, {"group": "g", "friends": []})

    def test_merge_clears_a_relation_by_null(self, port: PortServer, api: Api) -> None:
        found = self.after(port, api, {"relations": {"group": None}, "team": []}, **UPSERT)
        assert found[2] == []
        assert found[4] == {"friends": []}

    def test_override_drops_what_is_absent(self, port: PortServer, api: Api) -> None:
        found = self.after(port, api, {"properties": {"stars": 1}}, **OVERRIDE)
        assert found == ("s", None, [], {"stars": 1}, {})

    def test_without_upsert_an_existing_one_is_a_conflict(self, api: Api) -> None:
        self.before(api)
        answer = api("POST", "blueprints/service/entities", {"identifier": "s"})
        assert error(answer) == (409, "conflict")
        assert row_error(api.bulk("service", {"identifier": "s"})) == (409, "conflict")

    def test_put_replaces_and_patch_changes(self, port: PortServer, api: Api) -> None:
        self.before(api)
        api("PATCH", "blueprints/service/entities/s", {"title": None, "properties": {"stars": 2}})
        found = port.store.snapshot()["service"]["s"]
        assert found[0] == "s"
        assert found[3] == {"language": "Go", "open": True, "stars": 2}
        api("PUT", "blueprints/service/entities/s", {"title": "New"})
        assert port.store.snapshot()["service"]["s"] == ("New", None, [], {}, {})

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    def test_put_and_patch_create_nothing(self, port: PortServer, api: Api, method: str) -> None:
        assert error(api(method, "blueprints/service/entities/s", {"title": "x"})) == (404, "not_found")
        assert port.store.writes == 0

    def test_null_titles_are_for_patch(self, port: PortServer, api: Api) -> None:
        assert error(api.put("service", "s", title=None)) == (422, "invalid_request")
        port.store.null_titles = True
        assert api.put("service", "s", title=None).json()["entity"]["title"] == "s"

    def test_validation_only_writes_nothing(self, port: PortServer, api: Api) -> None:
        params = {**UPSERT, "validation_only": "true"}
        answer = api.bulk("service", {"identifier": "s"}, {"identifier": "t", "properties": {"no": 1}}, **params)
        assert answer.status_code == 207
        assert port.store.identifiers("service") == set()
        assert port.store.writes == 0

    def test_the_same_again_still_moves_updated_at(self, api: Api) -> None:
        first = api.put("group", "g").json()["entity"]
        again = api.put("group", "g").json()["entity"]
        assert again["createdAt"] == first["createdAt"]
        assert again["updatedAt"] > first["updatedAt"]

    def test_instants_increase_even_when_the_clock_stands(self) -> None:
        store = a_store(clock=lambda: 5.0)
        stamps = [store.now() for _ in range(3)]
        assert stamps == sorted(set(stamps))
        assert stamps[0].startswith("1970-01-01T00:00:05.")
        assert stamps[0].endswith("Z")

    def test_inherited_ownership_takes_no_team(self, api: Api) -> None:
        assert error(api.put("owned", "o", team="red")) == (422, "inherited_ownership_enabled")


def query(*rules: tuple[str, str, Any], combinator: str = "and") -> dict[str, Any]:
    return {
        "combinator": combinator,
        "rules": [{"property": p, "operator": o, "value": v} for p, o, v in rules],
    }


class TestRelations:
    def test_a_missing_target_refuses_the_row(self, port: PortServer, api: Api) -> None:
        row = {"identifier": "s", "relations": {"group": "nowhere"}}
        assert row_error(api.bulk("service", row, **UPSERT)) == (404, "not_found")
        assert error(api.put("service", **row)) == (404, "not_found")
        assert port.store.identifiers("service") == set()

    def test_a_missing_target_is_created_on_demand(self, port: PortServer, api: Api) -> None:
        row = {"identifier": "s", "relations": {"group": "g", "friends": ["t", "s", "u"]}}
        assert api.bulk("service", row, **MISSING).status_code == 200
        assert port.store.identifiers("service") == {"s", "t", "u"}
        assert port.store.entity("group", "g")["$datasource"] == AGENT
        assert port.store.entity("service", "t")["properties"] == {"stars": 7}
        assert port.store.writes == 4

    def test_a_refused_row_creates_no_target(self, port: PortServer, api: Api) -> None:
        row = {"identifier": "j", "relations": {"service": "s"}}
        assert row_error(api.bulk("job", row, **MISSING)) == (422, "missing_property")
        assert port.store.identifiers("service") == set()

    def test_users_and_teams_are_never_created(self, port: PortServer, api: Api) -> None:
        row = {"identifier": "o", "relations": {"user": "ann@example.com"}}
        assert row_error(api.bulk("owned", row, **MISSING)) == (404, "not_found")
        assert port.store.identifiers("_user") == set()

    def test_earlier_rows_of_a_call_are_targets_for_later_ones(self, api: Api) -> None:
        rows = [{"identifier": "a"}, {"identifier": "b", "relations": {"friends": ["a"]}}]
        assert api.bulk("service", *rows, **UPSERT).status_code == 200
        rows = [{"identifier": "c", "relations": {"friends": ["d"]}}, {"identifier": "d"}]
        assert [e["index"] for e in api.bulk("service", *rows, **UPSERT).json()["errors"]] == [0]

    @pytest.mark.parametrize("relations", [{"group": ["g"]}, {"friends": "s"}, {"unknown": "g"}])
    def test_the_form_has_to_fit(self, api: Api, relations: Any) -> None:
        api.put("group", "g")
        answer = api.bulk("service", {"identifier": "s", "relations": relations}, **MISSING)
        assert row_error(answer) == (422, "blueprint_schema_mismatch")

    def test_a_single_query_has_to_find_exactly_one(self, port: PortServer, api: Api) -> None:
        for name, level in (("g", "a"), ("h", "b"), ("i", "b")):
            api.put("group", name, properties={"level": level})

        def relate(level: str) -> requests.Response:
            return api.put("service", "s", relations={"group": query(("level", "=", level))})

        assert relate("a").status_code == 201
        assert port.store.entity("service", "s")["relations"] == {"group": "g"}
        assert error(relate("none")) == (404, "not_found")
        assert error(relate("b")) == (422, "blueprint_schema_mismatch")

    def test_a_many_query_may_find_any_number(self, port: PortServer, api: Api) -> None:
        for name in ("t", "u"):
            api.put("service", name, title=name.upper(), properties={"tags": ["x", name]})
        found = {
            "all": query(("tags", "contains", "x")),
            "one": query(("$title", "in", ["U"])),
            "none": query(("$identifier", "=", "w")),
            "any": query(("tags", "containsAny", ["t", "w"])),
        }
        for name, friends in found.items():
            api.put("service", name, relations={"friends": friends})
        related = {name: port.store.entity("service", name)["relations"]["friends"] for name in found}
        assert related == {"all": ["t", "u"], "one": ["u"], "none": [], "any": ["t"]}

    def test_a_query_in_a_write_knows_few_operators(self, api: Api) -> None:
        answer = api.put("service", "s", relations={"group": query(("level", "beginsWith", "a"))})
        assert error(answer) == (422, "invalid_request")
        nested = {"combinator": "or", "rules": [query(("level", "=", "a"))]}
        assert error(api.put("service", "s", relations={"group": nested})) == (404, "not_found")

    def test_an_identifier_query_updates_the_one_it_finds(self, port: PortServer, api: Api) -> None:
        for name in ("a", "b", "c"):
            api.put("service", name, properties={"language": "Go" if name == "a" else "C"})
        rows = [{"identifier": query(("language", "=", language)), "title": "found"} for language in ("Go", "C", "Ada")]
        answer = api.bulk("service", *rows, **UPSERT).json()
        assert answer["entities"] == [{"created": False, "identifier": "a", "index": 0}]
        assert [(e["identifier"], e["index"], e["statusCode"]) for e in answer["errors"]] == [
            ("unknown", 1, 422),
            ("unknown", 2, 404),
        ]
        assert port.store.entity("service", "a")["title"] == "found"


class TestBulk:
    @pytest.mark.parametrize("size", [0, 21])
    def test_one_to_twenty(self, api: Api, size: int) -> None:
        rows = [{"identifier": f"g{n}"} for n in range(size)]
        assert error(api.bulk("group", *rows, **UPSERT)) == (422, "invalid_request")
        assert api.bulk("group", *[{"identifier": f"g{n}"} for n in range(20)], **UPSERT).status_code == 200

    def test_at_most_one_mebibyte(self, api: Api) -> None:
        def send(size: int) -> int:
            body = b'{"entities":[{"identifier":"g","title":"%s"}]}'
            content = body % (b"x" * (size - len(body) + 2))
            assert len(content) == size
            path = f"{api.url}/v1/blueprints/group/entities/bulk"
            return api.session.post(path, data=content, params=UPSERT, timeout=10).status_code

        assert send(1 << 20) == 200
        assert send((1 << 20) + 1) == 413

    @pytest.mark.parametrize(
        "row",
        [
            "text",
            {"identifier": "x", "title": 5},
            {"identifier": "x", "properties": []},
            {"identifier": "x", "team": [1]},
            {"identifier": "x", "relations": {"group": "a b"}},
            {"identifier": "x", "relations": {"friends": ["a", None]}},
            {"identifier": {"combinator": "and"}},
        ],
    )
    def test_one_malformed_row_refuses_the_call(self, port: PortServer, api: Api, row: Any) -> None:
        assert error(api.bulk("service", {"identifier": "fine"}, row, **UPSERT)) == (422, "invalid_request")
        assert port.store.identifiers("service") == set()

    def test_an_unknown_blueprint_refuses_the_call(self, api: Api) -> None:
        assert error(api.bulk("nowhere", {"identifier": "x"}, **UPSERT)) == (404, "not_found")

    def test_unknown_parameters_are_ignored(self, api: Api) -> None:
        extra = {"ocean_info_event_type": "resync", "ocean_info_resync_id": "1"}
        row = {"identifier": "x", "blueprint": "group"}
        assert api.bulk("group", row, **UPSERT, **extra).json() == {
            "ok": True,
            "entities": [{"created": True, "identifier": "x", "index": 0}],
            "errors": [],
        }

    def test_many_writers_lose_nothing(self, port: PortServer, api: Api) -> None:
        def write(batch: int) -> int:
            rows = [
                {"identifier": f"s{batch}-{n}", "relations": {"group": f"g{n}"}, "properties": {"stars": n}}
                for n in range(20)
            ]
            with requests.Session() as session:
                session.headers.update(api.session.headers)
                return Api(port.url, session).bulk("service", *rows, **MISSING).status_code

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(write, range(16))) == {200}
        assert len(port.store.identifiers("service")) == 320
        assert len(port.store.identifiers("group")) == 20
        assert port.store.writes == 340


class TestDelete:
    def filled(self, api: Api) -> None:
        api.put("service", "s")
        api.put("service", "free", relations={"friends": ["s"]})
        for name in ("j", "k"):
            api.put("job", name, properties={"status": "ok"}, relations={"service": "s"})

    def delete(self, api: Api, blueprint: str, names: list[str], dependents: str = "false") -> requests.Response:
        path = f"blueprints/{blueprint}/bulk/entities/delete"
        return api("POST", path, {"entities": names}, delete_dependents=dependents)

    def test_required_dependents_refuse_the_whole_call(self, port: PortServer, api: Api) -> None:
        self.filled(api)
        before = port.store.snapshot()
        answer = self.delete(api, "service", ["free", "s"])
        assert error(answer) == (422, "has_dependents")
        assert answer.json()["details"] == {"dependents": [{"blueprint": "job", "identifier": "j"}]}
        single = api("DELETE", "blueprints/service/entities/s", delete_dependents="false")
        assert error(single) == (422, "has_dependents")
        assert port.store.snapshot() == before

    def test_cascade_deletes_them_and_empties_other_relations(self, port: PortServer, api: Api) -> None:
        self.filled(api)
        writes = port.store.writes
        answer = self.delete(api, "service", ["s", "absent"], "true")
        assert answer.json() == {"ok": True, "deletedEntities": ["s"]}
        assert port.store.identifiers("job") == set()
        assert port.store.entity("service", "free")["relations"] == {"friends": []}
        assert port.store.writes == writes + 3

    def test_dependents_first_needs_no_cascade(self, port: PortServer, api: Api) -> None:
        self.filled(api)
        assert self.delete(api, "job", ["j", "k"]).status_code == 200
        assert self.delete(api, "service", ["s"]).status_code == 200
        assert port.store.identifiers("service") == {"free"}

    def test_a_moved_dependent_no_longer_counts(self, api: Api) -> None:
        self.filled(api)
        for name in ("j", "k"):
            api.put("job", name, relations={"service": "free"})
        assert self.delete(api, "service", ["s"]).status_code == 200

    @pytest.mark.parametrize("size", [0, 101])
    def test_one_to_a_hundred(self, api: Api, size: int) -> None:
        assert self.delete(api, "service", ["x"] * size).status_code == 422
        assert self.delete(api, "service", ["x"] * 100).json()["deletedEntities"] == []

    def test_an_absent_one(self, api: Api) -> None:
        assert error(api("DELETE", "blueprints/service/entities/x")) == (404, "not_found")


class TestPages:
    def seeded(self, port: PortServer, size: int) -> None:
        rows = ({"identifier": f"s{n}", "properties": {"stars": n}} for n in range(size))
        port.store.seed("service", rows, "seed")

    def pages(self, api: Api, **body: Any) -> list[list[str]]:
        found: list[list[str]] = []
        while True:
            answer = api.search("service", **body)
            found.append([row["identifier"] for row in answer["entities"]])
            if "next" not in answer:
                return found
            body["from"] = answer["next"]

    def test_every_row_comes_once(self, port: PortServer, api: Api) -> None:
        self.seeded(port, 450)
        assert [len(page) for page in self.pages(api)] == [200, 200, 50]
        assert [len(page) for page in self.pages(api, limit=150)] == [150, 150, 150]
        assert list(chain(*self.pages(api, limit=150))) == [f"s{n}" for n in range(450)]

    def test_a_query_fills_its_pages(self, port: PortServer, api: Api) -> None:
        self.seeded(port, 50)
        pages = self.pages(api, limit=10, query=query(("stars", ">=", 35)))
        assert pages == [[f"s{n}" for n in range(35, 45)], [f"s{n}" for n in range(45, 50)]]
        named = query(("$identifier", "in", ["s9", "s4", "s7"]))
        assert self.pages(api, limit=2, query=named) == [["s4", "s7"], ["s9"]]

    def test_writes_between_pages_move_nothing(self, port: PortServer, api: Api) -> None:
        self.seeded(port, 6)
        first = api.search("service", limit=3)
        port.store.delete("service", ["s0", "s3"], cascade=False)
        port.store.seed("service", [{"identifier": "new"}])
        rest = api.search("service", limit=10, **{"from": first["next"]})
        assert [row["identifier"] for row in rest["entities"]] == ["s4", "s5", "new"]

    @pytest.mark.parametrize(
        "body",
        [
            {"limit": 0},
            {"limit": 1001},
            {"limit": "5"},
            {"from": "?"},
            {"from": 5},
            {"more": 1},
            {"query": {}},
        ],
    )
    def test_wrong_bodies(self, api: Api, body: Any) -> None:
        assert error(api("POST", "blueprints/service/entities/search", body)) == (422, "invalid_request")

    def test_an_unknown_blueprint(self, api: Api) -> None:
        assert error(api("POST", "blueprints/no/entities/search", {})) == (404, "not_found")

    def test_include_shows_only_what_is_named(self, api: Api) -> None:
        api.put("group", "g")
        api.put("service", "s", properties={"language": "Go"}, relations={"group": "g"})
        (row,) = api.search("service", include=["$identifier", "language", "url", "group", "friends"])["entities"]
        assert row == {
            "identifier": "s",
            "properties": {"language": "Go", "url": None},
            "relations": {"group": "g", "friends": []},
        }

    def test_exclude_hides(self, port: PortServer, api: Api) -> None:
        api.put("service", "s", icon="Git", team=["red"], properties={"open": True})
        port.store.show_nulls = False
        (row,) = api.search("service", exclude=["$title", "$updatedAt", "open", "group"])["entities"]
        assert row.keys() & {"title", "updatedAt"} == set()
        assert row["properties"] == {"stars": 7}
        assert row["relations"] == {"friends": []}
        assert (row["icon"], row["team"], row["blueprint"]) == ("Git", ["red"], "service")

    def test_calculated_values_may_be_left_out(self, api: Api) -> None:
        api.put("service", "s")
        path = "blueprints/service/entities/s"
        assert "groupTitle" in api("GET", path).json()["entity"]["properties"]
        answer = api("GET", path, exclude_calculated_properties="true")
        assert "groupTitle" not in answer.json()["entity"]["properties"]

    def test_other_routes_name_fields_by_path(self, api: Api) -> None:
        api.put("service", "s", properties={"open": True, "language": "Go"})
        answer = api("GET", "blueprints/service/entities/s", include=["identifier", "properties.open"])
        assert answer.json()["entity"] == {"identifier": "s", "properties": {"open": True}, "relations": {}}
        answer = api("GET", "blueprints/service/entities", include=["identifier"])
        assert answer.json()["entities"] == [{"identifier": "s", "properties": {}, "relations": {}}]
        assert api("GET", "blueprints/service/entities-count").json() == {"ok": True, "count": 1}


class TestSearch:
    @pytest.fixture(autouse=True)
    def _filled(self, port: PortServer, api: Api) -> None:
        api.put("group", "g", title="Gee")
        api.put(
            "service",
            "a",
            title="Alpha",
            team=["red", "blue"],
            properties={"language": "Go", "stars": 5, "tags": ["x", "y"], "born": "2026-01-01T00:00:00Z"},
            relations={"group": "g"},
        )
        api.put("service", "b", title="Beta", properties={"stars": 9, "open": True}, relations={"friends": ["a"]})
        port.store.seed("service", [{"identifier": "c", "properties": {"stars": 1}}], "somebody else")

    @pytest.mark.parametrize(
        ("name", "operator", "value", "expected"),
        [
            ("$identifier", "=", "a", "a"),
            ("$identifier", "!=", "a", "bc"),
            ("$identifier", "in", ["c", "a"], "ac"),
            ("$identifier", "notIn", ["c", "a"], "b"),
            ("$title", "beginsWith", "Al", "a"),
            ("$title", "doesNotBeginsWith", "Al", "bc"),
            ("$title", "endsWith", "ta", "b"),
            ("$title", "contains", "et", "b"),
            ("$title", "doesNotContains", "et", "ac"),
            ("$team", "containsAny", ["blue", "green"], "a"),
            ("$team", "isEmpty", None, "bc"),
            ("$blueprint", "=", "service", "abc"),
            ("$blueprint", "=", "group", ""),
            ("$datasource", "beginsWith", "port-ocean/gitlab-v2/", "ab"),
            ("$datasource", "contains", "/exporter", "ab"),
            ("$updatedAt", ">", "2000-01-01T00:00:00+02:00", "abc"),
            ("$createdAt", "<", "2000-01-01T00:00:00Z", ""),
            ("stars", ">", 5, "b"),
            ("stars", ">=", 5, "ab"),
            ("stars", "<", 5, "c"),
            ("stars", "<=", 5, "ac"),
            ("stars", "between", {"from": 2, "to": 6}, "a"),
            ("stars", "notBetween", {"from": 2, "to": 6}, "bc"),
            ("born", "between", {"from": "2025-12-31T23:00:00Z", "to": "2026-01-01T01:30:00+01:00"}, "a"),
            ("language", "isEmpty", None, "bc"),
            ("language", "isNotEmpty", None, "a"),
            ("language", "=", None, "bc"),
            ("open", "=", True, "b"),
            ("open", "=", 1, ""),
            ("tags", "contains", ["x", "y"], "a"),
            ("tags", "contains", "z", ""),
        ],
    )
    def test_operators(self, api: Api, name: str, operator: str, value: Any, expected: str) -> None:
        rule = {"property": name, "operator": operator} | (
            {} if value is None and operator != "=" else {"value": value}
        )
        assert "".join(api.matches(rule)) == expected

    def test_rules_on_relations(self, api: Api) -> None:
        assert api.matches({"relation": "group", "operator": "=", "value": "g"}) == ["a"]
        assert api.matches({"relation": "friends", "operator": "containsAny", "value": ["a"]}) == ["b"]
        assert api.matches({"relation": "group", "operator": "isEmpty"}) == ["b", "c"]

    def test_related_to(self, api: Api) -> None:
        upstream = {"operator": "relatedTo", "blueprint": "service", "value": "b"}
        assert api.matches(upstream) == ["a"]
        assert api.matches(upstream, "group") == ["g"]
        downstream = {"operator": "relatedTo", "blueprint": "group", "value": "g", "direction": "downstream"}
        assert api.matches(downstream) == ["a", "b"]

    def test_combinators_nest(self, api: Api) -> None:
        stars = query(("stars", "=", 9), ("stars", "=", 1), combinator="or")
        assert api.matches(stars) == ["b", "c"]
        assert api.matches({"combinator": "and", "rules": [stars, query(("open", "=", True))]}) == ["b"]

    def test_over_all_blueprints(self, api: Api) -> None:
        answer = api("POST", "entities/search", query(("$identifier", "in", ["g", "a", "zz"]))).json()
        assert [(e["blueprint"], e["identifier"]) for e in answer["entities"]] == [
            ("group", "g"),
            ("service", "a"),
        ]
        assert answer["matchingBlueprints"] == ["group", "service"]
        both = query(("$identifier", "in", ["g", "a"]), ("$blueprint", "=", "service"))
        answer = api("POST", "entities/search", both, include=["identifier", "relations.group"]).json()
        assert answer["entities"] == [{"identifier": "a", "properties": {}, "relations": {"group": "g"}}]

    @pytest.mark.parametrize(
        "body",
        [
            {"rules": []},
            {"combinator": "and"},
            {"combinator": "xor", "rules": []},
            {"combinator": "and", "rules": [], "more": 1},
            query(("x", "like", "y")),
            query(("$nothing", "=", "y")),
            query(("x", "between", 5)),
            {"combinator": "and", "rules": [{"property": "x", "operator": "="}]},
        ],
    )
    def test_wrong_queries(self, api: Api, body: Any) -> None:
        assert error(api("POST", "entities/search", body)) == (422, "invalid_request")


class TestOwned:
    def owned(self, api: Api, **more: Any) -> Any:
        body = {"datasource_prefix": "port-ocean/gitlab-v2/", "datasource_suffix": "/my-integration/exporter"}
        return api("POST", "blueprints/entities/datasource-entities", {**body, **more})

    def test_rows_of_one_source_in_pages(self, port: PortServer, api: Api) -> None:
        for blueprint in ("group", "service"):
            port.store.seed(blueprint, [{"identifier": f"{blueprint}{n}"} for n in range(3)], AGENT)
        port.store.seed("group", [{"identifier": "gitops"}], AGENT.replace("exporter", "gitops"))
        port.store.seed("group", [{"identifier": "v1"}], AGENT.replace("-v2", ""))
        found, more = [], {"limit": 2}
        while True:
            answer = self.owned(api, **more).json()
            found += answer["entities"]
            if "next" not in answer:
                break
            more["from"] = answer["next"]
        expected = [(f"{b}{n}", b) for b in ("group", "service") for n in range(3)]
        assert found == [{"identifier": i, "blueprint": b} for i, b in expected]

    def test_before_leaves_out_what_was_written_since(self, port: PortServer, api: Api) -> None:
        port.store.seed("group", [{"identifier": "old"}, {"identifier": "touched"}], AGENT)
        start = port.store.now()
        api.put("group", "touched")
        api.put("group", "new")
        names = [row["identifier"] for row in self.owned(api, before=start).json()["entities"]]
        assert names == ["old"]
        assert len(self.owned(api).json()["entities"]) == 3
        assert self.owned(api, before="soon").status_code == 422

    def test_a_write_takes_the_entity_over(self, port: PortServer, api: Api) -> None:
        port.store.seed("group", [{"identifier": "g"}], "somebody else")
        assert self.owned(api).json()["entities"] == []
        api.put("group", "g")
        assert self.owned(api).json()["entities"] == [{"identifier": "g", "blueprint": "group"}]


class TestBlueprints:
    def test_create_change_delete(self, api: Api) -> None:
        body = {"identifier": "new", "title": "New", "schema": {"properties": {"x": {"type": "string"}}}}
        assert api("POST", "blueprints", body).status_code == 201
        assert error(api("POST", "blueprints", body)) == (409, "conflict")
        relations = {"to": {"target": "group", "many": False, "required": False}}
        changed = api("PATCH", "blueprints/new", {"relations": relations}).json()["blueprint"]
        assert changed["relations"] == relations
        assert changed["schema"] == body["schema"]
        replaced = api("PUT", "blueprints/new", {"title": "Newer", "schema": {"properties": {}}})
        assert replaced.json()["blueprint"]["relations"] == {}
        assert api("DELETE", "blueprints/new").json() == {"ok": True}
        assert error(api("GET", "blueprints/new")) == (404, "not_found")

    @pytest.mark.parametrize(
        "change",
        [
            {"identifier": "a=b"},
            {"identifier": "x" * 101},
            {"title": ""},
            {"schema": {}},
            {"schema": {"properties": {"x": {"type": "date"}}}},
            {"schema": {"properties": {}, "required": ["x"]}},
            {"relations": {"to": {"many": False}}},
            {"relations": {"to": {"target": "group", "many": True, "required": True}}},
            {"relations": {"to": {"target": "nowhere", "many": False, "required": False}}},
        ],
    )
    def test_wrong_bodies(self, api: Api, change: Any) -> None:
        body = {"identifier": "new", "title": "New", "schema": {"properties": {}}}
        assert api("POST", "blueprints", {**body, **change}).status_code == 422
        assert api("GET", "blueprints/new").status_code == 404

    def test_a_type_never_changes(self, api: Api) -> None:
        schema = {"properties": {"level": {"type": "number"}}}
        answer = api("PATCH", "blueprints/group", {"schema": schema})
        assert error(answer) == (422, "forbidden_format_change")
        assert answer.json()["details"] == {"property": "level"}

    def test_entities_and_relations_hold_it(self, api: Api) -> None:
        api.put("job", "j", properties={"status": "ok"}, relations={"service": "s"})
        assert "relates to" in api("DELETE", "blueprints/group").json()["message"]
        api.put("owned", "o")
        assert "has dependant entities" in api("DELETE", "blueprints/owned").json()["message"]
        listed = api("GET", "blueprints").json()["blueprints"]
        assert [b["identifier"] for b in listed] == ["group", "service", "job", "_user", "owned"]


INTEGRATION = {"installationId": "my-integration", "installationAppType": "gitlab-v2", "version": "1"}


class TestIntegration:
    def test_absent_then_created_then_changed(self, api: Api) -> None:
        assert error(api("GET", "integration/my-integration")) == (404, "not_found")
        assert api("POST", "integration", INTEGRATION).json()["integration"]["config"] == {}
        assert error(api("POST", "integration", INTEGRATION)) == (409, "conflict")
        api("PATCH", "integration/my-integration", {"version": "2"})
        api("PATCH", "integration/my-integration/config", {"config": {"resources": []}})
        found = api("GET", "integration/my-integration", byField="installationId").json()["integration"]
        assert (found["version"], found["config"]) == ("2", {"resources": []})
        assert len(api("GET", "integration").json()["integrations"]) == 1

    @pytest.mark.parametrize("name", ["My", "a b", "a_b", ""])
    def test_its_identifier_is_lower_case(self, api: Api, name: str) -> None:
        assert api("POST", "integration", {**INTEGRATION, "installationId": name}).status_code == 422

    def test_the_resync_state_carries_the_clock_of_port(self, port: PortServer, api: Api) -> None:
        api("POST", "integration", INTEGRATION)
        before = api.put("group", "before").json()["entity"]["updatedAt"]
        answer = api("PATCH", "integration/my-integration/resync-state", {"status": "running"})
        state = answer.json()["integration"]["resyncState"]
        after = api.put("group", "after").json()["entity"]["updatedAt"]
        assert before < state["updatedAt"] < after
        assert state["status"] == "running"
        assert error(api("PATCH", "integration/my-integration/resync-state", {"status": "?"}))[0] == 422

    def test_examples(self, port: PortServer, api: Api) -> None:
        api("POST", "integration", INTEGRATION)
        api("POST", "integration/my-integration/kinds/merge-request/examples", {"examples": [{"id": 1}]})
        assert port.store.examples == {("my-integration", "merge-request"): [{"id": 1}]}
        data = api("GET", "integration/my-integration/kinds").json()["data"]
        assert data["merge-request"]["examples"][0]["data"] == {"id": 1}

    def test_the_organization_has_flags(self, port: PortServer, api: Api) -> None:
        port.store.feature_flags.append("SOME_FLAG")
        assert api("GET", "organization").json()["organization"]["featureFlags"] == ["SOME_FLAG"]


class TestServer:
    def test_an_unknown_route_has_the_envelope(self, api: Api) -> None:
        assert error(api("GET", "nothing")) == (404, "not_found")
        assert api.session.get(f"{api.url}/", timeout=10).status_code == 404

    def test_every_answer_has_a_trace_and_the_rate(self, api: Api) -> None:
        first, second = api("GET", "blueprints").headers, api("GET", "nothing").headers
        assert first["x-trace-id"] != second["x-trace-id"]
        assert (first["x-ratelimit-limit"], first["x-ratelimit-period"]) == ("35000", "300")
        assert int(second["x-ratelimit-remaining"]) < int(first["x-ratelimit-remaining"])
        assert int(first["x-ratelimit-reset"]) > 1_000_000

    def test_requests_are_recorded(self, port: PortServer, api: Api) -> None:
        api.bulk("nowhere", {"identifier": "a"}, **UPSERT)
        seen = port.requests[-1]
        assert (seen.method, seen.path, seen.status) == ("POST", "/v1/blueprints/nowhere/entities/bulk", 404)
        assert seen.query == (("upsert", "true"), ("merge", "true"))
        assert seen.body == {"entities": [{"identifier": "a"}]}
        assert seen.user_agent == AGENT
        assert len(port.calls("POST .*/bulk$")) == 1

    def test_a_body_that_is_no_json(self, api: Api) -> None:
        answer = api.session.post(f"{api.url}/v1/entities/search", data=b"{", timeout=10)
        assert error(answer) == (422, "invalid_request")

    def test_a_fault_fires_as_often_as_it_says(self, port: PortServer, api: Api) -> None:
        limited = refuse(429, {"ok": False, "message": "rate limited"}, (("Retry-After", "1"),))
        port.faults.append(Fault(r"^GET /v1/blueprints$", limited, times=2))
        answers = [api("GET", "blueprints") for _ in range(3)]
        assert [a.status_code for a in answers] == [429, 429, 200]
        assert answers[0].headers["Retry-After"] == "1"
        assert api("GET", "organization").status_code == 200
        assert [r.status for r in port.calls("GET /v1/blueprints$")] == [429, 429, 200]

    def test_a_fault_may_replace_the_rate_headers(self, port: PortServer, api: Api) -> None:
        port.faults.append(Fault("GET", refuse(429, headers=(("x-ratelimit-remaining", "0"),))))
        assert api("GET", "blueprints").headers["x-ratelimit-remaining"] == "0"

    @pytest.mark.parametrize(("applied", "held"), [(False, set()), (True, {"g"})])
    def test_an_answer_may_be_lost_before_or_after_the_write(
        self, port: PortServer, api: Api, applied: bool, held: set[str]
    ) -> None:
        port.faults.append(Fault("POST .*/bulk", drop(applied=applied), times=1))
        with pytest.raises(requests.ConnectionError):
            api.bulk("group", {"identifier": "g"}, **UPSERT)
        assert port.store.identifiers("group") == held
        assert port.requests[-1].status == 0
        answer = api.bulk("group", {"identifier": "g"}, **UPSERT).json()
        assert answer["entities"][0]["created"] is not applied

    def test_a_late_gateway_error_hides_a_write(self, port: PortServer, api: Api) -> None:
        port.faults.append(Fault("/bulk", refuse(504, applied=True)))
        assert api.bulk("group", {"identifier": "g"}, **UPSERT).status_code == 504
        assert port.store.identifiers("group") == {"g"}

    def test_other_faults(self, port: PortServer, api: Api) -> None:
        port.faults.append(Fault(lambda seen: seen.body == {"limit": 5}, html(), times=1))
        port.faults.append(Fault("search", slow(0.001)))
        answer = api("POST", "blueprints/group/entities/search", {"limit": 5})
        assert (answer.status_code, answer.headers["Content-Type"]) == (502, "text/html")
        assert api.search("group", limit=5)["ok"]

    def test_latency_is_asked_for_each_answer(self) -> None:
        asked: list[int] = []

        def latency() -> float:
            asked.append(1)
            return 0.0

        with port_server(latency=latency, record_bodies=False) as server, requests.Session() as session:
            api = Api(server.url, session)
            api.log_in()
            api("GET", "blueprints")
            assert len(asked) == len(server.requests) == 2
            assert server.requests[0].body is None


def answer_schema(method: str, template: str, status: int) -> Any:
    """The schema of an answer; refusals are alike."""
    routes = {re.sub(r"\{\w+\}", "{}", route): entry for route, entry in port_api()["routes"].items()}
    return with_shapes(routes[f"{method} /v1/{template}"].get(status, {"$ref": "#/shapes/refusal"}))


def test_answers_fit_the_published_schemas(port: PortServer, api: Api) -> None:
    entities = "blueprints/{}/entities"
    service = "blueprints/service/entities"
    pair = {"clientId": "demo-client", "clientSecret": "demo-secret"}
    new = {"identifier": "new", "title": "New", "schema": {"properties": {}, "required": []}}
    everything = {"combinator": "and", "rules": []}
    rows = {"entities": [{"identifier": "s"}, {"identifier": "bad", "properties": {"no": 1}}]}
    steps: list[tuple[str, str, str, Any, int]] = [
        ("POST", "auth/access_token", "auth/access_token", pair, 200),
        ("POST", "auth/access_token", "auth/access_token", {**pair, "clientSecret": "no"}, 401),
        ("POST", "auth/access_token", "auth/access_token", {}, 422),
        ("POST", entities, service, {"identifier": "a", "title": "A", "team": "red"}, 201),
        ("POST", entities, service, {"identifier": "a b"}, 422),
        ("POST", f"{entities}/bulk", f"{service}/bulk", rows, 207),
        ("POST", f"{entities}/bulk", f"{service}/bulk", {"entities": [{"identifier": "t"}]}, 200),
        ("POST", f"{entities}/bulk", f"{service}/bulk", {"entities": []}, 422),
        ("POST", f"{entities}/bulk", "blueprints/no/entities/bulk", rows, 404),
        ("POST", f"{entities}/bulk", f"{service}/bulk", {"entities": [{"title": "x" * (1 << 20)}]}, 413),
        ("GET", entities, service, None, 200),
        ("GET", f"{entities}-count", f"{service}-count", None, 200),
        ("GET", f"{entities}/{{}}", f"{service}/a", None, 200),
        ("GET", f"{entities}/{{}}", f"{service}/zz", None, 404),
        ("PATCH", f"{entities}/{{}}", f"{service}/a", {"title": None}, 200),
        ("PUT", f"{entities}/{{}}", f"{service}/a", {"title": "A"}, 200),
        ("POST", f"{entities}/search", f"{service}/search", {"limit": 1, "query": everything}, 200),
        ("POST", f"{entities}/search", f"{service}/search", {"limit": 0}, 422),
        ("POST", "entities/search", "entities/search", everything, 200),
        ("DELETE", f"{entities}/{{}}", f"{service}/a", None, 200),
        (
            "POST",
            "blueprints/{}/bulk/entities/delete",
            "blueprints/service/bulk/entities/delete",
            {"entities": ["s"]},
            200,
        ),
        ("GET", "blueprints", "blueprints", None, 200),
        ("POST", "blueprints", "blueprints", new, 201),
        ("GET", "blueprints/{}", "blueprints/service", None, 200),
        ("PATCH", "blueprints/{}", "blueprints/new", {"title": "Newer"}, 200),
        ("PUT", "blueprints/{}", "blueprints/new", new, 200),
        ("DELETE", "blueprints/{}", "blueprints/new", None, 200),
        ("GET", "integration/{}", "integration/none", None, 404),
    ]
    for method, template, path, body, status in steps:
        answer = api(method, path, body)
        assert answer.status_code == status, (method, path, answer.text)
        jsonschema.Draft202012Validator(answer_schema(method, template, status)).validate(answer.json())
