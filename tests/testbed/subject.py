"""What the safety suites ask about a kind: one `Subject` a kind, in testbed/kinds/<kind>.py."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gitlab_port_export.demo.world import Row, World
from testbed.company import Company, Step
from testbed.oracle_eyes import Eyes

# Does something with a world, a group and a project of it.
Change = Callable[[World, Row, Row], object]


@dataclass(frozen=True)
class FailingList:
    """One list that the fault matrix lets fail: the kind it is read for, and how its rows come to be and change.

    `change` deletes one entity of the kind, changes one and adds one. `fields` are those of the resource.
    """

    name: str
    kind: str
    path: Callable[[Company], str]
    fill: Step
    change: Step
    fields: dict[str, Any]
    # Where the rows of the second page would come from, if these are single answers and no pages.
    later_path: Callable[[Company], str] | None = None
    in_group: bool = True
    dialects: tuple[str, ...] = ("gitlab-v2", "gitlab")
    other: str = "issue"
    # GitLab counts the rows of the list.
    counted: bool = True
    # Read by the same lines as another list, so that `make soak` will do.
    alike: bool = False
    # GET /groups or GET /projects, on which everything rests: the matrix has a table of its own for them.
    inventory: bool = False

    def __str__(self) -> str:
        return self.name

    def place(self, page: str) -> str:
        """The scope whose list it is."""
        if self.in_group:
            return "alpha"
        return "alpha/sub/two" if self.later_path and page == "later" else "alpha/one"


@dataclass(frozen=True)
class Churn:
    """What happens to more than a page of rows after the first page of the list was served.

    `list` is an expression for its path, `page` is None where pages have no number. `add` adds a row by number, and
    `leave` takes the first one away. `code` is the exit code of such a run.
    """

    list: str
    add: Callable[[World, Row, Row, int], object]
    leave: Change
    fields: dict[str, Any] = field(default_factory=dict)
    page: int | None = 1
    code: int = 0


def nothing(_: Company) -> None:
    """Change nothing."""


def none(_: Company) -> int:
    """Count no rows."""
    return 0


@dataclass(frozen=True, kw_only=True)
class Subject:
    """All that the safety suites need to know of a kind. Without one, or without a part of one, they fail.

    `fields`: the mapping of a resource of the kind, with the selector that its sample needs. `furnish`: give a project
    (its world, the project, a user) some rows, labels of its groups included. `lists`: the first is the list that most
    suites break. `rows`: the oracle, independent of src: yields (id of the group or project, row) for a selector and
    what one token sees; the id is 0 for an object of several lists, which comes once. `denied`: fields of a project's
    row that say that there is nothing of the kind; None where no field does. `hidden`: makes rows such that GitLab
    hides them below the kind's role. `silent`: GitLab sends no event that names a row of the kind, so the kind has no
    `again`. `each`: how many of the rows that `About.requests.each` names the furnished world has. `compared`: what the
    comparison with the oracle keeps.
    """

    fields: Mapping[str, Any]
    furnish: Callable[[World, Row, Row], Any]
    lists: tuple[FailingList, ...]
    churn: Churn
    rows: Callable[[Row, Eyes], Iterator[tuple[int, Row]]]
    denied: Mapping[str, Any] | None
    hidden: Step = nothing
    silent: bool = False
    each: Callable[[Company], int] = none
    compared: Mapping[str, str] = field(default_factory=lambda: {"object": "."})
