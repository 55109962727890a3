"""Keys and digests of entities are the same in every process; different entities have different keys."""

import os
import subprocess
import sys

import pytest

from gitlab_port_export.port.keys import BITS, entity_key, target_key

PRINT_KEYS = """
from gitlab_port_export.port.keys import entity_key, target_key
from gitlab_port_export.port.digests import digests
print(entity_key("service", "acme/web"), target_key("service", "acme/web"), entity_key("größe", "ß \\ud800"))
print(digests({"title": "x", "properties": {"list": [1, "a"]}, "relations": {"r": ["b", "a"]}},
              ["title", "properties.list", "relations.r"]))
"""


def printed(seed: str) -> str:
    """What a process of its own prints; the seed is that of Python's `hash`."""
    environ = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", PRINT_KEYS]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60).stdout


def test_keys_and_digests_are_the_same_in_every_process() -> None:
    assert printed("1") == printed("2")


def test_a_key_never_changes() -> None:
    assert entity_key("service", "acme/web") == 0xADBFB85119F394C
    assert target_key("service", "acme/web") == entity_key("service", "acme/web")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "b"), ("b", "a")),
        (("ab", "c"), ("a", "bc")),
        (("service", "x"), ("group", "x")),
        (("service", "x"), ("service", "X")),
    ],
)
def test_different_entities_have_different_keys(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert entity_key(*one) != entity_key(*other)
    assert 0 <= entity_key(*one) <= BITS
