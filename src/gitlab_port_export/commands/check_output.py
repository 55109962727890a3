"""The output of `check`: its findings as lines or as JSON."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from gitlab_port_export.base.text import clean
from gitlab_port_export.commands.checks.finding import Finding
from gitlab_port_export.report.json import SCHEMA_VERSION, dumps
from gitlab_port_export.report.words import some

_STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}


def render(findings: Sequence[Finding], code: int, following: str, console: Console) -> None:
    """Print one line a finding and what to do about it; the last lines say whether a sync can run, and what is next."""
    for line in _lines(findings, code, following):
        console.print(line, soft_wrap=not console.is_terminal)


def _lines(findings: Sequence[Finding], code: int, following: str) -> Iterator[Text]:
    for finding in findings:
        where = "" if finding.where == finding.area else f"{finding.where}: "
        yield Text.assemble(
            (f"{finding.level:<8}", _STYLES[finding.level]), f"{finding.area:<9}", clean(f"{where}{finding.what}")
        )
        if finding.hint:
            yield Text(f"{'':<8}{'':<9}→ {clean(finding.hint)}")
    yield Text()
    ends = f" (exit {code})" if code else ""
    yield Text(f"{meaning(findings)}{ends}", "bold red" if code else "bold green")
    before = "correct what is wrong, then " if code else ""
    yield Text(f"Next: {before}{clean(following)}")


def meaning(findings: Sequence[Finding]) -> str:
    """Return the outcome in one sentence."""
    found = Counter(finding.level for finding in findings)
    counts = ", ".join(some(found[level], level) for level in ("error", "warning") if found[level])
    if found["error"]:
        return f"A sync would fail: {counts}."
    return f"Checks passed with {counts}." if counts else "All checks passed."


def to_json(findings: Sequence[Finding], code: int, following: str) -> str:
    """Return the findings as one JSON document with a newline at its end; keys are only ever added."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "command": "check",
        "exit": {"code": code, "meaning": meaning(findings)},
        "next": following,
        "findings": [asdict(finding) for finding in findings],
    }
    return dumps(document)
