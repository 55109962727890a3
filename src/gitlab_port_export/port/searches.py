"""What search queries find in Port: asked once, many in one request, and again after writes that may change it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from gitlab_port_export.base.answer import Unreachable
from gitlab_port_export.base.jsontext import encode
from gitlab_port_export.model import Create, Update
from gitlab_port_export.port.blueprint import Blueprint
from gitlab_port_export.port.catalog import search
from gitlab_port_export.port.client import Port, PortRefused

# The most values in one request, and the most bytes, far below Port's limit.
MOST_VALUES = 100
MOST_BYTES = 256 * 1024
# From so many requests on, Port is asked first whether it holds anything of the blueprint.
MANY_REQUESTS = 3
# Port may compare texts of these formats in another way than letter by letter.
LOOSE = ("date-time", "timer")

Query = Mapping[str, Any]
# A query's key in the answers, and the query.
Question = tuple[str, Query]
Answers = dict[str, list[str] | None]


@dataclass
class Intended:
    """What a plan would write to one blueprint: rows as Port would show them, as far as that is known."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    _places: dict[str, dict[Any, list[str]]] = field(default_factory=dict)

    def put(self, identifier: str, body: Mapping[str, Any], *, new: bool) -> None:
        """Note fields of an entity; all others of a new entity are null."""
        row = self.rows.setdefault(identifier, {"$identifier": identifier})
        if new:
            row["new"] = True
            row["$title"] = identifier
        if "title" in body:
            row["$title"] = body["title"] or identifier
        row.update(body.get("properties") or {})
        self._places.clear()

    def amended(self, answer: Sequence[str], query: Query) -> list[str]:
        """Return what a query would find after the plan, given what it finds now."""
        kept = [name for name in answer if name not in self.rows or fits(query, self.rows[name]) is not False]
        added = (name for name in self._candidates(query) if fits(query, self.rows[name]))
        return sorted({*kept, *added})

    def _candidates(self, query: Query) -> Iterable[str]:
        """Return the rows that may fit; where one value is searched for they are looked up."""
        match query.get("rules"):
            case [{"property": str(name), "operator": "=", "value": str(value)}]:
                if name not in self._places:
                    places = self._places[name] = {}
                    for identifier, row in self.rows.items():
                        if isinstance(row.get(name), str):
                            places.setdefault(row[name], []).append(identifier)
                return self._places[name].get(value, ())
        return self.rows


def fits(query: Query, row: Mapping[str, Any]) -> bool | None:
    """Return whether a row fits a query, None where that is not known: a row may lack fields of an existing entity."""
    verdicts = [fits(rule, row) if "rules" in rule else _fits(rule, row) for rule in query.get("rules") or ()]
    decisive = query.get("combinator") == "or"
    if decisive in verdicts:
        return decisive
    return None if None in verdicts else not decisive


def _fits(rule: Mapping[str, Any], row: Mapping[str, Any]) -> bool | None:
    name, wanted = rule.get("property"), _given(rule)
    if not isinstance(name, str) or (name not in row and ("new" not in row or name.startswith("$"))):
        return None
    held = row.get(name)
    match rule.get("operator"):
        case "=":
            return held in wanted
        case "in" | "containsAny":
            return any(one in wanted for one in (held if isinstance(held, list) else [held]))
        case "contains" if isinstance(held, list) or (
            isinstance(held, str) and all(isinstance(w, str) for w in wanted)
        ):
            return all(one in held for one in wanted)
    return None


