"""Evidence: what a shard found and produced, as a file that the last job reads instead of GitLab."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from gitlab_port_export import __version__
from gitlab_port_export.base.text import clean
from gitlab_port_export.model import Counted, Create, Delete, Entity, Narrowed, Problem, Unnamed, Update, target
from gitlab_port_export.report.values import Counts, KindCounts, ReadCounts, Report, Span
from gitlab_port_export.shards.sealed import Sealed, Unsealed, seal, unsealed

FORMAT, VERSION = "gitlab-port-export evidence", 2
# Before the name of a blueprint in the names of arrays; the other one is that of relation targets.
PRODUCED, TARGETS = "produced:", "targets"
# So many rows that Port refused for a missing target go to the last job; further ones are refused for good.
MOST_LATER = 10_000
Lack = Problem | Unnamed | Narrowed


@dataclass(frozen=True)
class Shard:
    """Which shard of how many, and which attempt of its job."""

    number: int
    of: int
    attempt: int = 1

    def __str__(self) -> str:
        return f"shard {self.number} of {self.of}"


@dataclass
class Found:
    """What a shard found besides its report.

    `whole` says that it came to its end. `faults` are those of its reads and rows, `counted` its long lists with the
    numbers of the whole plan. `searched` and `unresolved` are as in a Differ, `refused`, `refused_of` and `repeated` as
    in Outcomes. `later` are the rows that Port refused because what they relate to is missing.
    """

    reads: str = ""
    whole: bool = False
    faults: list[Lack] = field(default_factory=list)
    counted: list[Counted] = field(default_factory=list)
    searched: set[int] = field(default_factory=set)
    unresolved: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    refused_of: set[int] = field(default_factory=set)
    repeated: set[int] = field(default_factory=set)
    later: list[Create | Update] = field(default_factory=list)
    produced: dict[str, "array[int]"] = field(default_factory=dict)
    targets: "array[int]" = field(default_factory=lambda: array("Q"))


@dataclass(frozen=True)
class Evidence:
    """A shard's evidence: its `file` holds the keys, the rest is here.

    `survey` is the digest of the survey that it belongs to, `run` that one's name.
    """

    file: Sealed
    shard: Shard
    survey: str
    run: str
    found: Found
    report: Report

    @property
    def blueprints(self) -> list[str]:
        """The blueprints of which it has keys."""
        return [name.removeprefix(PRODUCED) for name in self.file.arrays if name.startswith(PRODUCED)]


def save(
    path: Path, shard: Shard, survey: str, run: str, found: Found, report: Report, redact: Callable[[str], str] = str
) -> None:
    """Write the evidence of a shard whole or not at all. Raises OSError.

    `redact` takes secrets out of what may quote an answer; the report is free of them already.
    """
    head = {
        "format": FORMAT, "version": VERSION, "program": __version__, "survey": survey, "run": run,
        "shard": asdict(shard), "reads": found.reads, "whole": found.whole,
        "faults": [[type(one).__name__, _redacted(asdict(one), redact)] for one in distinct_faults(found.faults)],
        "counted": [asdict(one) for one in found.counted], "searched": sorted(found.searched),
        "unresolved": sorted(found.unresolved), "refused": sorted(found.refused),
        "refused_of": sorted(found.refused_of), "repeated": sorted(found.repeated),
        "later": [_stored(one) for one in found.later], "report": _report(report),
    }  # fmt: skip
    arrays = {f"{PRODUCED}{name}": keys for name, keys in sorted(found.produced.items())}
    seal(path, head, {**arrays, TARGETS: found.targets})


def load(path: Path) -> Evidence:
    """Return the evidence of a file. Raises Unsealed."""
    file = unsealed(path)
    head = file.head
    if head.get("format") != FORMAT:
        raise Unsealed("is no evidence of a shard")
    if (head.get("version"), head.get("program")) != (VERSION, __version__):
        made = clean(str(head.get("program")), 40)
        raise OtherVersion(f"was made by version {made} of this program, and this is {__version__}")
    try:
        return Evidence(
            replace(file, head={}), Shard(**head["shard"]), str(head["survey"]), str(head["run"]), _found(head),
            _report_of(head["report"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise Unsealed("is no evidence of a shard") from error


class OtherVersion(Unsealed):
    """Evidence of another version of the program."""


def _found(head: Mapping[str, Any]) -> Found:
    return Found(
        reads=str(head["reads"]),
        whole=head["whole"] is True,
        faults=[_FAULTS[name].validate_python(one) for name, one in head["faults"]],
        counted=[_COUNTED.validate_python(one) for one in head["counted"]],
        searched=set(head["searched"]),
        unresolved=set(head["unresolved"]),
        refused=set(head["refused"]),
        refused_of=set(head["refused_of"]),
        repeated=set(head["repeated"]),
        later=list(map(_change, head["later"])),
    )


_FAULTS: Mapping[str, TypeAdapter[Any]] = {one.__name__: TypeAdapter(one) for one in (Problem, Unnamed, Narrowed)}
_COUNTED = TypeAdapter(Counted)


def _redacted(fault: Mapping[str, Any], redact: Callable[[str], str]) -> dict[str, Any]:
    return {name: redact(value) if isinstance(value, str) else value for name, value in fault.items()}


def distinct_faults(faults: Sequence[Lack]) -> list[Lack]:
    """Return the faults that differ in more than place and number: what they hold back is the same."""
    found: dict[Any, Lack] = {}
    for one in faults:
        alike = replace(one, entity="", sample="", count=1) if isinstance(one, Problem) else one
        # A file of specPath has a scope, and everything else that holds all has none: see `merge.py`.
        key = replace(alike, scope="x" if alike.scope else "") if isinstance(alike, Problem) else alike
        found.setdefault(key, one)
    return list(found.values())


def _stored(change: Create | Update) -> dict[str, Any]:
    entity = change.entity
    more = {"fields": change.fields, "again": change.again} if isinstance(change, Update) else {}
    body = {"blueprint": entity.blueprint, "identifier": entity.identifier, "body": entity.body}
    return {"action": type(change).__name__, "resource": entity.resource, **body, **more}


def _change(data: Mapping[str, Any]) -> Create | Update:
    entity = Entity.of(data["blueprint"], data["identifier"], data["body"], data["resource"])
    return Create(entity) if data["action"] == "Create" else Update(entity, tuple(data["fields"]), data["again"])


def _report(report: Report) -> dict[str, Any]:
    """Return of a report what the report of the whole sync adds up."""
    return {
        "started": report.started, "seconds": report.seconds, "exit_code": report.exit_code,
        "requests": [report.gitlab_requests, report.port_requests],
        "blueprints": {name: asdict(counts) for name, counts in report.blueprints.items()},
        "kinds": {name: asdict(counts) for name, counts in report.kinds.items()},
        "problems": [asdict(one) for one in report.problems],
        "changes": [[type(one).__name__, *target(one), list(_fields(one))] for one in report.changes],
        "reads": [asdict(one) for one in report.reads], "timeline": [asdict(one) for one in report.timeline],
        "left": report.left, "rate": report.rate,
    }  # fmt: skip


def _fields(change: Create | Update | Delete) -> tuple[str, ...]:
    return change.fields if isinstance(change, Update) else ()


def _report_of(data: Mapping[str, Any]) -> Report:
    return Report(
        "sync", data["exit_code"], data["started"], data["seconds"],
        blueprints={name: Counts(**counts) for name, counts in data["blueprints"].items()},
        kinds={name: KindCounts(**counts) for name, counts in data["kinds"].items()},
        problems=tuple(TypeAdapter(list[Problem]).validate_python(data["problems"])),
        changes=tuple(_shown(*one) for one in data["changes"]),
        gitlab_requests=data["requests"][0], port_requests=data["requests"][1],
        reads=tuple(ReadCounts(**one) for one in data["reads"]),
        timeline=tuple(Span(**one) for one in data["timeline"]), left=tuple(data["left"]), rate=data["rate"],
    )  # fmt: skip


def _shown(action: str, blueprint: str, identifier: str, fields: Sequence[str]) -> Create | Update:
    entity = Entity.of(blueprint, identifier, {}, -1)
    return Create(entity) if action == "Create" else Update(entity, tuple(fields))
