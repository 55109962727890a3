"""The Subject of each kind, for the safety suites: one module a kind, as in gitlab_port_export/gitlab/kinds."""

from importlib import import_module

import pytest

from gitlab_port_export.gitlab.kinds import KINDS
from testbed.company import Company, company
from testbed.subject import Subject


def find_subject(kind: str) -> Subject | None:
    """The Subject of a kind, None where it has none."""
    module = f"{__name__}.{kind.replace('-', '_')}"
    try:
        found: Subject = import_module(module).SUBJECT
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        return None
    return found


def subject_of(kind: str) -> Subject:
    """The Subject of a kind; the test fails where it has none."""
    found = find_subject(kind)
    if found is None:
        pytest.fail(f"the kind {kind} has no Subject: write tests/testbed/kinds/{kind.replace('-', '_')}.py")
    return found


def known_subjects() -> dict[str, Subject]:
    """The Subjects that there are, in the order of the kinds."""
    return {kind: found for kind in KINDS if (found := find_subject(kind))}


def furnished(*kinds: str) -> Company:
    """A company whose projects hold some rows of these kinds, by default of all that have a Subject."""
    found = company()
    for kind, subject in known_subjects().items():
        for project in (found.one, found.two, found.three) if not kinds or kind in kinds else ():
            subject.furnish(found.world, project, found.people[1])
    return found