@dataclass
class Searches:
    """The answers to search queries, by blueprint.

    `is_empty` says whether Port held nothing of a blueprint when this run began. A plan, which writes nothing, gives
    what would be written to the `watched` blueprints to `intend`, and gets answers as if it were.
    """

    port: Port
    blueprints: Mapping[str, Blueprint]
    executor: Executor
    is_empty: Callable[[str], bool]
    watched: Set[str] = frozenset()
    _intended: dict[str, Intended] = field(default_factory=dict)
    _answers: dict[str, Answers] = field(default_factory=dict)
    _touched: set[str] = field(default_factory=set)
    _written: set[str] = field(default_factory=set)

    def ask(self, wanted: Iterable[tuple[str, Query]]) -> None:
        """Ask each of these (blueprint, query) that has no answer yet; all side by side."""
        questions: dict[str, dict[str, Query]] = {}
        for target, query in wanted:
            if (key := repr(query)) not in self._answers.setdefault(target, {}):
                questions.setdefault(target, {})[key] = query
        asked = [(target, batch) for target, found in questions.items() for batch in self._batches(target, found)]
        answers = [self.executor.submit(_answered, self.port, target, batch) for target, batch in asked]
        for (target, _), answer in zip(asked, answers, strict=True):
            self._answers[target].update(answer.result())

    def found(self, target: str, query: Query) -> list[str] | None:
        """Return the identifiers that a query finds, in order, or None where Port did not say; it was asked before."""
        answer = self._answers[target][repr(query)]
        intended = self._intended.get(target)
        return answer if answer is None or intended is None else intended.amended(answer, query)

    def intend(self, change: Create | Update) -> None:
        """Note a change of a plan, and the related entities that Port would create with it."""
        entity = change.entity
        self.touch(entity.blueprint)
        if entity.blueprint in self.watched:
            self._of(entity.blueprint).put(str(entity.identifier), entity.body, new=isinstance(change, Create))
        known = self.blueprints[entity.blueprint].relations
        for name, value in entity.relations:
            if value and name in known and known[name].target in self.watched:
                for one in value if isinstance(value, list) else [value]:
                    self._of(known[name].target).put(str(one), {}, new=False)

    def _of(self, blueprint: str) -> Intended:
        return self._intended.setdefault(blueprint, Intended())

    def shows(self, blueprint: str) -> bool:
        """Return whether Port shows the blueprint; it may hide its own, such as `_team`."""
        return blueprint in self.blueprints

    def touch(self, *blueprints: str) -> None:
        """Note that this run wrote, or may have created, entities of these blueprints."""
        self._touched.update(blueprints)

    def refresh(self) -> set[str]:
        """Drop answers that writes may have changed; return the blueprints that were written to since the last call."""
        touched, self._touched = self._touched, set()
        for name in touched:
            self._answers.pop(name, None)
        self._written |= touched
        return touched

    def _batches(self, target: str, questions: Mapping[str, Query]) -> list[list[Question]]:
        """Return the questions in batches of about one request each; none where nothing can be found."""
        if not self.shows(target):
            self._answers[target].update(dict.fromkeys(questions))
            return []
        odd = {key: None for key, query in questions.items() if not is_query(query)}
        self._answers[target].update(odd)
        questions = {key: query for key, query in questions.items() if key not in odd}
        batches = list(batched(self.blueprints.get(target), questions.items()))
        if self._is_bare(target) or (len(batches) >= MANY_REQUESTS and self._has_none(target)):
            self._answers[target].update((key, []) for key in questions)
            return []
        return batches

    def _is_bare(self, target: str) -> bool:
        """Return whether Port certainly holds nothing of a blueprint; writes may have created related entities too."""
        written = self._written | self._touched
        reached = (relation.target for name in written for relation in self._relations(name))
        return target not in written and target not in reached and self.is_empty(target)

    def _relations(self, name: str) -> Iterable[Any]:
        return self.blueprints[name].relations.values() if name in self.blueprints else ()

    def _has_none(self, target: str) -> bool:
        try:
            return not next(search(self.port, target, (), ["$identifier"], limit=1), None)
        except (PortRefused, Unreachable):
            return False


def is_query(value: Any) -> bool:
    """Return whether a value is a query with rules; without rules it would find everything."""
    rules = value.get("rules")
    return (
        value.get("combinator") in ("and", "or")
        and isinstance(rules, list)
        and bool(rules)
        and all(isinstance(rule, dict) and ("rules" not in rule or is_query(rule)) for rule in rules)
    )


def batched(blueprint: Blueprint | None, questions: Iterable[Question]) -> Iterator[list[Question]]:
    """Yield together the questions that one request can answer, and all others alone."""
    batch: list[Question] = []
    values, size = 0, 0
    for key, query in questions:
        if not (number := _values(blueprint, query)):
            yield [(key, query)]
            continue
        length = len(encode(query))
        if batch and (values + number > MOST_VALUES or size + length > MOST_BYTES):
            yield batch
            batch, values, size = [], 0, 0
        batch.append((key, query))
        values, size = values + number, size + length
    if batch:
        yield batch


