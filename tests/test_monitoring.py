"""The files of examples/monitoring: they use metrics that exist, and the message of a failed run shows no secret."""

import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import Bench
from gitlab_port_export.model import Problem
from gitlab_port_export.report import openmetrics
from gitlab_port_export.report.values import Counts, KindCounts, Report, Rhythm, Span
from testbed.ci_bed import ROOT, Machine

FOLDER = ROOT / "examples" / "monitoring"
PAGE = ROOT / "docs" / "monitoring.md"
EVIL = '<!channel> *acme* [x](https://evil.example.com) & "quoted"\n::error::no'

# Every label with the values that it takes; None where GitLab or the user names them.
Labels = dict[str, set[str]]


def metrics() -> dict[str, Labels]:
    """The families of a sync and a plan that has something of everything, each with its labels and their values."""
    problems = (Problem("read", "why"), Problem("settings", "why", warning=True))
    found: dict[str, Labels] = {}
    for command, code in (("sync", 0), ("sync", 1), ("plan", 0)):
        report = Report(
            command,
            code,
            "2026-01-02T03:04:05+00:00",
            9.5,
            integration="acme",
            blueprints={"service": Counts(1, 1, 1, 1, 1, 0)},
            kinds={"project": KindCounts(1, 1)},
            problems=problems if code else (),
            timeline=(Span("write", 0, 1),),
            rhythm=Rhythm("incremental", since="2026-01-02T03:00:00Z", last_full="2026-01-02T00:00:00Z"),
        )
        for name, labels in re.findall(r"^(gitlab_port_export_\w+)\{(.*)\} ", openmetrics.render(report), re.MULTILINE):
            family = found.setdefault(name, {})
            for label, value in re.findall(r'(\w+)="(.*?)"', labels):
                family.setdefault(label, set()).add(value)
    return found


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return list(group["rules"])


