"""Tests of JSON in and out."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitlab_port_export.base.jsontext import decode, encode, in_words, is_deep

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=50)
@given(plain)
def test_what_is_written_is_json(value: Any) -> None:
    assert json.loads(encode(value)) == value


@settings(max_examples=50)
@given(plain)
def test_what_is_read_is_what_json_says(value: Any) -> None:
    text = json.dumps(value)
    assert decode(text) == decode(text.encode()) == json.loads(text)


@pytest.mark.parametrize("text", ["[{}]", '{{"a":{}}}', "[1, {}]", "[1,\n{}\n]", "[\t{}]", "[1,\r\n{}]"])
@pytest.mark.parametrize("number", [2**63, 2**64, -(2**63) - 1, 10**30, -(10**30), 10**500], ids=range(6))
def test_whole_numbers_stay_whole(text: str, number: int) -> None:
    whole = text.format(number)
    assert repr(decode(whole)) == repr(json.loads(whole))


def test_lone_surrogates_are_no_characters() -> None:
    assert decode(rb'{"a": ["x\ud800", "\ud83d\ude00"], "\udfff": 1}') == {"a": ["x\ufffd", "😀"], "\ufffd": 1}
    assert decode(encode(["\ud800"])) == ["\ufffd"]


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b'{"a": NaN}', b"Infinity", b"\xff", b'"a', b"[1]2"])
def test_anything_else_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(body)


def test_deep_nesting_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(b"[" * 100_000 + b"]" * 100_000)


def test_what_nests_too_deeply_is_not_written() -> None:
    for levels, deep in ((240, False), (250, False), (260, True), (100_000, True)):
        value: Any = 1
        for _ in range(levels):
            value = [value]
        assert is_deep(value) is is_deep([10**30, value, 1] if levels < 250 else value) is deep
    with pytest.raises(ValueError, match="nests more than 254 levels deep"):
        encode(value)
    assert "nests more than" in in_words(value, 80)
    assert in_words({"a": ["b"]}, 80) == '{"a":["b"]}'


def test_big_numbers_are_written_whole() -> None:
    assert encode({"a": 10**30}) == b'{"a":1000000000000000000000000000000}'
    with pytest.raises(TypeError):
        orjson.dumps(10**30)
