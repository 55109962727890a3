"""A large GitLab whose rows are made when they are asked for: the stand-in's world, but of any size.

The groups, projects and people are those of `large_world`; what projects hold comes from templates that the
stand-in's own builders fill, so that every row has the shape and the values that it has there.
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, overload

from gitlab_port_export.demo.gitlab_rows import Row, sha, stamp
from gitlab_port_export.demo.gitlab_store import World
from gitlab_port_export.demo.world import large_world, span

PER_PAGE = 100
# A project makes one row of each kind an hour, and the times begin anew after so many.
MOST_ROWS = 1400
STATES = ("opened", "merged", "closed")
# Marks that stand for numbers and objects: in JSON they lose their quotes.
BARE = ("merge_request", "issue", "pipeline", "job", "iid", "project", "author")
HASHES = (("merge request", "merge_request"), ("merge commit", "merge_request"), ("pipeline", "pipeline"))


@dataclass(frozen=True)
class Size:
    """How large a world is: its projects and the rows of each; every pipeline has one job.

    `group_size` is how many projects a topmost group has, `states` are those of merge requests.
    """

    projects: int
    merge_requests: int = 30
    issues: int = 30
    pipelines: int = 20
    group_size: int = 10
    states: tuple[str, ...] = STATES

    @classmethod
    def of(cls, projects: int, depth: int) -> "Size":
        """Return the size in which each project has the usual hundred rows `depth` times."""
        usual = cls(projects)
        return cls(projects, usual.merge_requests * depth, usual.issues * depth, usual.pipelines * depth)


class Numbers(Sequence[Row]):
    """A range of numbers as rows that have nothing but an id, to be cut into pages."""

    def __init__(self, numbers: range) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> "Numbers": ...
    def __getitem__(self, at: int | slice) -> "Row | Numbers":
        """The row at a place, or a part of the rows."""
        return Numbers(self.numbers[at]) if isinstance(at, slice) else {"id": self.numbers[at]}


@dataclass(frozen=True)
class Listed:
    """A list: a number for each of its rows in order, the JSON text that it stands for, and when that was created."""

    rows: Numbers
    text: Callable[[int], str]
    created: Callable[[int], str] = lambda number: ""  # noqa: ARG005  # most lists are not asked for by time

    def between(self, after: str, before: str, *, newest_first: bool) -> Numbers:
        """Return the rows that were created between two times, both included; empty is no bound."""
        numbers = self.rows.numbers
        start = bisect_left(numbers, after, key=self.created) if after else 0
        end = bisect_right(numbers, before, key=self.created) if before else len(numbers)
        return Numbers(numbers[start:end][:: -1 if newest_first else 1])


class _Marks(World):
    """A world whose numbers are marks: what is built in it becomes a template."""

    def new_id(self, kind: str) -> Any:
        """Return the mark of a number."""
        return f"@{kind}@"

    def _iid(self, kind: str, project: Row) -> Any:  # noqa: ARG002  # the number is a mark whatever it counts
        return "@iid@"


class LargeWorld:
    """The world of one size at one instant."""

    def __init__(self, size: Size, now: datetime | None = None) -> None:
        self.size, self.now = size, now or datetime.now(UTC)
        self.frame = large_world(
            self.now, size.projects, projects_per_group=size.group_size, merge_requests=0, issues=0, pipelines=0
        )
        for project in self.frame.projects.values():
            project["open_issues_count"] = len(range(0, size.issues, 2))
        self._places = [_place(project) for project in self.frame.projects.values()]
        self._top = {row["id"]: number for number, row in enumerate(self.top_groups)}
        people = [row for row in self.frame.users.values() if row["username"].startswith("user-")]
        self._authors = [_text(row) for row in people]
        if max(size.merge_requests, size.issues, size.pipelines) > MOST_ROWS:
            raise ValueError("more rows of a project than hours: they would not be in order")
        self._templates = _templates()
        # The places of the projects that changed, with the instant: their newest rows tell it.
        self._changed: dict[int, str] = {}

    @property
    def top_groups(self) -> list[Row]:
        """The groups that are in no other."""
        return [row for row in self.frame.groups.values() if not row["parent_id"]]

    def projects_of(self, number: int) -> range:
        """The places of the projects below the top-level group of that number."""
        size = self.size.group_size
        return range(number * size, min((number + 1) * size, self.size.projects))

    def merge_requests(self, group: int, state: str) -> Listed:
        """The merge requests of a top-level group in one state, the oldest first."""
        below, states, every = self.projects_of(self._top[group]), self.size.states, self.size.merge_requests
        template = self._templates[f"merge_request {state}"]
        made = range(states.index(state), every, len(states)) if state in states else range(0)

        def text(at: int) -> str:
            return self._row(template, below[at % len(below)], made[at // len(below)], every)

        def created(at: int) -> str:
            return self._times(below[at % len(below)], made[at // len(below)])[0]

        return Listed(Numbers(range(len(below) * len(made))), text, created)

    def issues(self, group: int) -> Listed:
        """The issues of a top-level group, the oldest first."""
        below, every = self.projects_of(self._top[group]), self.size.issues
        templates = [self._templates[f"issue {state}"] for state in ("opened", "closed")]

        def text(at: int) -> str:
            n = at // len(below)
            return self._row(templates[n % 2], below[at % len(below)], n, every)

        def created(at: int) -> str:
            return self._times(below[at % len(below)], at // len(below))[0]

        return Listed(Numbers(range(len(below) * every)), text, created)

    def pipelines(self, project: int) -> Listed:
        """The pipelines of a project, by ascending id."""
        return Listed(Numbers(self._ci_ids(project)), lambda id: self._ci("pipeline", id))

    def jobs(self, project: int) -> Listed:
        """The jobs of a project, by descending id."""
        return Listed(Numbers(self._ci_ids(project)[::-1]), lambda id: self._ci("job", id))

    def _ci_ids(self, project: int) -> range:
        every = self.size.pipelines
        return range((project - 1) * every + 1, project * every + 1)

    def _ci(self, kind: str, id: int) -> str:
        every = self.size.pipelines
        place, n = divmod(id - 1, every)
        return self._row(self._templates[_ci_name(kind, n)], place, n, every)

    def _row(self, template: str, place: int, n: int, every: int) -> str:
        id = place * every + n + 1
        created, updated = self._times(place, n)
        if n == every - 1 and place in self._changed:
            updated = self._changed[place]
        project, path, url, api = self._places[place]
        found = {
            "id": id, "iid": n + 1, "n": n, "created": created, "updated": updated,
            "author": self._authors[n % len(self._authors)], "project": project, "path": path, "url": url, "api": api,
        }  # fmt: skip
        for kind, _ in HASHES:
            if kind in template:
                found[kind] = sha(kind, id)
        return template % found

    def _times(self, place: int, n: int) -> tuple[str, str]:
        """Created and updated of the n-th row of a project, as `large_world` has them."""
        created, updated = span(self.now, n, place / self.size.projects)
        return stamp(created), stamp(updated)

    def change(self, share: float, when: datetime) -> int:
        """Change the newest row of each kind in this share of the projects, spread evenly; say in how many.

        What changed stands in the frame too, so that the stand-in answers what is asked since an instant.
        """
        count, size, frame = round(share * self.size.projects), self.size, self.frame
        for place in (number * size.projects // count for number in range(count)):
            self._changed[place] = stamp(when)
            id = self._places[place][0]
            frame.projects[id] |= {"updated_at": stamp(when), "last_activity_at": stamp(when)}
            state = STATES[(size.merge_requests - 1) % len(STATES)]
            lists = (
                (frame.merge_requests, f"merge_request {state}", size.merge_requests),
                (frame.issues, f"issue {'opened' if size.issues % 2 else 'closed'}", size.issues),
                (frame.pipelines, _ci_name("pipeline", size.pipelines - 1), size.pipelines),
                (frame.jobs, _ci_name("job", size.pipelines - 1), size.pipelines),
            )
            for rows, template, every in lists:
                rows[id] = [json.loads(self._row(self._templates[template], place, every - 1, every))]
        frame.touch()
        return count

    @cached_property
    def entities(self) -> int:
        """How many entities the default mapping of gitlab-v2 makes of this world."""
        people = {row["username"] for members in self.frame.group_members.values() for row in members}
        size = self.size
        rows = size.projects * (1 + size.merge_requests + size.issues + 2 * size.pipelines)
        return rows + len(self.frame.groups) + len(people)

    @cached_property
    def fewest(self) -> dict[str, int]:
        """The fewest REST requests that give all rows of the default mapping, by list: each page once, nothing else."""
        size, groups = self.size, self.frame.groups
        listed = [(group, state) for group in self._top for state in STATES]
        return {
            "groups": _pages(len(groups)),
            "projects": _pages(size.projects),
            "members": sum(_pages(len(self.frame.group_members.get(id, ()))) for id in groups),
            "languages": size.projects,
            "merge_requests": sum(_pages(len(self.merge_requests(group, state).rows)) for group, state in listed),
            "issues": sum(_pages(len(self.issues(group).rows)) for group in self._top),
            "pipelines": size.projects * _pages(size.pipelines),
            "jobs": size.projects * _pages(size.pipelines),
        }


def _ci_name(kind: str, n: int) -> str:
    return f"{kind} {'failed' if n % 5 == 4 else 'success'}"


def _pages(rows: int) -> int:
    """An empty list takes a request too."""
    return max(1, -(-rows // PER_PAGE))


def _place(project: Row) -> tuple[int, str, str, str]:
    return project["id"], project["path_with_namespace"], project["web_url"], project["_links"]["self"]


def _templates() -> dict[str, str]:
    """A template for each kind and state, to be filled with `%`."""
    world = _Marks()
    project: Row = {
        "id": "@project@", "path_with_namespace": "@path@", "web_url": "@url@", "_links": {"self": "@api@"},
        "default_branch": "main", "open_issues_count": 0,
    }  # fmt: skip
    world.projects["@project@"] = project  # type: ignore[index]  # a mark in the place of a number
    author: Any = "@author@"
    found: dict[str, Row] = {}
    for state in STATES:
        found[f"merge_request {state}"] = world.add_merge_request(
            project, "Change @n@", state, author, "@created@", "@updated@"
        )
    for state in ("opened", "closed"):
        found[f"issue {state}"] = world.add_issue(project, "Issue @n@", state, author, "@created@", "@updated@")
    for status in ("success", "failed"):
        pipeline = world.add_pipeline(project, status, None, "@created@", "@updated@")
        found[f"pipeline {status}"] = pipeline
        found[f"job {status}"] = world.add_job(pipeline, "test", status, user=author)
    return {name: _template(row) for name, row in found.items()}


def _template(row: Row) -> str:
    text = _text(row).replace("%", "%%")
    for kind, mark in HASHES:
        text = text.replace(sha(kind, f"@{mark}@"), f"%({kind})s")
    for mark in BARE:
        text = text.replace(f'"@{mark}@"', f"@{mark}@")
    for mark in (*BARE, "n", "path", "url", "api", "created", "updated"):
        name = "id" if mark in ("merge_request", "issue", "pipeline", "job") else mark
        text = text.replace(f"@{mark}@", f"%({name})s")
    return text


def _text(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))
