"""The catalog that a new Port organisation gets: blueprints, and a mapping for each integration type."""

import json
from importlib.resources import files
from typing import Any

from gitlab_port_export.model import Dialect

_MAPPINGS: dict[Dialect, str] = {"gitlab-v2": "mapping.yml", "gitlab": "mapping-v1.yml"}


def default_blueprints() -> list[dict[str, Any]]:
    """Return the blueprints that the default mappings fill, as Port's API takes them."""
    blueprints: list[dict[str, Any]] = json.loads(_text("blueprints.json"))
    return blueprints


def default_mapping_text(dialect: Dialect) -> str:
    """Return the YAML text of the mapping that is used where there is no other."""
    return _text(_MAPPINGS[dialect])


def _text(name: str) -> str:
    return files(__name__).joinpath(name).read_text("utf-8")
