"""Writes the generated parts of the pages on mappings and permissions from the kinds; `--check` says what is stale."""

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.http import Http
from gitlab_port_export.commands.schema import mapping_schema
from gitlab_port_export.demo.gitlab import gitlab_server
from gitlab_port_export.demo.world import OWNER, World, sample_world
from gitlab_port_export.gitlab.client import GitLab, Token
from gitlab_port_export.gitlab.inventory import Patterns, read_inventory
from gitlab_port_export.gitlab.kinds import KINDS
from gitlab_port_export.gitlab.kinds.kind import Context, Kind, Requests, Taken
from gitlab_port_export.gitlab.plan import make_plan, needed_actives
from gitlab_port_export.gitlab.read import read
from gitlab_port_export.mapping.load import mapping_from_object
from gitlab_port_export.model import Dialect, Page

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "mapping.md"
PAGES = (PAGE, DOCS / "permissions.md", DOCS / "incremental.md")
PART = re.compile(r"(<!-- generated: (?P<name>[\w -]+) -->\n).*?(<!-- end -->\n)", re.DOTALL)
SCHEMA = mapping_schema(KINDS)

# A row of a table, and the rows of a nested block.
Cells = tuple[str, ...]
Block = tuple[Cells, ...]


def world() -> World:
    """Return the GitLab that the examples are for: the sample, and files that few projects have."""
    found = sample_world(datetime.now(UTC))
    # Some kinds want a higher role than the sample's tokens have.
    owners = {token.user["id"] for token in found.tokens.values()}
    members = (*found.group_members.values(), *found.project_members.values())
    for member in (row for rows in members for row in rows):
        member["access_level"] = OWNER if member["id"] in owners else member["access_level"]
    gateway = found.project("platform/gateway")
    found.set_file(gateway, ".claude/skills/review/SKILL.md", "---\nname: review\n---\nRead before you write.\n")
    found.set_file(gateway, ".claude-plugin/plugin.json", '{"name": "gateway", "version": "1.0.0"}\n')
    return found


def generated(text: str) -> str:
    """Return the page with every generated part as it should be."""
    return PART.sub(lambda found: found[1] + _part(found["name"], text) + found[3], text)


def example_of(kind: str, text: str) -> Any:
    """Return the first example of a kind's section as a list of resources."""
    section = re.search(rf"^### `{re.escape(kind)}`\n(.*?)(?=^##|\Z)", text, re.DOTALL | re.MULTILINE)
    found = re.search(r"^```yaml\n(.*?)^```", section[1] if section else "", re.DOTALL | re.MULTILINE)
    return yaml.safe_load(found[1]) if found else []


def _part(name: str, text: str) -> str:
    match name.split():
        case ["options"]:
            return _table(SCHEMA, skip=("resources",), snake_case=False)
        case ["definition", title]:
            return _table(SCHEMA["$defs"][title])
        case ["kinds"]:
            return " · ".join(f"[`{kind}`](#{kind})" for kind in KINDS) + "\n"
        case ["kind", kind]:
            return _kind(KINDS[kind], text)
        case ["permissions"]:
            return _permissions()
        case ["since"]:
            return _since()
    raise SystemExit(f"nothing is generated under the name {name!r}")


def _table(schema: Any, skip: tuple[str, ...] = ("-",), *, snake_case: bool = True) -> str:
    rows = [row for row in _rows(schema) if not row[0].startswith(skip) and (snake_case or "_" not in row[0])]
    return _markdown(("name", "value", "default", ""), rows)


