"""Streams that fail: a run goes on without them, and its exit code is its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Bench
from gitlab_port_export.base.stream import Stream
from testbed.harness import process_environ

COMMAND = f"{sys.executable} -m gitlab_port_export sync"

FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")


def shell(bench: Bench, line: str) -> subprocess.CompletedProcess[str]:
    """What a shell gives for a line that ends in an echo of the exit code, which goes to a file."""
    return subprocess.run(
        ["bash", "-c", line], env=process_environ(bench.environ()), cwd=bench.folder,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (">&-", "0"),
        ("2>&-", "0"),
        (">&- 2>&-", "0"),
        ("| head -c 1", "0"),
        ("--output json | head -c 1", "0"),
        ("2>&1 >/dev/null | true", "0"),
        pytest.param(">/dev/full", "1", marks=FULL),
        pytest.param("2>/dev/full", "0", marks=FULL),
    ],
)
def test_a_stream_that_fails_ends_no_run(end: str, code: str, bench: Bench) -> None:
    ran = shell(bench, f"{COMMAND} {end}; echo ${{PIPESTATUS[0]}} >code")
    assert (bench.folder / "code").read_text() == f"{code}\n"
    assert "Traceback" not in ran.stderr
    assert bench.states() == ["running", "completed"]
    assert bench.store.identifiers("service")
    assert ("cannot be written" in ran.stderr) == (end == ">/dev/full")


def test_what_cannot_be_shown_in_the_encoding_is_escaped() -> None:
    receiving, sending = os.pipe()
    with open(receiving, "rb") as reader, open(sending, "w", encoding="ascii") as stream:
        shown = Stream(stream)
        assert (shown.encoding, shown.isatty(), shown.fileno()) == ("ascii", False, sending)
        assert shown.write("→ 🌿") == 3
        shown.flush()
        assert reader.read1() == b"\\u2192 \\U0001f33f"


def test_a_reader_that_left_is_no_failure() -> None:
    receiving, sending = os.pipe()
    with open(sending, "w", encoding="utf-8") as stream:
        shown = Stream(stream)
        os.close(receiving)
        shown.write("x" * 100_000)
        shown.flush()
        assert (shown.failure, shown.encoding, shown.isatty()) == ("", "utf-8", False)
        with pytest.raises(OSError, match="closed"):
            shown.fileno()
        # The interpreter would complain of what is still to be flushed.
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), sending)
