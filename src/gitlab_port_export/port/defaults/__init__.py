"""The catalog that a new Port organisation gets: blueprints, and a mapping for each integration type."""

import json
from importlib.resources import files
from typing import Any, Literal

from gitlab_port_export.model import Dialect

_MAPPINGS: dict[Dialect, str] = {"gitlab-v2": "mapping.yml", "gitlab": "mapping-v1.yml"}
# A mapping to begin with: the kinds that Ocean maps, all of the default mapping, or accounts and their roles alone.
Preset = Literal["ocean", "full", "people"]


def default_blueprints() -> list[dict[str, Any]]:
    """Return the blueprints that the default mappings fill, as Port's API takes them."""
    blueprints: list[dict[str, Any]] = json.loads(_text("blueprints.json"))
    return blueprints


def default_mapping_text(dialect: Dialect) -> str:
    """Return the YAML text of the mapping that is used where there is no other."""
    return _text(_MAPPINGS[dialect])


def preset_text(preset: Preset, dialect: Dialect) -> str:
    """Return the YAML text of a mapping to begin with."""
    if preset == "full":
        return default_mapping_text(dialect)
    return _text(f"{'people-mapping' if preset == 'people' else 'mapping-ocean'}.yml")


def _text(name: str) -> str:
    return files(__name__).joinpath(name).read_text("utf-8")
