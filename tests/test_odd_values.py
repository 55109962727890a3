"""Whatever stands in a setting, an option or a file: an answer for the user, never exit 70."""

import io
import json
import os
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.errors import ExportError, Interrupted
from gitlab_port_export.commands import check, preview
from gitlab_port_export.commands.ending import BUG, fail
from gitlab_port_export.commands.preview_values import PreviewRequest
from gitlab_port_export.commands.run import run
from gitlab_port_export.commands.session import Session
from gitlab_port_export.demo.gitlab import GitLabServer, gitlab_server
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.world import sample_world
from gitlab_port_export.settings.settings import SETTINGS
from testbed.harness import NoWait, blueprint, environ_for, mapping_of, port_with, resource

pytestmark = pytest.mark.usefixtures("lent_evaluator")

ODD = (
    "", " ", "0", "-1", "0.001s", "1e999", "9" * 30, "a" * 5000, "\udcff", "\0", "{", "[]", "null", '{"a": {}}', "/",
    "/nowhere/x", "folder", "binary", "é🌿", "http://[", "http://127.0.0.1:1", "https://a:b@c", "%s%n", "-", "nan",
    "${X}",
)  # fmt: skip
COMMANDS = ("plan", "check", "preview")
ROWS: dict[str, bytes] = {
    "nothing": b"",
    "numbers": b"[1,2]",
    "null": b"null",
    "deep": b"[" * 5000 + b"]" * 5000,
    "a deep object": b'{"a":' * 300 + b"1" + b"}" * 300,
    "no number": b'[{"id":NaN}]',
    "a large number": b'[{"id":' + b"9" * 5000 + b"}]",
    "infinite": b'{"id":1e999}',
    "half a character": b'{"name":"\\ud800"}',
    "bytes": bytes(range(256)),
    "another encoding": '{"id":1}'.encode("utf-16"),
    "strange keys": b'{"":{"":[]}}',
    "a strange file": b'{"file":{"path":5},"repo":7}',
    "strange types": b'{"id":{"a":1},"default_branch":5,"path_with_namespace":[1],"name":"a\\u0000b"}',
}
BLUEPRINTS: dict[str, Any] = {
    "no list": {},
    "no name": [{"title": "a"}],
    "a strange name": [{"identifier": ["a"]}],
    "a strange schema": [{"identifier": "a", "schema": 5}],
    "strange properties": [{"identifier": "a", "schema": {"properties": {"p": 5}, "required": [{}]}}],
    "a strange type": [
        {"identifier": "thing", "title": "t", "schema": {"properties": {"p": {"type": {}, "enum": 5, "minimum": "x"}}}}
    ],
    "a strange relation": [{"identifier": "a", "relations": {"x": {}}}],
}


@pytest.fixture(scope="module")
def gitlab() -> Iterator[GitLabServer]:
    with gitlab_server(sample_world(datetime.now(UTC))) as server:
        yield server


