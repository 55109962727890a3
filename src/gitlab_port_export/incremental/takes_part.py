"""Which resources take part in an incremental run, and why the others do not. Pure.

A run that sees some rows may only write entities over which one row decides. Where several rows may give an entity it
would write another winner than a full run, and the next full run would set it back.
"""

import json
import re
from collections.abc import Iterator

from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.gitlab.kinds.kind import Since
from gitlab_port_export.jq.program import rewrite_quotes
from gitlab_port_export.live.reach import looked_at
from gitlab_port_export.mapping.blueprints import constant_blueprint
from gitlab_port_export.mapping.model import EntityMapping, Mapping, Resource

SEVERAL = "several rows may give one entity"
TEXT = re.compile(r'"(?:[^"\\]|\\[^(])*"')
# What may give the same for different keys.
LOSSY = re.compile(
    r"\b(split|splits|first|last|if|test|match|capture|length|floor|round|ceil|min|max|any|all|has|contains|inside"
    r"|startswith|endswith|type|not|and|or|limit|index|ltrimstr|rtrimstr|scan|reduce|foreach)\b|[\[%<>]|==|!="
)
REPLACED = re.compile(r'\bg?sub\(\s*(?:("(?:[^"\\]|\\[^(])*")\s*;)?')
# Texts that tell rows apart, by their number and by their project.
ALIKE = tuple(
    tuple(
        form.format(path, number) for path in ("group/project", "group/other", "more/project") for number in (12, 345)
    )
    for form in ("{}!{}", "{}#{}", "https://gitlab.com/{}/-/merge_requests/{}", "https://gitlab.com/{}/-/issues/{}")
)


def left_out(mapping: Mapping) -> dict[int, str]:
    """Return the resources that are left to full runs by index, each with the reason."""
    found = {resource.index: why for resource in mapping.resources if (why := _alone(resource))}
    # What shares an entity with a resource that is left is left too.
    while more := dict(_by_others(mapping, found)):
        found |= more
    return dict(sorted(found.items()))


def _alone(resource: Resource) -> str:
    """Return why a resource does not take part, whatever the others do."""
    kind = KINDS.get(resource.kind)
    since = kind.since if kind else None
    if since is None or since.taken == "nothing":
        return since.why if since else "the kind is not known"
    if why := since.unfit(resource.selector):
        return why
    return next(_shared(resource, since), "")


def names_rows(resource: Resource) -> bool:
    """Say whether each entity of a resource is made of one row alone, as far as the mapping tells."""
    kind = KINDS.get(resource.kind)
    return kind is not None and kind.since is not None and not any(_shared(resource, kind.since))


def _shared(resource: Resource, since: Since) -> Iterator[str]:
    """Yield why several rows of a resource may give one entity."""
    for entity in resource.mappings:
        if isinstance(entity.identifier, dict):
            yield "a search finds the entities"
        elif constant_blueprint(entity.blueprint) is None:
            yield "the row decides over the blueprint"
        elif not _names_row(entity.identifier, since, resource.port.items_to_parse_name):
            yield f"{SEVERAL}, as far as the identifier tells"


def _names_row(identifier: str, since: Since, item: str) -> bool:
    """Say whether an identifier is made of what tells a row from all others, and of nothing else of the row."""
    expression = rewrite_quotes(identifier)
    seen = looked_at(expression)
    if seen is None or LOSSY.search(TEXT.sub('""', expression)) or _takes_away(expression):
        return False
    paths = {".".join(path) for path, _ in seen if path and path[0] != item}
    known = {name for key in since.keys for name in key}
    return paths <= known and any(paths.issuperset(key) for key in since.keys)


def _takes_away(expression: str) -> bool:
    """Say whether `sub` or `gsub` may take away what tells rows apart, as `sub("!.*"; "")` does."""
    return any(_makes_equal(found[1]) for found in REPLACED.finditer(expression))


def _makes_equal(quoted: str | None) -> bool:
    try:
        pattern = re.compile(json.loads(quoted or ""))
    except (ValueError, re.error):
        return True  # it cannot be told
    return any(len({pattern.sub("", text) for text in texts}) < len(texts) for texts in ALIKE)


def _by_others(mapping: Mapping, known: dict[int, str]) -> Iterator[tuple[int, str]]:
    """Yield further resources that are left: another one sets the same fields of a blueprint by other rows."""
    for resource in mapping.resources:
        if resource.index in known:
            continue
        others = (one for one in mapping.resources if one.index != resource.index)
        if any(_collide(mapping, resource, other, other.index in known) for other in others):
            yield resource.index, f"{SEVERAL}: another resource sets the same fields"


def _collide(mapping: Mapping, one: Resource, other: Resource, is_left: bool) -> bool:
    return any(
        _share(mapping, mine, its) and (is_left or other.kind != one.kind or mine.identifier != its.identifier)
        for mine in one.mappings
        for its in other.mappings
    )


def _share(mapping: Mapping, one: EntityMapping, other: EntityMapping) -> bool:
    """Say whether two entity mappings may set the same field of an entity; without merging the last sets all."""
    if constant_blueprint(other.blueprint) not in (None, constant_blueprint(one.blueprint)):
        return False
    if not mapping.enable_merge_entity:
        return True
    return not _fields(one).isdisjoint(_fields(other))


def _fields(entity: EntityMapping) -> frozenset[str]:
    return frozenset(name for name, _ in entity.fields()) - {"identifier", "blueprint"}
