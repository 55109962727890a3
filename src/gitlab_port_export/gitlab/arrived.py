"""What is known of one list while its pages arrive in any order, and what shows that some of it is missing."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from gitlab_port_export.base.answer import Answer, links_pages
from gitlab_port_export.gitlab.client import NO_GITLAB, ReadFailed
from gitlab_port_export.model import Problem, Row

# GitLab may filter a page to nothing after it was cut; so many in a row have no end.
BLANK_PAGES = 100
# GitLab sends one of these with each page of an offset list, and of the others with any answer. It also sends
# X-Request-Id, as gateways do on their own.
PAGED = ("x-next-page", "x-page", "x-per-page", "x-total")
SERVED = (*PAGED, "x-runtime", "x-gitlab-meta")
MIXED_UP = "run again; if it stays, look for a proxy that caches or changes GitLab's answers"


@dataclass
class Arrived:
    """What is known of one list while its pages arrive in any order."""

    path: str
    key: Callable[[Row], Hashable]
    seen: set[Hashable] = field(default_factory=set)
    pages: set[int] = field(default_factory=set)
    totals: dict[int, int] = field(default_factory=dict)
    nexts: dict[int, int | None] = field(default_factory=dict)
    # Rows of this pass that were null.
    nulls: int = 0
    # A page of this list had a link to another one.
    linked: bool = False
    blanks: int = 0
    stripped: bool = False
    # Of this pass: by page the key of its first row, whether pages were asked for side by side, and whether a row came
    # twice.
    firsts: dict[int, Hashable] = field(default_factory=dict)
    abreast: bool = False
    repeated: bool = False
    # Pages that GitLab does not count are asked for one after the other.
    orderly: bool = False

    def begin(self) -> None:
        """Forget what belongs to one pass over the list."""
        self.pages.clear()
        self.totals.clear()
        self.nexts.clear()
        self.firsts.clear()
        self.nulls = 0
        self.abreast = self.repeated = False

    def forget(self, number: int) -> None:
        """Forget a page, which is asked for again."""
        self.nexts.pop(number, None)
        self.firsts.pop(number, None)
        self.pages.clear()

    def check_sender(self, answer: Answer, marks: tuple[str, ...]) -> None:
        """Raise ReadFailed for an empty page without any of the headers that mark GitLab's.

        `[]` is also what a gateway or a mock says in GitLab's place. Where a proxy takes these headers off, pages with
        rows lack them too.
        """
        if any(name in answer.headers for name in marks) or links_pages(answer.headers):
            return
        if answer.data:
            self.stripped = True
        elif not self.stripped:
            raise ReadFailed(
                "incomplete",
                f"an empty list came for {self.path} with none of the headers that GitLab sends with a list",
                "look for a proxy or gateway that answers in GitLab's place, or takes off headers such as X-Next-Page",
            )

    def fresh(self, rows: list[Row]) -> list[Row]:
        """Return the rows not seen before; a page that came before raises: the list would never end."""
        self.blanks = 0 if rows else self.blanks + 1
        if self.blanks > BLANK_PAGES:
            raise ReadFailed("incomplete", f"GitLab gave {BLANK_PAGES} empty pages of {self.path} in a row", MIXED_UP)
        keys = self.keys(rows)
        if rows:
            mark = hash(tuple(keys))
            if mark in self.pages:
                raise ReadFailed("incomplete", f"GitLab gave the same page of {self.path} twice", MIXED_UP)
            self.pages.add(mark)
        new = rows
        if not self.seen.isdisjoint(keys):
            new = [row for row, key in zip(rows, keys, strict=True) if key not in self.seen]
            self.repeated = True
        self.seen.update(keys)
        return new

    def keys(self, rows: list[Row]) -> list[Hashable]:
        """Return the key of each row; nearly all lists have ids, which are taken at once."""
        ids: list[Hashable] = [row.get("id") for row in rows]
        return ids if self.key is key_of and set(map(type, ids)) <= {int} else [self.key(row) for row in rows]

    def without_nulls(self, count: int) -> Iterator[Problem]:
        """Note that so many rows of a page were null, and yield the Problem that holds deletions because of them."""
        if count:
            self.nulls += count
            why = f"GitLab gave {count} rows of {self.path} as null; the others are read"
            yield Problem("read", why, MIXED_UP, holds_all=True)

    @property
    def expected(self) -> int:
        """The number of rows that the first page counts; a row that is added later need not come.

        One that goes moves those behind it, and the first of the next page out of sight: then the list is read again.
        """
        return self.totals[min(self.totals)] if self.totals else 0

    @property
    def is_short(self) -> bool:
        """Whether fewer different rows came than GitLab counts."""
        return len(self.seen) + self.nulls < self.expected

    @property
    def moved(self) -> bool:
        """Whether the pages of this pass contradict each other: rows joined or left while they came.

        Then a row may have gone from a page that was yet to come to one that had come.
        """
        ends = (number for number, following in self.nexts.items() if following is None)
        return self.repeated or min(ends, default=0) < max(self.firsts, default=0)

    def incomplete(self, often: str = "") -> ReadFailed:
        """Return the error for a list that stays short."""
        return ReadFailed(
            "incomplete",
            f"GitLab counts {self.expected} rows and gave {len(self.seen)} different ones{often}",
            "the list changes while it is read or the token may not see all of it; run again",
        )


def key_of(row: Row) -> Hashable:
    """Return what tells rows of one list apart: the id; releases, tags and branches have only a name.

    Raises ReadFailed for a row without any: GitLab has none such.
    """
    if type(number := row.get("id")) is int:
        return number
    for name in ("id", "tag_name", "path", "name"):
        if isinstance(value := row.get(name), str | int) and not isinstance(value, bool):
            return name, value
    raise ReadFailed("shape", "answered 200 with a row that has neither an id nor a name", NO_GITLAB, 200)
