"""What is in a file: JSON and YAML as Ocean's integrations parse them, and what may not hurt."""

import base64
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitlab_port_export.base.jsontext import encode
from gitlab_port_export.gitlab.content import (
    MAX_BYTES,
    MAX_TEXT,
    Unreadable,
    documents,
    extent,
    parsed,
    references,
    resolved,
    text_of,
)

# Text → what `gitlab-v2` and what `gitlab` make of it; `...`: it stays text.
YAML: dict[str, tuple[Any, Any]] = {
    "a: 1": ([{"a": 1}], {"a": 1}),
    "- x": (["x"], ["x"]),
    "# nothing": ([None], ...),
    "": (..., ...),
    " \n": (..., ...),
    "null": (None, None),
    '{"a": 1}': ({"a": 1}, {"a": 1}),
    "[1, 2]": ([1, 2], [1, 2]),
    "a: 1\n---\nb: 2\n": ([{"a": 1}, {"b": 2}], [{"a": 1}, {"b": 2}]),
    "a: 1\n---\n- b\n- c\n---\n\n---\nd\n": ([{"a": 1}, "b", "c", "d"], [{"a": 1}, ["b", "c"], None, "d"]),
    "a: 1\r\n---\r\nb: 2": (..., [{"a": 1}, {"b": 2}]),
    "a: 1\n--- \nb: 2": (..., [{"a": 1}, {"b": 2}]),
    "a: 2024-13-45": ([{"a": "2024-13-45"}], {"a": "2024-13-45"}),
    "a: 2024-02-03": ([{"a": "2024-02-03"}], {"a": "2024-02-03"}),
    "a: 2024-02-03 10:00:00 +02:00": ([{"a": "2024-02-03T10:00:00+02:00"}], {"a": "2024-02-03T10:00:00+02:00"}),
    "on: [push]\n1: x\n~: y": ([{"true": ["push"], "1": "x", "null": "y"}], {"true": ["push"], "1": "x", "null": "y"}),
    "a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}": (
        [{"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}],
        {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}},
    ),
    "a: !reference [b]": (..., ...),
    "a: !!python/object:os.system {}": (..., ...),
    "a: [1": (..., ...),
    "? {a: 1}\n: 2": (..., ...),
    "&a [*a]": (..., ...),
    'a: "\\U00110000"': (..., ...),
}


@pytest.mark.parametrize("text", YAML)
@pytest.mark.parametrize("ending", ["yml", "yaml"])
def test_yaml_is_parsed_as_ocean_parses_it(text: str, ending: str) -> None:
    for dialect, expected in zip(("gitlab-v2", "gitlab"), YAML[text], strict=True):
        found = parsed(text, f"a.{ending}", dialect)  # type: ignore[arg-type]  # a loop over literals
        assert found == (text if expected is ... else expected), dialect


@pytest.mark.parametrize("dialect", ["gitlab", "gitlab-v2"])
def test_json_and_other_files(dialect: Any) -> None:
    assert parsed('{"a": [1, null]}', "a.json", dialect) == {"a": [1, None]}
    assert parsed("", "a.json", dialect) == ""
    assert parsed("{oops", "b/a.txt", dialect) == "{oops"
    assert parsed("a: 1", "a.YAML", dialect) == "a: 1"
    assert parsed("{oops: 1", "a.json", dialect) == "{oops: 1"


def test_gitlab_v2_takes_yaml_in_a_json_file() -> None:
    assert parsed("a: 1", "a.json", "gitlab-v2") == [{"a": 1}]
    assert parsed("a: 1", "a.json", "gitlab") == "a: 1"


def test_numbers_that_json_does_not_have_are_null() -> None:
    assert parsed("a: .nan\nb: [.inf, -.inf, 1.5]", "a.yml", "gitlab") == {"a": None, "b": [None, None, 1.5]}


LETTERS = "abcdefghij"


def laughs(item: str) -> str:
    """A text of a few lines whose aliases stand for nine to the ninth values."""
    lines = [f"a: &a {item}"]
    for before, name in pairwise(LETTERS):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    return "\n".join(lines)


def merged_laughs() -> str:
    lines = ["a: &a {x: 1}"]
    for before, name in pairwise(LETTERS):
        lines.append(f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}")
    return "\n".join(lines)


def long_laughs(length: int, times: int) -> str:
    return f"a: &a {'x' * length}\nb: [{', '.join(['*a'] * times)}]"


HOSTILE = {
    "laughs": laughs("[x, x, x]"),
    "long laughs": long_laughs(100_000, 1000),
    "long keys": f"a: &a {'x' * 900}\nb: [{', '.join(['{*a : 1}'] * 9000)}]",
    "long laughs in parts": "\n---\n".join([long_laughs(MAX_TEXT // 1000, 900)] * 9),
    "merged laughs": merged_laughs(),
    "deep lists": "[" * 100_000,
    "deep objects": "{a: " * 50_000,
    "deep dashes": "- " * 100_000,
    "long number": "a: " + "9" * 100_000,
    "long octal": "a: 0" + "7" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("dialect", ["gitlab", "gitlab-v2"])
def test_a_hostile_file_is_text(name: str, dialect: Any) -> None:
    """Without bounds, reading these never ends, or ends the process."""
    assert parsed(HOSTILE[name], "a.yaml", dialect) == HOSTILE[name]


@settings(max_examples=80, derandomize=True, deadline=None, database=None)
@given(st.text(alphabet="ab:-[]{}&*!|>'\"#, \n\t\r~%@?.019é\u2028", max_size=40))
def test_whatever_a_file_holds_becomes_json(text: str) -> None:
    for path in ("a.json", "a.yml"):
        for dialect in ("gitlab", "gitlab-v2"):
            encode(parsed(text, path, dialect))  # type: ignore[arg-type]  # a loop over literals


def api(content: bytes, **more: Any) -> dict[str, Any]:
    return {"content": base64.b64encode(content).decode(), "encoding": "base64", **more}


def test_text_within_bounds() -> None:
    assert text_of(api("größe\n".encode())) == "größe\n"
    assert text_of({"content": "plain", "encoding": "text"}) == "plain"
    assert len(text_of(api(b"x" * MAX_BYTES))) == MAX_BYTES


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (api(b"x" * (MAX_BYTES + 1)), "larger than 1 MiB"),
        (api(b"\xff\xfe"), "no UTF-8"),
        ({"content": "a", "encoding": "base64"}, "no UTF-8"),
    ],
)
def test_what_is_no_text_says_why(file: dict[str, Any], why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        text_of(file)


def test_references_are_values_of_objects_only() -> None:
    content = {
        "a": "file://x.md",
        "b": [{"c": "file://d/y.md"}, "file://not.md", [{"e": "file://x.md"}]],
        "f": "file:///absolute",
        "g": " file://blank",
        "h": "file://",
    }
    assert list(references(content)) == ["x.md", "d/y.md", "x.md"]
    assert resolved(content, {"x.md": "X", "d/y.md": None}) == {
        **content,
        "a": "X",
        "b": [{"c": None}, "file://not.md", [{"e": "X"}]],
    }


def test_references_to_too_much_text_are_refused() -> None:
    once = {"a": "file://x"}
    assert resolved([once] * 4, {"x": "x" * MAX_BYTES}) == [{"a": "x" * MAX_BYTES}] * 4
    with pytest.raises(Unreadable, match="refers to more than 4 MiB of text"):
        resolved([once] * 5, {"x": "x" * MAX_BYTES})


def test_what_a_file_stands_for_counts_and_not_what_it_holds() -> None:
    content = parsed(long_laughs(1000, 1000), "a.yml", "gitlab")
    assert extent(content) == pytest.approx(len(encode(content)), rel=0.01)
    assert extent({"a": None, "b": [1, "größe"]}) < 40


def test_documents_of_a_stream() -> None:
    assert documents("a: 1\n---\n- b\n", "a.yml") == [{"a": 1}, ["b"]]
    assert documents("[1]", "a.json") == [[1]]
    for text, path in (("a: [", "a.yml"), ("{", "a.json"), (laughs("x"), "a.yml")):
        with pytest.raises(Unreadable):
            documents(text, path)
