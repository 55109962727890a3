"""The report as OpenMetrics text, also for GitLab's metrics report and the textfile collector of node_exporter."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime

from gitlab_port_export import __version__
from gitlab_port_export.base.text import clean
from gitlab_port_export.report.exit_code import is_let_pass
from gitlab_port_export.report.values import Report
from gitlab_port_export.report.words import counted

# Labels and value of one sample.
_Sample = tuple[dict[str, str], float]
_PREFIX = "gitlab_port_export_"


def render(report: Report) -> str:
    """Return gauges without timestamps, ending with `# EOF`; each family has a help text, those of time also a unit.

    Each sample has the labels integration and mode, so that the metrics of several jobs can be collected together.
    """
    shared = {"integration": report.integration, "mode": report.command}
    lines = (line for name, text, samples in _families(report) for line in _family(name, text, samples, shared))
    return "".join(f"{line}\n" for line in (*lines, "# EOF"))


def _families(report: Report) -> Iterator[tuple[str, str, list[_Sample]]]:
    """Yield name, help and samples of each family."""
    ended = _instant(report.started) + report.seconds
    yield "run", "The run that these metrics describe.", [({"command": report.command, "version": __version__}, 1)]
    yield "exit_code", "The exit code of the run.", [({}, report.exit_code)]
    yield "skipped", "Whether the run did nothing.", [({}, int(report.skipped))]
    yield "partial", "Whether the run read a part.", [({}, int(bool(report.part)))]
    yield from _rhythm(report)
    yield "duration_seconds", "How long the run took.", [({}, report.seconds)]
    yield "start_time_seconds", "When the run began.", [({}, _instant(report.started))]
    success: list[_Sample] = [({}, ended)] if _is_success(report) else []
    yield (
        "last_success_timestamp_seconds",
        "When a sync of everything, or of what changed, ended without Problems; absent after any other run.",
        success,
    )
    requests: list[_Sample] = [
        ({"server": "gitlab"}, report.gitlab_requests),
        ({"server": "port"}, report.port_requests),
    ]
    yield "requests", "Requests that were sent, with repeats.", requests
    yield "entities", "Entities by what happened to them, or in a plan is to happen.", list(_entities(report))
    for name, help_text in (
        ("rows", "Rows that were read."),
        ("pages", "Pages that were read."),
        ("unnamed", "Rows without identifier, blueprint or list of items: they gave no entity."),
        ("requests", "Requests that the reads asked for."),
        ("reads", "Reads, one for each group or project."),
        ("failed", "Reads that ended with a Problem."),
    ):
        samples: list[_Sample] = [({"kind": kind}, getattr(counts, name)) for kind, counts in report.kinds.items()]
        yield f"kind_{name}", help_text, samples
    spans: list[_Sample] = [({"name": span.name}, round(span.end - span.start, 3)) for span in report.timeline]
    yield "stage_duration_seconds", "How long each stage took.", spans
    yield "problems", "Problems and warnings, by stage.", _problems(report)


def _rhythm(report: Report) -> Iterator[tuple[str, str, list[_Sample]]]:
    """Yield what tells how a run with `--since` went; nothing for any other run."""
    rhythm = report.rhythm
    if rhythm is None:
        return
    yield "incremental", "Whether the run read what changed alone.", [({}, int(rhythm.mode == "incremental"))]
    yield "rows_left", "Rows that changed and that no selector wants.", [({}, rhythm.rows_left)]
    if rhythm.since:
        yield "since_timestamp_seconds", "From when on changes were read.", [({}, _instant(rhythm.since))]
    if rhythm.last_full:
        yield "last_full_timestamp_seconds", "When the last full run began.", [({}, _instant(rhythm.last_full))]


def _is_success(report: Report) -> bool:
    return (
        report.command == "sync"
        and report.exit_code == 0
        and not report.skipped
        and (not report.part or report.rhythm is not None)
        and not is_let_pass(report)
    )


def _family(name: str, help_text: str, samples: list[_Sample], shared: Mapping[str, str]) -> Iterator[str]:
    """Yield a family: type, unit, help, and its samples in order; nothing without samples."""
    if not samples:
        return
    yield f"# TYPE {_PREFIX}{name} gauge"
    if name.endswith("_seconds"):
        yield f"# UNIT {_PREFIX}{name} seconds"
    yield f"# HELP {_PREFIX}{name} {help_text}"
    for labels, value in samples:
        yield f"{_PREFIX}{name}{_labels({**shared, **labels})} {value}"


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items()) + "}" if labels else ""


def _escape(text: str) -> str:
    return clean(text).replace("\\", "\\\\").replace('"', '\\"')


def _entities(report: Report) -> Iterator[_Sample]:
    for blueprint, counts in report.blueprints.items():
        for result, number in asdict(counts).items():
            # In a plan the changes are not made, so they have other labels.
            said = counted(result, report.command).replace(" ", "_")
            yield {"blueprint": blueprint, "result": said}, number


def _problems(report: Report) -> list[_Sample]:
    found: dict[tuple[str, str], int] = {}
    for problem in report.problems:
        key = problem.stage, "warning" if problem.warning else "problem"
        found[key] = found.get(key, 0) + problem.count
    return [({"stage": stage, "severity": severity}, number) for (stage, severity), number in sorted(found.items())]


def _instant(started: str) -> float:
    try:
        return datetime.fromisoformat(started).timestamp()
    except ValueError:
        return 0
