"""The report as JUnit XML: a suite for each kind, a case for each read; held deletions are skipped cases."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from gitlab_port_export.base.text import clean
from gitlab_port_export.model import Held, Problem
from gitlab_port_export.report.exit_code import fails_for_warnings, meaning
from gitlab_port_export.report.values import Counts, Report
from gitlab_port_export.report.words import advice, counted, details, held_words, rhythm_words, run_sums, some, times

# How many identifiers of held deletions a case lists.
MAX_LISTED = 100
# Characters that XML 1.0 cannot hold, not even as a reference: https://www.w3.org/TR/xml/#charsets
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class _Case:
    """One case; `group` is its class name, of which CI systems take the part before the dot as the package."""

    suite: str
    group: str
    name: str
    seconds: float = 0.0
    failures: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    said: tuple[str, ...] = ()


def render(report: Report) -> str:
    """Return JUnit XML as Jenkins, GitLab and Azure Pipelines read it, with a newline at its end."""
    root = Element("testsuites", name="gitlab-port-export")
    cases = _joined([*_run(report), *_reads(report), *_catalog(report)])
    for name, found in groupby(cases, key=lambda case: case.suite):
        group = list(found)
        named = {"name": _xml(name), "timestamp": _timestamp(report)}
        suite = SubElement(root, "testsuite", named | _sums(group))
        for case in group:
            _append(suite, case)
    root.attrib |= _sums(cases)
    indent(root)
    return f"<?xml version='1.0' encoding='utf-8'?>\n{tostring(root, encoding='unicode')}\n"


def _joined(cases: Iterable[_Case]) -> list[_Case]:
    """Return the cases by suite, merged where they have one name; suite "run" comes first and "catalog" last."""
    found: dict[tuple[str, str, str], _Case] = {}
    for case in cases:
        key = case.suite, case.group, case.name
        before = found.get(key, replace(case, seconds=0.0, failures=(), skipped=(), said=()))
        found[key] = replace(
            before,
            seconds=before.seconds + case.seconds,
            failures=before.failures + case.failures,
            skipped=before.skipped + case.skipped,
            said=before.said + case.said,
        )
    order = {"run": 0, "catalog": 2}
    return sorted(found.values(), key=lambda case: (order.get(case.suite, 1), case.suite))


def _run(report: Report) -> Iterator[_Case]:
    """Yield the case of the run itself, which fails when something ended it, and one for each place with problems."""
    said = f"exit {report.exit_code}: {meaning(report)}"
    counts = run_sums(report)
    # Each Problem has a case of its own.
    ended = (said,) if report.exit_code not in (0, 1, 5, 10) or fails_for_warnings(report) else ()
    skipped = (meaning(report),) if report.skipped else ()
    lines = (said, rhythm_words(report), counts if report.blueprints else "")
    left = (f"left to full runs: {one}" for one in report.left)
    yield _Case(
        "run",
        "run",
        report.command,
        report.seconds,
        ended,
        skipped,
        said=(*filter(None, lines), *left),
    )
    for problem in report.problems:
        # The case of the read shows this failure.
        if not problem.warning and problem.stage == "read" and _failed_reads(report, problem.kind):
            continue
        suite = problem.kind or ("catalog" if problem.blueprint else "run")
        case = _Case(suite, f"{problem.stage}.{suite}", problem.scope or problem.blueprint or problem.stage)
        text = _words(problem)
        yield replace(case, said=(f"warning: {text}",)) if problem.warning else replace(case, failures=(text,))


def _failed_reads(report: Report, kind: str) -> int:
    return report.kinds[kind].failed if kind in report.kinds else 0


def _reads(report: Report) -> Iterator[_Case]:
    for read in report.reads:
        name = read.scope or "all of GitLab"
        said = f"{some(read.rows, 'row')}, {some(read.requests, 'request')}"
        failures = (read.failure,) if read.failure else ()
        yield _Case(read.kind, f"read.{read.kind}", name, read.seconds, failures, said=(said,))
    for kind, counts in report.kinds.items():
        listed = [read for read in report.reads if read.kind == kind]
        failed = counts.failed - sum(1 for read in listed if read.failure)
        complete = counts.reads - counts.failed - sum(1 for read in listed if not read.failure)
        if failed > 0:
            yield _Case(kind, f"read.{kind}", "further reads that failed", failures=(f"{failed} more",))
        if complete > 0:
            yield _Case(kind, f"read.{kind}", "further reads", said=(f"{complete} more",))
        if counts.unnamed:
            words = f"{some(counts.unnamed, 'row')} without identifier gave no entity"
            yield _Case(kind, f"transform.{kind}", "rows without identifier", skipped=(words,))


def _catalog(report: Report) -> Iterator[_Case]:
    for name, counts in report.blueprints.items():
        yield _Case("catalog", "write.catalog", name, said=(_counted(counts, report.command),))
        deleted = f"{counts.deleted} {counted('deleted', report.command)}, {counts.held} held"
        yield _Case("catalog", "delete.catalog", name, said=(deleted,))
    for held in report.held:
        yield _Case("catalog", "delete.catalog", held.blueprint, skipped=(_held_words(held),))


def _counted(counts: Counts, command: str) -> str:
    names = ("created", "updated", "unchanged", "failed") if counts.failed else ("created", "updated", "unchanged")
    return ", ".join(f"{getattr(counts, name)} {counted(name, command)}" for name in names)


def _words(problem: Problem) -> str:
    return "; ".join((f"{problem.stage}: {problem.why}{times(problem)}", *details(problem)))


def _held_words(held: Held) -> str:
    listed = held.identifiers[:MAX_LISTED]
    more = f" and {held.count - len(listed)} more" if held.count > len(listed) else ""
    words = "; ".join(filter(None, (held_words([held]), advice(held.hint))))
    return f"{words}: {', '.join(listed)}{more}"


def _append(suite: Element, case: _Case) -> None:
    element = SubElement(
        suite, "testcase", classname=_xml(case.group), name=_xml(case.name), time=f"{case.seconds:.3f}"
    )
    # A case has one outcome. A failure is more important than the deletions that were held because of it.
    if case.failures:
        failure = SubElement(element, "failure", message=_xml(case.failures[0]), type="Problem")
        failure.text = "\n".join(map(_xml, case.failures))
    elif case.skipped:
        SubElement(element, "skipped", message="\n".join(map(_xml, case.skipped)))
    if said := (*case.said, *(case.skipped if case.failures else ())):
        SubElement(element, "system-out").text = "\n".join(map(_xml, said))


def _sums(cases: list[_Case]) -> dict[str, str]:
    failures = sum(1 for case in cases if case.failures)
    skipped = sum(1 for case in cases if case.skipped and not case.failures)
    numbers = {"tests": len(cases), "failures": failures, "errors": 0, "skipped": skipped}
    return {name: str(number) for name, number in numbers.items()} | {
        "time": f"{sum(case.seconds for case in cases):.3f}"
    }


def _timestamp(report: Report) -> str:
    """Return the start without its time zone, because JUnit's times have none."""
    return _xml(report.started.partition("+")[0])


def _xml(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", clean(text))
