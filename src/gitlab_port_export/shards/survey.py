"""The survey: what the first job read once and every shard needs, as a file without secrets."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from gitlab_port_export import __version__
from gitlab_port_export.base.errors import Fault, UsageError
from gitlab_port_export.base.text import clean
from gitlab_port_export.gitlab.inventory import Active, Inventory, Listed, Patterns
from gitlab_port_export.gitlab.kinds.kind import Context
from gitlab_port_export.gitlab.plan import SyncPlan, make_plan
from gitlab_port_export.mapping.model import Mapping as PortMapping
from gitlab_port_export.model import Dialect, Problem, Scope
from gitlab_port_export.settings.settings import Settings
from gitlab_port_export.shards.sealed import Unsealed, seal, unsealed
from gitlab_port_export.shards.slim import slim
from gitlab_port_export.shards.units import assigned, units_of
from gitlab_port_export.sync.choose import PlannedMapping

FORMAT, VERSION = "gitlab-port-export survey", 2
FILE = "survey.json"
AGAIN = "run survey again, then the shards and reconcile"


@dataclass(frozen=True)
class Survey:
    """What all jobs of one sync share.

    `started` is when the sync began, `instant` Port's clock then, `now` GitLab's, from which time windows count; where
    GitLab did not tell it (`told`), that is this machine's.
    `resources` are those that can run, `searches` says which of them find entities of which by a search, `together` are
    the kinds that one shard reads. `cuts` are by kind and group the instants that cut lists which are too long for one
    shard. `requests` are those to GitLab and Port that the survey took. `digest` is the checksum of the file.
    """

    run: str
    shards: int
    started: datetime
    instant: str | None
    now: datetime
    dialect: Dialect
    integration: str
    port: str
    gitlab: str
    tokens: tuple[tuple[str, tuple[str, ...]], ...]
    mapping: PlannedMapping
    resources: tuple[int, ...]
    inventory: Inventory
    searches: tuple[tuple[int, tuple[int, ...]], ...] = ()
    problems: tuple[Problem, ...] = ()
    together: tuple[str, ...] = ()
    cuts: tuple[tuple[str, int, tuple[datetime, ...]], ...] = ()
    requests: tuple[int, int] = (0, 0)
    told: bool = True
    digest: str = ""

    def context(self, mapping: PortMapping) -> Context:
        """Return what the plan is made of: the same in every job."""
        resources = tuple(one for one in mapping.resources if one.index in self.resources)
        cuts = {(kind, group): instants for kind, group, instants in self.cuts}
        return Context(self.inventory, self.dialect, self.now, resources, cuts=cuts)

    def cut(self, mapping: PortMapping) -> tuple[SyncPlan, tuple[tuple[int, ...], ...]]:
        """Return the whole plan, and the numbers of the reads of each shard."""
        plan = make_plan(self.context(mapping))
        return plan, assigned(units_of(plan, mapping, dict(self.searches), self.together), self.shards)

    def misfits(self, settings: Settings) -> Iterator[Fault]:
        """Yield what of the settings of a job is not as the survey was made with."""
        held = {"GitLab": self.gitlab, "Port": self.port, "tokens": _words(self.tokens)}
        given = {
            "GitLab": settings.gitlab_url,
            "Port": settings.port_base_url,
            "tokens": _words(tokens_of(settings)),
        }
        for name, value in held.items():
            if given[name] != value:
                yield Fault(f"the survey was made with {value}, this job has {given[name]}", name)


def tokens_of(settings: Settings) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the alias and the patterns of each token."""
    return tuple((token.alias, token.patterns) for token in settings.tokens)


def _words(tokens: Sequence[tuple[str, tuple[str, ...]]]) -> str:
    return "; ".join(f"{alias}: {', '.join(patterns)}" for alias, patterns in tokens)


def save(survey: Survey, folder: Path, keys: frozenset[str] | None) -> Survey:
    """Write the survey into a folder, and return it as shards will read it. Raises UsageError.

    Of groups and projects it holds the fields `keys` (None: all), and never a secret.
    """
    head = {"format": FORMAT, "version": VERSION, "program": __version__, **_head(survey, keys)}
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        seal(folder / FILE, head, {})
    except OSError as error:
        why = f"{clean(str(folder), 200)}: the survey cannot be written: {error.strerror or error}"
        raise UsageError(why, hint="name a folder that may be written with --out") from None
    return load(folder)


