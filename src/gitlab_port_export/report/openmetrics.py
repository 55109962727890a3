"""The report as OpenMetrics text, also for GitLab's metrics report and the textfile collector of node_exporter."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime

from gitlab_port_export import __version__
from gitlab_port_export.model import Report
from gitlab_port_export.text import clean

# Labels and value of one sample.
_Sample = tuple[dict[str, str], float]
_PREFIX = "gitlab_port_export_"


def render(report: Report) -> str:
    """Return gauges without instants, ending with `# EOF`; every family has its help, and those of time a unit."""
    return "".join(f"{line}\n" for line in _lines(report))


def _lines(report: Report) -> Iterator[str]:
    labels = {"command": report.command, "integration": report.integration, "version": __version__}
    yield from _family("run", "The run that this tells of.", [(labels, 1)])
    yield from _family("exit_code", "The exit code of the run.", [({}, report.exit_code)])
    yield from _family("skipped", "Whether the run did nothing.", [({}, int(report.skipped))])
    yield from _family("duration_seconds", "How long the run took.", [({}, report.seconds)])
    yield from _family("start_time_seconds", "When the run began.", [({}, _instant(report.started))])
    requests: list[_Sample] = [
        ({"server": "gitlab"}, report.gitlab_requests),
        ({"server": "port"}, report.port_requests),
    ]
    yield from _family("requests", "Requests that were sent, with repeats.", requests)
    yield from _family("entities", "Entities by what happened to them.", list(_entities(report)))
    for name, help_text in (
        ("rows", "Rows that were read."),
        ("pages", "Pages that were read."),
        ("unnamed", "Rows without identifier, blueprint or list of items: they gave no entity."),
        ("requests", "Requests that the reads asked for."),
        ("reads", "Reads, one for each group or project."),
        ("failed", "Reads that ended with a Problem."),
    ):
        samples: list[_Sample] = [({"kind": kind}, getattr(counts, name)) for kind, counts in report.kinds.items()]
        yield from _family(f"kind_{name}", help_text, samples)
    spans: list[_Sample] = [({"name": span.name}, round(span.end - span.start, 3)) for span in report.timeline]
    yield from _family("stage_duration_seconds", "How long something was under way.", spans)
    yield from _family("problems", "What went wrong, by stage.", _problems(report))
    yield "# EOF"


def _family(name: str, help_text: str, samples: list[_Sample]) -> Iterator[str]:
    """Yield a family: type, unit, help, and its samples in order; nothing without samples."""
    if not samples:
        return
    yield f"# TYPE {_PREFIX}{name} gauge"
    if name.endswith("_seconds"):
        yield f"# UNIT {_PREFIX}{name} seconds"
    yield f"# HELP {_PREFIX}{name} {help_text}"
    for labels, value in samples:
        yield f"{_PREFIX}{name}{_labels(labels)} {value}"


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items()) + "}" if labels else ""


def _escape(text: str) -> str:
    return clean(text).replace("\\", "\\\\").replace('"', '\\"')


def _entities(report: Report) -> Iterator[_Sample]:
    for blueprint, counts in report.blueprints.items():
        for result, number in asdict(counts).items():
            yield {"blueprint": blueprint, "result": result}, number


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
