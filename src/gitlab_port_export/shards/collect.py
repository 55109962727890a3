"""Collects the evidence of all shards, and says what is missing, cut, foreign or double."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gitlab_port_export.base.errors import Fault, UsageError
from gitlab_port_export.base.text import clean
from gitlab_port_export.model import Problem
from gitlab_port_export.shards.evidence import Evidence, OtherVersion, load
from gitlab_port_export.shards.sealed import Unsealed
from gitlab_port_export.shards.survey import Survey

HINT = "run the job of that shard again, and reconcile after it"
_ALL_OF_ONE = "give reconcile the evidence of this survey's shards, one of each"


@dataclass(frozen=True)
class Collected:
    """The evidence of a sync by shard; each of the `problems` holds every deletion."""

    evidence: tuple[Evidence, ...]
    problems: tuple[Problem, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every shard left whole evidence."""
        return not self.problems


def left_nothing(number: int) -> str:
    """Return what is said of a shard without evidence."""
    return f"shard {number} left no evidence, so nothing is deleted"


def collect(survey: Survey, files: Iterable[Path], missing_words: Callable[[int], str] = left_nothing) -> Collected:
    """Return the evidence in these files; of several attempts of a shard the last one counts.

    `missing_words` says what became of a shard without evidence.

    Raises UsageError for files that do not belong together: then nothing can be said of any.
    """
    faults: list[Fault] = []
    problems: list[Problem] = []
    found: defaultdict[int, list[Evidence]] = defaultdict(list)
    for file in filter(os.path.lexists, dict.fromkeys(files)):
        place = clean(str(file), 200)
        try:
            one = load(file)
        except OtherVersion as why:
            faults.append(Fault(str(why), place))
        except Unsealed as why:
            problems.append(_doubt(f"{place} {why}, so nothing is deleted"))
        else:
            faults += _misfits(survey, one, place)
            found[one.shard.number].append(one)
    faults += (fault for some in found.values() for fault in _doubles(some))
    if faults:
        raise UsageError(*faults, hint=_ALL_OF_ONE)
    evidence = [max(found[number], key=lambda one: one.shard.attempt) for number in sorted(found)]
    missing = [number for number in range(1, survey.shards + 1) if number not in found]
    problems += (_doubt(missing_words(number)) for number in missing)
    problems += (
        _doubt(f"shard {one.shard.number} did not come to its end, so nothing is deleted")
        for one in evidence
        if not one.found.whole
    )
    return Collected(tuple(evidence), tuple(problems))


def _misfits(survey: Survey, one: Evidence, place: str) -> Iterable[Fault]:
    if one.survey != survey.digest:
        yield Fault(f"is evidence of {one.shard} of another survey, {clean(one.run, 40)}, not of {survey.run}", place)
    elif one.shard.of != survey.shards or not 1 <= one.shard.number <= survey.shards:
        yield Fault(f"is evidence of {one.shard}, and the survey has {survey.shards}", place)


def _doubles(some: Sequence[Evidence]) -> Iterable[Fault]:
    attempts = [one.shard.attempt for one in some]
    for one in some:
        if attempts.count(one.shard.attempt) > 1:
            yield Fault(
                f"is evidence of {one.shard}, attempt {one.shard.attempt}, of which there is another file",
                clean(str(one.file.path), 200),
            )


def _doubt(why: str) -> Problem:
    return Problem("read", why, HINT, holds_all=True)