def load(folder: Path) -> Survey:
    """Return the survey of a folder. Raises UsageError."""
    file = folder / FILE
    try:
        found = unsealed(file)
        if found.head.get("format") != FORMAT or found.head.get("version") != VERSION:
            raise Unsealed("is no survey that this program reads")
        if found.head.get("program") != __version__:
            made = clean(str(found.head.get("program")), 40)
            raise Unsealed(f"was made by version {made} of this program, and this is {__version__}")
        return replace(_survey(found.head), digest=found.checksum)
    except (Unsealed, KeyError, TypeError, ValueError, IndexError) as error:
        why = str(error) if isinstance(error, Unsealed) else "is no survey, or only a part of one"
        raise UsageError(Fault(why, clean(str(file), 200)), hint=AGAIN) from None


def _head(survey: Survey, keys: frozenset[str] | None) -> dict[str, Any]:
    return {
        "run": survey.run, "shards": survey.shards, "started": survey.started.isoformat(), "instant": survey.instant,
        "now": survey.now.isoformat(), "dialect": survey.dialect, "integration": survey.integration,
        "port": survey.port, "gitlab": survey.gitlab, "tokens": survey.tokens, "mapping": asdict(survey.mapping),
        "resources": survey.resources, "searches": survey.searches, "inventory": _packed(survey.inventory, keys),
        "problems": [asdict(one) for one in survey.problems], "together": survey.together, "requests": survey.requests,
        "cuts": [[kind, group, [at.isoformat() for at in instants]] for kind, group, instants in survey.cuts],
        "told": survey.told,
    }  # fmt: skip


def _survey(head: Mapping[str, Any]) -> Survey:
    names = ("run", "shards", "instant", "dialect", "integration", "port", "gitlab")
    return Survey(
        **{name: head[name] for name in names},
        started=datetime.fromisoformat(head["started"]).astimezone(UTC),
        now=datetime.fromisoformat(head["now"]).astimezone(UTC),
        tokens=tuple((alias, tuple(patterns)) for alias, patterns in head["tokens"]),
        mapping=PlannedMapping(**head["mapping"]),
        resources=tuple(head["resources"]),
        searches=tuple((index, tuple(others)) for index, others in head["searches"]),
        inventory=_unpacked(head["inventory"]),
        problems=_problems(head["problems"]),
        together=tuple(head["together"]),
        cuts=tuple(
            (kind, group, tuple(map(datetime.fromisoformat, instants))) for kind, group, instants in head["cuts"]
        ),
        requests=(head["requests"][0], head["requests"][1]),
        told=head["told"] is True,
    )


def _problems(found: Any) -> tuple[Problem, ...]:
    return tuple(TypeAdapter(list[Problem]).validate_python(found))


def _packed(inventory: Inventory, keys: frozenset[str] | None) -> dict[str, Any]:
    """Return an inventory as JSON: each different row once, and lists of their numbers."""
    rows: list[Any] = []
    numbers: dict[Any, int] = {}

    def number(place: Listed) -> int:
        key = (place.kept if isinstance(place.kept, bytes) else id(place.kept), place.scope, place.tokens, place.weaker)
        if key not in numbers:
            numbers[key] = len(rows)
            scope = place.scope
            found = [scope.id, scope.path, scope.is_group, scope.token, place.tokens, place.weaker]
            rows.append([slim(place.row, keys), *found])
        return numbers[key]

    def lists(places: Mapping[Active, tuple[Listed, ...]]) -> list[Any]:
        return [[active, list(map(number, some))] for active, some in places.items()]

    return {
        "groups": lists(inventory.groups_by),
        "projects": lists(inventory.projects_by),
        "all_groups": lists(inventory.all_groups_by),
        "patterns": [[alias, patterns.texts] for alias, patterns in inventory.patterns.items()],
        "listed": [[alias, list(map(list, levels.items()))] for alias, levels in inventory.listed.items()],
        "problems": [asdict(one) for one in inventory.problems],
        "restricted": inventory.restricted,
        "rows": rows,
    }


def _unpacked(data: Mapping[str, Any]) -> Inventory:
    rows = [
        Listed.of(row, Scope(id, path, is_group, token), tuple(tokens), tuple(weaker))
        for row, id, path, is_group, token, tokens, weaker in data["rows"]
    ]

    def places(lists: Any) -> dict[Active, tuple[Listed, ...]]:
        return {active: tuple(rows[number] for number in numbers) for active, numbers in lists}

    return Inventory(
        places(data["groups"]),
        places(data["projects"]),
        {alias: Patterns(tuple(texts)) for alias, texts in data["patterns"]},
        {alias: dict(levels) for alias, levels in data["listed"]},
        places(data["all_groups"]),
        _problems(data["problems"]),
        data["restricted"],
    )