def _values(blueprint: Blueprint | None, query: Query) -> int:
    """Return how many values a query compares with, 0 where only Port can tell what matches it."""
    numbers = [
        _values(blueprint, rule) if "rules" in rule else len(_given(rule)) if _is_plain(blueprint, rule) else 0
        for rule in query["rules"]
    ]
    return sum(numbers) if all(numbers) else 0


def _is_plain(blueprint: Blueprint | None, rule: Mapping[str, Any]) -> bool:
    """Return whether a rule compares plain texts; how Port compares other values is not documented."""
    name = rule.get("property")
    if not isinstance(name, str) or rule.get("operator") not in ("=", "in"):
        return False
    if name not in ("$identifier", "$title"):
        schema = (blueprint.properties if blueprint else {}).get(name, {})
        if schema.get("type") != "string" or schema.get("format") in LOOSE:
            return False
    return all(isinstance(value, str) for value in _given(rule))


def _given(rule: Mapping[str, Any]) -> list[Any]:
    value = rule.get("value")
    return value if isinstance(value, list) else [value]


def _answered(port: Port, target: str, batch: Sequence[Question]) -> Answers:
    """Answer the questions of a batch by one request, or each by its own where that fails."""
    try:
        if len(batch) > 1 and (answers := _together(port, target, batch)):
            return answers
    except PortRefused:
        pass  # one of the questions may be the cause
    except Unreachable:
        return dict.fromkeys(key for key, _ in batch)
    return {key: _alone(port, target, query) for key, query in batch}


def _alone(port: Port, target: str, query: Query) -> list[str] | None:
    rule = {"combinator": query["combinator"], "rules": query["rules"]}
    try:
        return sorted(row["identifier"] for page in search(port, target, [rule], ["$identifier"]) for row in page)
    except (PortRefused, Unreachable):
        return None


def _together(port: Port, target: str, batch: Sequence[Question]) -> Answers | None:
    """Return what each question finds, None where a row fits none of them. Raises PortRefused and Unreachable."""
    single: dict[tuple[str, str | None], list[str]] = {}
    others: list[Question] = []
    for key, query in batch:
        rules = query["rules"]
        if len(rules) == 1 and rules[0].get("operator") == "=":
            single.setdefault((rules[0]["property"], rules[0]["value"]), []).append(key)
        else:
            others.append((key, query))
    rules, names = _union(single, others), {name for _, query in batch for name in _properties(query)}
    found: dict[str, list[str]] = {key: [] for key, _ in batch}
    for page in search(port, target, rules, ["$identifier", *sorted(names - {"$identifier"})]):
        for row in page:
            matching = {key for name in names for key in single.get((name, _held(row, name)), ())}
            matching.update(key for key, query in others if _matches(query, row))
            if not matching:
                return None
            for key in matching:
                found[key].append(row["identifier"])
    return {key: sorted(identifiers) for key, identifiers in found.items()}


def _union(single: Iterable[tuple[str, str | None]], others: Iterable[Question]) -> list[Query]:
    """Return the rules that find what any of the questions finds: values of one property stand in one rule."""
    values: dict[str, list[str | None]] = {}
    for name, value in single:
        values.setdefault(name, []).append(value)
    rules: list[Query] = [{"property": name, "operator": "in", "value": found} for name, found in values.items()]
    rules += ({"combinator": query["combinator"], "rules": query["rules"]} for _, query in others)
    return rules if len(rules) == 1 else [{"combinator": "or", "rules": rules}]


def _properties(query: Query) -> Iterator[str]:
    for rule in query["rules"]:
        yield from _properties(rule) if "rules" in rule else (rule["property"],)


def _matches(query: Query, row: Mapping[str, Any]) -> bool:
    verdicts = (
        _matches(rule, row) if "rules" in rule else _held(row, rule["property"]) in _given(rule)
        for rule in query["rules"]
    )
    return all(verdicts) if query["combinator"] == "and" else any(verdicts)


def _held(row: Mapping[str, Any], name: str) -> Any:
    value = row.get(name[1:]) if name.startswith("$") else (row.get("properties") or {}).get(name)
    return value if isinstance(value, str) else None