def ended(
    environ: dict[str, str],
    folder: Path,
    command: str,
    wish: PreviewRequest | None = None,
    make_clock: type[Clock] = NoWait,
    **options: Any,
) -> int:
    """Do what the command line does and return the exit code; the traceback of a bug fails the test."""
    os.chdir(folder)
    out, err = io.StringIO(), io.StringIO()
    session = Session(out, err, environ, as_json=True, make_clock=make_clock)
    try:
        if command == "check":
            return check.run(session, **options)
        if command == "preview":
            return preview.run(session, wish or PreviewRequest("project", 1), **options)
        return run(session, "sync" if command == "sync" else "plan", **options)
    except (ExportError, Interrupted) as error:
        return fail(session, command, error)
    except Exception:  # noqa: BLE001  # whatever it is, it is a bug
        pytest.fail(traceback.format_exc())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))  # `-` names standard input
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    mapping = mapping_of(resource("project", "thing", query="false", properties={"size": "file://README.md"}))
    (tmp_path / "m.yml").write_text(json.dumps(mapping), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", SETTINGS)
def test_no_value_of_a_setting_is_a_bug(name: str, folder: Path, gitlab: GitLabServer) -> None:
    """One command a value, the next one for the next value."""
    variable = SETTINGS[name].variable
    start = list(SETTINGS).index(name)
    with port_server(port_with(blueprint("thing", size="string"))) as port:
        usual = environ_for(gitlab, port) | {"OCEAN__EXPORT__MAPPING": "m.yml"}
        for number, odd in enumerate(ODD, start):
            assert ended(usual | {variable: odd}, folder, COMMANDS[number % len(COMMANDS)]) != BUG, odd


@pytest.mark.parametrize("option", ["mapping_file", "out", "plan", "report_json", "report_html"])
def test_no_name_of_a_file_is_a_bug(option: str, folder: Path, gitlab: GitLabServer) -> None:
    with port_server(port_with(blueprint("thing", size="string"))) as port:
        usual = environ_for(gitlab, port) | {"OCEAN__EXPORT__MAPPING": "m.yml"}
        for odd in ODD:
            command = "sync" if option == "plan" else "plan"
            assert ended(usual, folder, command, **{option: Path(odd)}) != BUG, odd


@pytest.mark.parametrize("command", [*COMMANDS, "sync"])
def test_no_deadline_is_a_bug(command: str, folder: Path, gitlab: GitLabServer) -> None:
    """A deadline may pass between any two steps."""
    with port_server(port_with(blueprint("thing", size="string"))) as port:
        usual = environ_for(gitlab, port) | {"OCEAN__EXPORT__MAPPING": "m.yml"}
        for seconds in (0.0001, 0.001, 0.004, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12):
            assert ended(usual, folder, command, make_clock=Clock, deadline=f"{seconds:.4f}s") != BUG


@pytest.mark.parametrize("row", ROWS)
def test_no_saved_row_is_a_bug(row: str, folder: Path, gitlab: GitLabServer) -> None:
    kinds = ("project", "file", "job", "access")
    fields = {"title": ".name", "properties": {"a": "file://README.md", "b": '.a[0].b | test("x")'}}
    mapping = mapping_of(*(resource(kind, "thing", **fields) for kind in kinds))
    (folder / "m.yml").write_text(json.dumps(mapping), encoding="utf-8")
    (folder / "row").write_bytes(ROWS[row])
    for kind in kinds:
        wish = PreviewRequest(kind, 3, None, "row")
        assert ended({}, folder, "preview", wish, mapping_file=Path("m.yml")) in (0, 1, 2)


@pytest.mark.parametrize("blueprints", BLUEPRINTS)
def test_no_blueprint_of_a_resources_folder_is_a_bug(blueprints: str, folder: Path, gitlab: GitLabServer) -> None:
    (folder / "resources").mkdir()
    (folder / "resources" / "port-app-config.yml").write_text((folder / "m.yml").read_text("utf-8"), "utf-8")
    (folder / "resources" / "blueprints.json").write_text(json.dumps(BLUEPRINTS[blueprints]), encoding="utf-8")
    for command in (*COMMANDS, "sync"):
        with port_server(port_with()) as port:
            usual = environ_for(gitlab, port) | {"OCEAN__RESOURCES_PATH": "resources"}
            assert ended(usual, folder, command) != BUG


@pytest.mark.parametrize(
    "content",
    [
        b"OCEAN__EXPORT__MAPPING=a\0b\n",
        bytes(range(256)),
        b"=\n==\nOCEAN__=\nOCEAN____=x\nOCEAN__INTEGRATION__CONFIG=[]\n'\n",
    ],
)
def test_no_env_file_is_a_bug(content: bytes, folder: Path, gitlab: GitLabServer) -> None:
    (folder / ".env").write_bytes(content)
    with port_server(port_with(blueprint("thing", size="string"))) as port:
        for command in COMMANDS:
            assert ended(environ_for(gitlab, port), folder, command, mapping_file=Path("m.yml")) != BUG
