"""The examples of examples/review: a plan is shown in one comment of a merge request, and applied after the merge."""

import json
import re
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from conftest import Bench
from gitlab_port_export.settings.sources import read_environ
from gitlab_port_export.settings.variables import unknown
from test_examples import IMAGE, VERSION, as_json, check
from testbed.ci_bed import NAMES, ROOT, SECRETS, TOKENS, Azure, GitHub, Machine, Ran, jenkins_stage
from testbed.harness import blueprint
from testbed.pages import section

FOLDER = ROOT / "examples" / "review"
FILES = {
    "github": FOLDER / "github-actions.yml",
    "gitlab": FOLDER / "gitlab-ci.yml",
    "azure": FOLDER / "azure-pipelines.yml",
    "jenkins": FOLDER / "Jenkinsfile",
}
TOKEN = "token-for-comments"
MARKER = "<!-- gitlab-port-export: plan -->"
MAPPING = """
resources:
  - kind: project
    selector: {query: 'true'}
    port:
      entity:
        mappings:
          identifier: .path_with_namespace
          title: .name + "!"
          blueprint: '"service"'
"""
REFUSED = 2


class Api(ThreadingHTTPServer):
    """The comments of a merge request as GitHub, GitLab and Azure serve them, and a plan in GitLab's artifacts."""

    def __init__(self, plan: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.plan = plan
        # Comments of others, more than a page; one of them has copied the marker.
        self.comments = [{"id": n, "own": False, "body": f"{MARKER if n == 3 else ''} says {n}"} for n in range(120)]
        self.asked: list[tuple[str, str]] = []
        self.job = "success"
        self.commit = "abc"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def own(self) -> list[str]:
        return [str(one["body"]) for one in self.comments if one["own"]]


class Handler(BaseHTTPRequestHandler):
    server: Api

    def answer(self) -> None:
        self.server.asked.append((self.command, self.path))
        path, _, query = self.path.partition("?")
        if path == "/store/plan.json":
            # The store of artifacts is another host.
            assert [name for name in ("PRIVATE-TOKEN", "Authorization") if name in self.headers] == []
            return self.send(200, self.server.plan.read_bytes())
        name = "PRIVATE-TOKEN" if path.startswith("/api/v4") else "Authorization"
        assert self.headers[name].removeprefix("Bearer ") == TOKEN
        length = int(self.headers["Content-Length"] or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        if self.command != "GET":
            return self.write(path, str(body.get("body") or body.get("content") or body["comments"][0]["content"]))
        if path.endswith("/artifacts/plan.json"):
            self.send_response(302)
            self.send_header("Location", "/store/plan.json")
            self.end_headers()
            return None
        return self.send(200, json.dumps(self.read(path, query)).encode())

    do_GET = do_POST = do_PUT = do_PATCH = answer  # noqa: N815 (names of http.server)

    def write(self, path: str, text: str) -> None:
        """A list takes a new comment, an item a new text."""
        last = path.rsplit("/", 1)[-1]
        comments = self.server.comments
        if self.command == "POST":
            comments.append({"id": len(comments), "own": True, "body": text})
        else:
            assert comments[int(last) % 1000]["own"], "a comment of somebody else"
            comments[int(last) % 1000]["body"] = text
        self.send(200, b"{}")

    def read(self, path: str, query: str) -> object:
        found = self.server.comments
        if path.startswith("/acme/"):
            threads = [{"id": one["id"], "comments": [{"id": one["id"], "content": one["body"]}]} for one in found]
            # Azure says nothing of an own comment: the one that copied the marker was deleted.
            threads[3] |= {"isDeleted": True, "comments": []}
            return {"value": [*threads, {"id": 999}]}
        if "/repository/commits/" in path and f"/{self.server.commit}/" not in path:
            return []
        page = int(re.findall(r"page=(\d+)$", query)[0]) if query else 1
        part = found[(page - 1) * 100 : page * 100]
        if path.startswith("/repos/acme/port/issues/7/comments"):
            return [{**one, "user": {"type": "Bot" if one["own"] else "User"}} for one in part]
        answers: dict[str, object] = {
            "/api/v4/user": {"id": 5},
            "/api/v4/projects/42/merge_requests/7/notes": [{**one, "author": {"id": 5 * one["own"]}} for one in part],
            f"/api/v4/projects/42/repository/commits/{self.server.commit}/merge_requests": [
                {"iid": 6, "state": "closed"},
                {"iid": 7, "state": "merged"},
            ],
            "/api/v4/projects/42/merge_requests/7/pipelines": [{"id": 90}, {"id": 91}, {"id": 92}],
            "/api/v4/projects/42/pipelines/90/jobs": [{"id": 1, "name": "lint", "status": "success"}],
            "/api/v4/projects/42/pipelines/91/jobs": [{"id": 2, "name": "plan", "status": self.server.job}],
            "/api/v4/projects/42/pipelines/92/jobs": [{"id": 3, "name": "plan", "status": "success"}],
        }
        return answers[path]

    def send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def machine(bare: Machine) -> Machine:
    """A checkout with the mapping and the script, as the examples want it."""
    bare.bench.store.add_blueprint(blueprint("service"))
    # With the token of the jobs: nothing that only another token sees is to be deleted.
    tokens = SECRETS["OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN"]
    bare.bench.sync_an_hour_ago(MAPPING.replace(' + "!"', ""), tokens=tokens)
    (bare.work / "port" / "mapping.yml").write_text(MAPPING, encoding="utf-8")
    return bare


@pytest.fixture
def bare(bench: Bench) -> Machine:
    """A checkout with the script alone, and the programs of a build machine."""
    made = Machine(bench)
    (made.work / "port").mkdir()
    shutil.copy(FOLDER / "review.py", made.work / "port")
    made.program("python", '#!/bin/sh\nexec python3 "$@"\n')
    # gh: the address of a list, then the artifact of its first run.
    made.program(
        "gh",
        '#!/bin/sh\n[ -n "$GH_TOKEN" ] || exit 1\ncase "$1" in\n'
        'api) case "$2" in *head_sha=abc) echo 91 ;; *) exit 1 ;; esac ;;\n'
        f'run) [ "$3" = 91 ] && cp "{made.temp}/plan.json" . ;;\nesac\n',
    )
    return made


@pytest.fixture
def api(bare: Machine) -> Iterator[Api]:
    server = Api(bare.temp / "plan.json")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def run(system: str, job: str, machine: Machine, api: Api) -> Ran:
    """Run a job of an example; the plan of the first one is kept as that system's artifact."""
    if system == "jenkins":
        return on_jenkins(machine, api, {"plan": "Plan", "apply": "Apply"}[job])
    data = yaml.safe_load(machine.text(FILES[system]))
    if system == "github":
        event = "event.pull_request"
        values = {f"{event}.number": "7", f"{event}.head.sha": "abc", "token": TOKEN}
        env = {**data["env"], "GITHUB_API_URL": api.url, "GITHUB_REPOSITORY": "acme/port"}
        return GitHub(machine, env=env, github=values).job(data["jobs"][job]["steps"])
    if system == "azure":
        env = {one["name"]: one["value"] for one in data["variables"] if "name" in one} | {
            "SYSTEM_COLLECTIONURI": f"{api.url}/acme/",
            "SYSTEM_TEAMPROJECTID": "p",
            "BUILD_REPOSITORY_ID": "r",
            "SYSTEM_PULLREQUEST_PULLREQUESTID": "7",
            "BUILD_SOURCEVERSIONMESSAGE": "Merged PR 7: a title\nMerged PR 8: no",
        }
        (steps,) = (one["steps"] for one in data["jobs"] if one["job"] == job)
        return Azure(machine, {**NAMES, "System.AccessToken": TOKEN}, env).job(steps)
    env = {**SECRETS, **data[".port"]["variables"], "COMMENT_TOKEN": TOKEN, "CI": "true", "GITLAB_CI": "true"} | {
        "OCEAN__INTEGRATION__CONFIG__GITLAB_HOST": machine.bench.gitlab.url,
        "CI_API_V4_URL": f"{api.url}/api/v4",
        "CI_PROJECT_ID": "42",
        "CI_MERGE_REQUEST_IID": "7",
        "CI_COMMIT_SHA": "abc",
    }
    return machine.run(["sh", "-e"], "\n".join(data[job]["script"]), env)


def on_jenkins(machine: Machine, api: Api, stage: str) -> Ran:
    """Run a stage of the Jenkinsfile with what Jenkins says of merge request 7."""
    own = {"CI_API_V4_URL": f"{api.url}/api/v4", "CI_PROJECT_ID": "42", "CHANGE_ID": "7"}
    return jenkins_stage(machine, machine.text(FILES["jenkins"]), stage, {**SECRETS, "COMMENT_TOKEN": TOKEN}, **own)


def titles(machine: Machine) -> set[str]:
    """The last characters of the titles of services, which the merge request changes."""
    return {str(title)[-1:] for title, *_ in machine.bench.store.snapshot()["service"].values()}


def plan(system: str, machine: Machine, api: Api) -> Ran:
    ran = run(system, "plan", machine, api)
    if (machine.work / "plan.json").exists():
        shutil.move(machine.work / "plan.json", machine.temp / "plan.json")
    return ran


def apply(system: str, machine: Machine, api: Api) -> Ran:
    if system in ("azure", "jenkins"):
        shutil.copy(machine.temp / "plan.json", machine.work)
    return run(system, "apply", machine, api)


@pytest.mark.parametrize("system", FILES)
def test_a_merge_request_has_one_comment_and_its_plan_is_applied_once_after_the_merge(
    system: str, machine: Machine, api: Api
) -> None:
    for _ in range(2):
        ran = plan(system, machine, api)
        assert ran.code == 0, ran.all
        (shown,) = api.own
        assert shown.startswith(f"{MARKER}\n### Plan")
        assert "<html" in (machine.work / "plan.html").read_text(encoding="utf-8")
    assert "!" not in titles(machine)
    ran = apply(system, machine, api)
    assert ran.code == 0, ran.all
    assert titles(machine) == {"!"}
    # The same plan again is stale, since Port has changed.
    before = machine.bench.store.snapshot()
    again = apply(system, machine, api)
    assert again.code == REFUSED
    assert "The plan was refused, nothing was written." in again.out
    assert machine.bench.store.snapshot() == before
    for secret in (*TOKENS, TOKEN):
        assert secret not in ran.unmasked()
        assert secret not in json.dumps([machine.calls, api.asked])


def test_a_reviewer_begins_with_the_mapping_in_use(bare: Machine, api: Api) -> None:
    """The path of the page, in a folder that holds nothing: mapping, plan, comment, apply, and then a sync."""
    machine, bench = bare, bare.bench
    bench.sync_an_hour_ago(tokens=SECRETS["OCEAN__INTEGRATION__CONFIG__GITLAB_TOKEN"])
    env = {
        **SECRETS,
        "OCEAN__PORT__BASE_URL": bench.port.url,
        "OCEAN__INTEGRATION__CONFIG__GITLAB_HOST": bench.gitlab.url,
    }
    (show,) = re.findall(r"`(gitlab-port-export mapping show)`", FILES["gitlab"].read_text(encoding="utf-8"))
    ran = machine.run(["sh", "-e"], f"{show} > port/mapping.yml", env)
    assert ran.code == 0, ran.all
    mapping = machine.work / "port" / "mapping.yml"
    of_services = r"(title: \.name)(?=\n +blueprint: '\"service\"')"
    mapping.write_text(re.sub(of_services, r'\1 + "!"', mapping.read_text("utf-8")), "utf-8")
    ran = plan("gitlab", machine, api)
    assert ran.code == 0, ran.all
    (shown,) = api.own
    assert '-     title: "Gateway"\n+     title: "Gateway!"' in shown
    assert "!" not in titles(machine)
    assert apply("gitlab", machine, api).code == 0
    assert titles(machine) == {"!"}
    (scheduled,) = set(re.findall(r"`(sync --mapping [^`]+)`", section("docs/reports.md", "Plans in merge requests")))
    ran = machine.run(["sh", "-e"], f"gitlab-port-export {scheduled}", env)
    assert ran.code == 0, ran.all
    assert "0 created, 0 updated, 0 deleted" in ran.out


def test_a_plan_of_another_mapping_than_the_merged_one_is_refused(machine: Machine, api: Api) -> None:
    assert plan("gitlab", machine, api).code == 0
    (machine.work / "port" / "mapping.yml").write_text(MAPPING.replace("!", "?"), encoding="utf-8")
    assert apply("gitlab", machine, api).code == REFUSED
    assert "!" not in titles(machine)


@pytest.mark.parametrize("system", FILES)
def test_a_plan_that_fails_is_shown_and_leaves_nothing_to_apply(system: str, machine: Machine, api: Api) -> None:
    (machine.work / "port" / "mapping.yml").write_text("resources: 7\n", encoding="utf-8")
    ran = plan(system, machine, api)
    assert ran.code == REFUSED
    (shown,) = api.own
    assert "(exit 2" in shown
    assert not (machine.temp / "plan.json").exists()


def test_gitlab_takes_no_older_plan_when_the_last_one_failed(machine: Machine, api: Api) -> None:
    assert plan("gitlab", machine, api).code == 0
    api.job = "failed"
    ran = apply("gitlab", machine, api)
    assert ran.code == 1
    assert "!" not in titles(machine)
    assert "the last plan of !7 did not succeed" in ran.err


def test_azure_applies_nothing_for_a_commit_that_no_pull_request_made(machine: Machine) -> None:
    (job,) = (one for one in yaml.safe_load(FILES["azure"].read_text("utf-8"))["jobs"] if one["job"] == "apply")
    script = job["steps"][1]["script"]
    for message, code in (("Merged PR 12: x", 0), ("x\nMerged PR 12: x", 1), ("Merged PR 1;id: x", 1), ("x", 1)):
        ran = machine.run(["bash"], script, {"BUILD_SOURCEVERSIONMESSAGE": message})
        assert ran.code == code, message
        assert ran.out.startswith("##vso[task.setvariable variable=pullRequest]12\n" if code == 0 else "The commit")


def test_files_are_as_each_system_wants_them(tmp_path: Path) -> None:
    check("github-workflows", FILES["github"])
    check("gitlab-ci", FILES["gitlab"])
    texts = yaml.load(FILES["azure"].read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    options = ("--regex-variant", "nonunicode", "--data-transform", "azure-pipelines")
    check("azure-pipelines", as_json(texts, tmp_path / "azure.json"), options=options)


def test_pull_requests_of_forks_get_no_plan_and_no_secret() -> None:
    github = yaml.safe_load(FILES["github"].read_text(encoding="utf-8"))
    # pull_request_target would give secrets to what a fork wrote.
    assert list(github[True]) == ["pull_request"]
    assert github["permissions"] == {}
    for job in github["jobs"].values():
        assert "github.event.pull_request.head.repo.full_name == github.repository" in job["if"]
        assert set(job["permissions"].items()) <= {
            *(("contents", "read"), ("actions", "read"), ("pull-requests", "write"))
        }
    gitlab = yaml.safe_load(FILES["gitlab"].read_text(encoding="utf-8"))
    assert "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_PROJECT_ID" in gitlab["plan"]["rules"][0]["if"]
    azure = yaml.safe_load(FILES["azure"].read_text(encoding="utf-8"))
    assert "ne(variables['System.PullRequest.IsFork'], 'True')" in azure["jobs"][0]["condition"]


@pytest.mark.parametrize("system", FILES)
def test_every_name_version_and_pinned_action_is_right(system: str) -> None:
    text = FILES[system].read_text(encoding="utf-8")
    assert list(unknown(read_environ(dict.fromkeys(re.findall(r"OCEAN__\w+[A-Z]", text), "{}")))) == []
    assert {*re.findall(rf"{IMAGE}([\w.]+)", text)} == {VERSION}
    assert not re.search(r"-e OCEAN\w+=", text)
    for used in re.findall(r"uses: (\S+)", text):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", used)
    assert "python3 -I port/review.py" in text or "python -I port/review.py" in text