def dashboard() -> dict[str, Any]:
    return dict(json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8")))


def expressions() -> list[tuple[str, str]]:
    """Every expression, with the texts that name its labels."""
    found = [(one["expr"], " ".join(one["annotations"].values())) for one in alerts()]
    for panel in dashboard()["panels"]:
        found += [(target["expr"], target["legendFormat"]) for target in panel["targets"]]
    return found + [
        (one["query"]["query"], "") for one in dashboard()["templating"]["list"] if one["name"] == "integration"
    ]


def faults_of(expression: str, text: str, known: dict[str, Labels]) -> list[str]:
    """What an expression uses that no report writes."""
    found, kept = [], set()
    for name, selector in re.findall(r"\b(gitlab_port_export_\w+)(?:\{(.*?)\})?", expression):
        if name not in known:
            found.append(name)
            continue
        for label, how, value in re.findall(r'(\w+)(=~|=|!=)"(.*?)"', selector):
            values = known[name].get(label)
            wanted = set() if "$" in value else set(value.split("|") if how == "=~" else [value])
            if values is None or not wanted <= values:
                found.append(f"{name}{{{label}={value}}}")
        by = re.findall(r"\b(?:by|on) \((.*?)\)", expression)
        kept |= {label.strip() for labels in by for label in labels.split(",")}
        found += [f"{name} by {label}" for label in kept if label not in known[name]]
    shown = set(re.findall(r"\$labels\.(\w+)", text)) | set(re.findall(r"\{\{(\w+)\}\}", text))
    return found + [f"{{{{{label}}}}}" for label in shown - kept]


def test_alerts_and_dashboard_use_metrics_and_labels_that_reports_write() -> None:
    known = metrics()
    assert {fault for expression, text in expressions() for fault in faults_of(expression, text, known)} == set()
    # The reader finds what does not exist: a metric, a label, a value, a label that the sum drops.
    for wrong in (
        "gitlab_port_export_nothing > 0",
        'gitlab_port_export_entities{kind="x"}',
        'gitlab_port_export_entities{result="removed"}',
        "sum by (kind) (gitlab_port_export_entities)",
    ):
        assert faults_of(wrong, "", known)
    assert faults_of("sum by (kind) (gitlab_port_export_kind_rows)", "{{integration}}", known)


def test_there_are_four_alerts_and_the_page_describes_them() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert len(alerts()) == 4
    assert all(f"| `{one['alert']}` |" in page for one in alerts())
    assert all({"summary", "description"} <= set(one["annotations"]) for one in alerts())
    assert len({panel["id"] for panel in dashboard()["panels"]}) == len(dashboard()["panels"])


def test_every_metric_of_the_page_of_reports_exists_and_the_reverse() -> None:
    page = (ROOT / "docs" / "reports.md").read_text(encoding="utf-8")
    table = page.split("### Metrics")[1].split("\n## ")[0]
    named = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert {f"gitlab_port_export_{name}" for name in named} == set(metrics())


# --- the message of a failed run


@contextmanager
def webhook(taken: list[Any], status: int = 200) -> Iterator[str]:
    """A webhook that keeps what it is sent; its path is the secret."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/services/secret-path"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def machine(bench: Bench) -> Machine:
    made = Machine(bench)
    for folder in (made.work, made.work / "checkout"):
        folder.mkdir(exist_ok=True)
        (folder / "message.py").write_text((FOLDER / "message.py").read_text(encoding="utf-8"), encoding="utf-8")
        # A module of the checkout must not be imported.
        (folder / "json.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    return made


def report_with(text: str) -> dict[str, Any]:
    problem = {"stage": "read", "why": text, "scope": "acme/shop", "warning": False, "count": 1}
    meaning = {"code": 1, "meaning": "finished with Problems"}
    return {"integration": "acme", "exit": meaning, "problems": [problem], "total": {"held": 2}}


def recipe(system: str) -> str:
    page = PAGE.read_text(encoding="utf-8")
    (found,) = re.findall(rf"<!-- message: {system} -->\n```\w+\n(.*?)```", page, re.DOTALL)
    return str(found)


def script_of(system: str) -> str:
    """The script of a recipe."""
    text = recipe(system)
    if system == "cron":
        return text
    if system == "jenkins":
        return re.findall(r"sh '''(.*?)'''", text, re.DOTALL)[0]
    data = yaml.safe_load(text)
    if system == "gitlab":
        assert data["message"]["rules"][0]["when"] == "on_failure"
        return "\n".join(data["message"]["script"])
    step = data[-1]
    for pinned in re.findall(r"uses: (.*)", text):
        assert pinned in (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    assert step.get("if", step.get("condition")) in ("failure()", "failed()")
    assert list(step["env"]) == ["MESSAGE_WEBHOOK_URL"]
    return str(step.get("run", step.get("script")))


@pytest.mark.parametrize("system", ["github", "gitlab", "azure", "jenkins", "cron"])
@pytest.mark.parametrize("form", ["slack", "teams"])
def test_a_failed_run_is_told_with_its_text_as_it_is_and_no_secret_on_a_command_line(
    system: str, form: str, machine: Machine, tmp_path: Path
) -> None:
    words = machine.temp / "words"
    for name in ("python", "python3"):
        machine.program(name, f'#!/bin/sh\nprintf "%s\\n" "$@" >>{words}\nexec {sys.executable} "$@"\n')
    staging, library = machine.work / "staging", machine.work / "checkout"
    for file in (machine.work / "report.json", machine.work / "report" / "report.json", staging / "report.json"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(report_with(EVIL)), encoding="utf-8")
    taken: list[Any] = []
    with webhook(taken) as address:
        secret = machine.work / "webhook"
        secret.write_text(address, encoding="utf-8")
        script = (
            script_of(system).replace("/usr/local/lib", str(library)).replace("message.py slack", f"message.py {form}")
        )
        script = script.replace("/etc/gitlab-port-export.webhook", str(secret))
        env = {
            "MESSAGE_WEBHOOK_URL": address,
            "GITHUB_SERVER_URL": "https://ci.example.com",
            "CI_PIPELINE_URL": "https://ci.example.com/7",
            "BUILD_URL": "https://ci.example.com/7",
            "SYSTEM_COLLECTIONURI": "https://ci.example.com/",
            "BUILD_ARTIFACTSTAGINGDIRECTORY": str(staging),
        }
        if system == "cron":
            del env["MESSAGE_WEBHOOK_URL"]
        ran = machine.run(["sh", "-e"], script, env)
    assert (ran.code, ran.all) == (0, "")
    (sent,) = taken
    if form == "slack":
        shown = sent["blocks"][0]["text"]
        assert (shown["type"], shown["emoji"], sent["text"]) == ("plain_text", False, "gitlab-port-export failed")
    else:
        (block,) = sent["attachments"][0]["content"]["body"]
        assert block["type"] == "RichTextBlock"
        (shown,) = block["inlines"]
        assert shown["type"] == "TextRun"
    assert shown["text"].startswith("gitlab-port-export acme: finished with Problems (exit 1, 2 deletions held)\n")
    assert f"- acme/shop: {EVIL}\n" in shown["text"]
    assert system == "cron" or "https://ci.example.com" in shown["text"]
    assert words.read_text(encoding="utf-8").splitlines()[0] == "-I"
    assert "secret-path" not in words.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "address", ["", "secret-path", "http://127.0.0.1:1/secret path", "ftp://127.0.0.1/secret-path"]
)
def test_a_message_that_is_not_sent_fails_and_does_not_show_the_address(address: str, machine: Machine) -> None:
    ran = machine.run(["sh", "-e"], "python3 -I message.py slack none.json x", {"MESSAGE_WEBHOOK_URL": address})
    assert ran.code == 1
    assert ran.all.startswith("The message was not sent: ")
    assert "path" not in ran.all.replace("MESSAGE_WEBHOOK_URL", "")


def test_a_webhook_that_refuses_is_named_by_its_status_and_a_missing_report_is_said(machine: Machine) -> None:
    taken: list[Any] = []
    with webhook(taken, 404) as address:
        ran = machine.run(["sh", "-e"], "python3 -I message.py slack none.json x", {"MESSAGE_WEBHOOK_URL": address})
    assert (ran.code, ran.err) == (1, "The message was not sent: HTTPError 404\n")
    assert taken[0]["blocks"][0]["text"]["text"] == "gitlab-port-export failed and left no report.\nx"


def test_the_message_reads_the_report_of_a_run_that_failed(bench: Bench, machine: Machine) -> None:
    ran = bench.run("sync", "--report-json", str(machine.work / "report.json"), OCEAN__PORT__CLIENT_SECRET="wrong")
    assert ran.returncode == 4
    taken: list[Any] = []
    with webhook(taken) as address:
        script = "python3 -I message.py teams report.json x"
        assert machine.run(["sh", "-e"], script, {"MESSAGE_WEBHOOK_URL": address}).code == 0
    assert "Port refused or could not be reached" in json.dumps(taken)
