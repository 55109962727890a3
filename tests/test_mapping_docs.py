"""docs/mapping.md: its generated parts are current, every kind is told of, and every example does what it says."""

import json
import re
import runpy
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitlab_port_export.demo.gitlab import GitLabServer
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.mapping.blueprints import constant_blueprint
from gitlab_port_export.port import defaults
from testbed.harness import blueprint, mapping_of, port_with, process_environ, run_sync

ROOT = Path(__file__).parent.parent
TOOL = runpy.run_path(str(ROOT / "tools" / "mapping_docs.py"))
PAGE = (ROOT / "docs" / "mapping.md").read_text("utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
TEXTS = [block for block in BLOCKS if yaml.safe_load(block)]
EXAMPLES = [yaml.safe_load(block) for block in TEXTS]
SECTIONS = dict(re.findall(r"^### `([\w-]+)`\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE))


def test_the_generated_parts_are_current() -> None:
    tool = [sys.executable, str(ROOT / "tools" / "mapping_docs.py"), "--check"]
    ran = subprocess.run(tool, env=process_environ({}), capture_output=True, text=True, timeout=100, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_told_of_and_has_an_example(kind: str) -> None:
    about = KINDS[kind].about
    assert about.what.endswith(".")
    assert about.endpoints
    # What happens below the role is one of two things.
    assert bool(about.role) == bool(about.hides or about.refuses)
    assert not (about.hides and about.refuses)
    assert kind in SECTIONS, f"docs/mapping.md has no section `{kind}`"
    examples = re.findall(r"^```yaml\n(.*?)^```", SECTIONS[kind], re.DOTALL | re.MULTILINE)
    assert len(examples) == 1, f"the section `{kind}` of docs/mapping.md needs one example"
    assert [resource["kind"] for resource in yaml.safe_load(examples[0])] == [kind]


def test_no_section_is_left_of_a_kind_that_is_gone() -> None:
    assert set(SECTIONS) == set(KINDS)


# Properties of the examples that are no text.
TYPES = {"labels": "array", "reviewers": "array", "isArchived": "boolean", "protected": "boolean", "locked": "boolean"}
TARGETS = {"service": "service"}


def whole(example: Any) -> Any:
    return example if isinstance(example, dict) else mapping_of(*example)


def blueprints(*mappings: Any) -> list[dict[str, Any]]:
    """The blueprints that the mappings fill and lead to."""
    found = {"service": blueprint("service", url="string", description="string")}
    for resource in (resource for mapping in mappings for resource in mapping["resources"]):
        entity = resource["port"]["entity"]["mappings"]
        name = constant_blueprint(entity["blueprint"]) or ""
        relations = {key: TARGETS.get(key, name) for key in entity.get("relations", {})}
        properties = {key: TYPES.get(key, "string") for key in entity.get("properties", {})}
        many = {key: [target] if key.endswith("s") else target for key, target in relations.items()}
        found[name] = blueprint(name, many, **properties)
    return list(found.values())


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_every_example_makes_entities(number: int) -> None:
    mapping = whole(EXAMPLES[number])
    world = TOOL["world"]()
    # What a relation finds by a query must be there already.
    store = port_with(*blueprints(mapping))
    if "combinator" in TEXTS[number]:
        run_sync(world, store, EXAMPLES[0])
        mapping = mapping_of(*mapping["resources"], *EXAMPLES[0]["resources"])
    ran = run_sync(world, store, mapping)
    assert ran.report.exit_code == 0, ran.report.problems
    assert ran.report.problems == ()
    for resource in mapping["resources"]:
        entity = resource["port"]["entity"]["mappings"]
        name = constant_blueprint(entity["blueprint"]) or ""
        written = [ran.store.entity(name, identifier) or {} for identifier in ran.store.snapshot()[name]]
        assert written
        # Each field of the example gives something for some row.
        for key in entity.get("properties", {}):
            assert any(one["properties"].get(key) not in (None, [], "") for one in written), key
        for key in entity.get("relations", {}):
            assert any(one["relations"].get(key) for one in written), key
    _asks_only_what_the_page_says(ran.gitlab, mapping)


@pytest.mark.parametrize("file", ["people-blueprints.json", "lists-blueprints.json"])
def test_examples_fit_the_blueprints_that_ship(file: str) -> None:
    shipped = {data["identifier"]: data for data in json.loads((files(defaults) / file).read_text("utf-8"))}
    seen = set()
    for resource in (resource for example in EXAMPLES for resource in whole(example)["resources"]):
        entity = resource["port"]["entity"]["mappings"]
        if data := shipped.get(constant_blueprint(entity["blueprint"]) or ""):
            seen.add(data["identifier"])
            assert set(entity["properties"]) <= set(data["schema"]["properties"])
            assert set(entity.get("relations", {})) <= set(data["relations"])
    assert seen == set(shipped)


def _asks_only_what_the_page_says(gitlab: GitLabServer, mapping: Any) -> None:
    told = {endpoint for resource in mapping["resources"] for endpoint in KINDS[resource["kind"]].about.endpoints}
    told |= {"GET /user", "GET /groups", "GET /projects"}
    for name in ("__languages", "__labels"):
        said = str(KINDS["project"].about.adds[name])
        told.update(re.findall(r"`((?:GET|POST) [^`]+)`", said))
    parts = (endpoint.partition(" ")[2].replace(":file_path", ".+") for endpoint in told)
    patterns = [re.compile(re.sub(r":\w+", "[^/]+", part)) for part in parts]
    asked = {request.path for request in gitlab.requests}
    assert [path for path in asked if not any(pattern.fullmatch(path) for pattern in patterns)] == []