def _rows(schema: Any, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield (name, values, default, description) of each field, those of nested blocks too."""
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        default = "required" if name in required else _value(field["default"]) if "default" in field else ""
        yield f"{prefix}{name}", _values(field), default, field.get("description", "")
        block = _block(field)
        if block and block.get("properties") and prefix.count(".") < 2:
            many = "[]" if "array" in str(field.get("type")) else ""
            yield from _rows(block, f"{prefix}{name}{many}.")


def _block(field: Any) -> Any:
    """Return the definition that a field, or an item of its list, refers to; search queries are told once."""
    places = (field, *field.get("anyOf", ()), field.get("items") or {}, *((field.get("items") or {}).get("anyOf", ())))
    names = [place["$ref"].rpartition("/")[2] for place in places if "$ref" in place]
    return next((SCHEMA["$defs"][name] for name in names if name not in ("Boolean", "NumberText", "_Search")), None)


def _values(field: Any) -> str:  # noqa: PLR0911  # one answer a form of schema
    """Return in words what a field takes."""
    if "enum" in field:
        return ", ".join(_value(one) for one in field["enum"])
    if "const" in field:
        return _value(field["const"])
    if "oneOf" in field:
        return "a kind, see below"
    if "anyOf" in field:
        kinds = [_values(one) for one in field["anyOf"]]
        return " or ".join(dict.fromkeys(kind for kind in kinds if kind and kind != "null"))
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return {"Boolean": "true, false", "NumberText": "", "_Search": "search query"}.get(name, "object")
    match field.get("type"):
        case "array":
            inner = _values(field.get("items", {}))
            return f"list: {inner}" if inner else "list"
        case ["string", "number", "boolean"]:
            return "jq"
        case ["string", "number"] | "string":
            return "text"
        case None:
            return ""
        case kind:
            return str(kind)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return ", ".join(map(_value, value))
    return "" if value is None else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


_TAKEN: dict[Taken, str] = {
    "all": "every row",
    "updated": "rows that GitLab lists as updated",
    "of pipelines": "in projects whose pipelines changed or go on",
    "of active projects": "in projects that show any activity",
    "of updated projects": "in projects whose own row changed",
}


def _since() -> str:
    """Return the table of what an incremental run reads of each kind."""
    rows = []
    for name, kind in KINDS.items():
        since = kind.since
        if since is None:
            sys.exit(f"the kind {name} does not say how it takes part in an incremental run")
        left = f"left to full runs: {since.why}"
        rows.append((name, left if since.taken == "nothing" else _TAKEN[since.taken], since.unseen))
    return _markdown(("kind", "what an incremental run reads", "not seen before the next full run"), rows)


def _kind(kind: Kind, text: str) -> str:
    about = kind.about
    lines = [about.what, "", f"GitLab: {', '.join(f'`{endpoint}`' for endpoint in about.endpoints)}."]
    if about.role:
        effect = f"refuses {about.refuses}" if about.refuses else f"silently leaves out {about.hides}"
        lines += ["", f"Below the role {_ROLES[about.role]} GitLab {effect}."]
    if rows := list(_told_once(kind)):
        lines += ["", _markdown(("selector", "value", "default", ""), rows).rstrip()]
    keys = _keys(kind.name, text)
    if untold := [key for key in keys if key.startswith("__") and key not in about.adds and key not in about.what]:
        sys.exit(f"the kind {kind.name} does not tell what {', '.join(untold)} is")
    if own := _own_keys(kind.name, text):
        same = next(name for name in KINDS if _own_keys(name, text) == own)
        fields = ", ".join(f"`.{key}`" for key in own)
        lines += ["", f"A row has {fields if same == kind.name else f'the fields of [`{same}`](#{same})'}."]
    if about.adds:
        lines += ["", _markdown(("added", ""), [(f".{name}", what) for name, what in about.adds.items()]).rstrip()]
    return "\n".join(lines) + "\n"


def _own_keys(kind: str, text: str) -> list[str]:
    """Return the keys of a kind's rows but for those that are added."""
    return [key for key in _keys(kind, text) if key not in KINDS[kind].about.adds]


@cache
def _keys(kind: str, text: str) -> list[str]:
    return sorted({key for dialect in ("gitlab-v2", "gitlab") for key in row_keys(kind, dialect, text)})


def _selector_rows(kind: Kind) -> list[Cells]:
    definition = SCHEMA["$defs"][kind.selector.__name__]
    return [row for row in _rows(definition) if row[0] not in ("query", "exportEnvVariables")]


def _told_once(kind: Kind) -> Iterator[Cells]:
    """Yield the rows of a selector; the fields of a block that an earlier kind has too are told there."""
    known: dict[Block, tuple[str, str]] = {}
    for name, other in KINDS.items():
        for block, fields in _blocks(_selector_rows(other)).items():
            known.setdefault(fields, (name, block))
        if name == kind.name:
            break
    rows = _selector_rows(kind)
    elsewhere = {block: known[fields] for block, fields in _blocks(rows).items() if known[fields][0] != kind.name}
    for name, values, default, description in rows:
        head, _, inner = name.partition(".")
        if inner and head in elsewhere:
            continue
        other_kind, block = elsewhere.get(head, ("", ""))
        same = f"; its fields are those of `{block}` of [`{other_kind}`](#{other_kind})" if block else ""
        yield name, values, default, description + same


def _blocks(rows: list[Cells]) -> dict[str, Block]:
    """Return the fields of each block of a table, by the block's name."""
    found: dict[str, list[Cells]] = {}
    for name, *cells in rows:
        head, _, inner = name.partition(".")
        if inner:
            found.setdefault(head, []).append((inner, *cells))
    return {name: tuple(fields) for name, fields in found.items()}


def _permissions() -> str:
    """Return the table of what each kind needs and how many requests it takes."""
    head = ("kind", "role", "below that role", "token scope", "GitLab plan", "requests")
    return _markdown(head, [_permission(kind) for kind in KINDS.values()])


def _permission(kind: Kind) -> tuple[str, ...]:
    about = kind.about
    below = f"GitLab refuses {about.refuses}" if about.refuses else f"GitLab silently leaves out {about.hides}"
    role = _ROLES[about.role] if about.role else "any"
    return kind.name, role, below if about.role else "", f"`{about.scope}`", about.plan, _requests(about.requests)


def _requests(requests: Requests) -> str:
    """Return in words how many requests a kind takes."""
    counts = (
        (requests.once, "once"),
        (requests.group, "a group"),
        (requests.top_group, "a topmost group"),
        (requests.project, "a project"),
    )
    parts = [f"{count} {what}" for count, what in counts if count]
    return ", ".join([*parts, *([f"1 a {requests.each}"] if requests.each else [])]) or "none"


_ROLES = {15: "Planner", 20: "Reporter", 30: "Developer", 40: "Maintainer", 50: "Owner"}


def row_keys(kind: str, dialect: Dialect, text: str) -> set[str]:
    """Return the top-level keys of the rows that the section's example reads from the sample GitLab."""
    mapping, _ = mapping_from_object({"resources": example_of(kind, text)}, "example", _selectors())
    sample = world()
    with gitlab_server(sample) as server:
        http = Http(server.url, user_agent="docs", verify=True, timeout=10, clock=Clock(), workers=2)
        secret = next(iter(sample.tokens))
        gitlab = GitLab(http, {"token 1": Token("token 1", lambda: secret)})
        patterns = {"token 1": Patterns(("**",))}
        wide = mapping.model_copy(update={"filter_owned_projects": None})
        inventory = read_inventory(gitlab, patterns, dialect, wide, needed_actives(mapping), 2)
        plan = make_plan(Context(inventory, dialect, datetime.now(UTC), mapping.resources))
        pages = [page for page in read(plan, gitlab, 2) if isinstance(page, Page) and page.kind == kind]
        http.close()
    return {key for page in pages for row in page.rows for key in row}


def _selectors() -> Any:
    return {name: kind.selector for name, kind in KINDS.items()}


def _markdown(head: tuple[str, ...], rows: Any) -> str:
    """Return a table whose first column is code."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| `{row[0]}` | {' | '.join(_cell(cell) for cell in row[1:])} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Write the pages, or with `--check` fail when one is stale or a kind has no section."""
    text = PAGE.read_text("utf-8")
    if missing := [kind for kind in KINDS if f"<!-- generated: kind {kind} -->" not in text]:
        sys.exit(f"{PAGE.name} has no section for {', '.join(missing)}")
    for page in PAGES:
        text = page.read_text("utf-8")
        fresh = generated(text)
        if "--check" not in sys.argv[1:]:
            page.write_text(fresh, "utf-8")
        elif fresh != text:
            sys.exit(f"{page.name} is stale: run `make docs`")


if __name__ == "__main__":
    main()
