"""The command `survey`: reads groups and projects once, for a sync in several jobs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gitlab_port_export.commands.session import Session
from gitlab_port_export.report import json
from gitlab_port_export.report.words import some
from gitlab_port_export.settings.load import load_settings
from gitlab_port_export.shards.slim import kept_keys
from gitlab_port_export.shards.survey import Survey, save
from gitlab_port_export.shards.surveying import take_survey
from gitlab_port_export.shards.units import weights_of
from gitlab_port_export.sync.prepare import prepare
from gitlab_port_export.sync.remembered import place_of

# With fewer projects a shard takes longer to start than to work.
FEW_PROJECTS = 200
# A shard that has this many times its equal share of the work keeps the others waiting.
UNEVEN = 1.5


def run(session: Session, *, out: Path, **options: Any) -> int:
    """Write the survey into the folder `out` and return the exit code. Raises ExportError."""
    settings = load_settings(session.environ, **options)
    session.begin(settings)
    with session.running(settings.deadline) as clock:
        prepared = prepare(settings, clock, writes=True, redactor=session.redactor)
        try:
            # Where reconcile could not keep the state that a variable asks for, nothing is read.
            place_of(prepared)
            found = take_survey(prepared, lambda _projects: settings.shards)
            survey = save(found, out, kept_keys(prepared.mapping, prepared.dialect))
            plan, shares = survey.cut(prepared.mapping)
            requests = [sum(max(plan.reads[number].requests, 1) for number in share) for share in shares]
            weights = weights_of(plan)
            loads = [sum(weights[number] for number in share) for share in shares]
        finally:
            prepared.close()
    lines = list(_lines(survey, out, shares, requests))
    lines += _advice(survey, loads)
    for problem in (*survey.problems, *survey.inventory.problems):
        session.say(f"{'warning' if problem.warning else 'problem'}: {problem.why}", "yellow")
    if session.as_json:
        session.out.stream.write(
            json.dumps({"command": "survey", "exit_code": 0, "survey": survey.run, "lines": lines})
        )
    else:
        for line in lines:
            session.out.console.print(session.redactor.redact(line), soft_wrap=True, markup=False, highlight=False)
    return 0


def _lines(survey: Survey, out: Path, shares: Sequence[Sequence[int]], requests: Sequence[int]) -> list[str]:
    groups, projects = len(survey.inventory.groups()), len(survey.inventory.projects())
    lines = [
        f"survey {survey.run}: {some(groups, 'group')} and {some(projects, 'project')}, "
        f"{some(sum(map(len, shares)), 'read')} in {some(survey.shards, 'shard')}, written to {out}"
    ]
    lines += [
        f"shard {number} of {survey.shards}: {some(len(share), 'read')}, at least {some(least, 'request')}"
        for number, (share, least) in enumerate(zip(shares, requests, strict=True), 1)
    ]
    return lines


def _advice(survey: Survey, loads: Sequence[int]) -> Iterator[str]:
    """Yield why so many shards may not pay; `loads` is about how much work each has."""
    projects = len(survey.inventory.projects())
    if survey.shards > 1 and projects < FEW_PROJECTS:
        yield f"With {some(projects, 'project')} one job is quicker: a shard takes longer to start than to work."
    elif survey.shards > 1 and max(loads) > UNEVEN * sum(loads) / survey.shards:
        yield "Some shards have much more to do, because what shares lists or entities is read by one shard."
