"""The stand-in Port's routes for entities: writing, deleting, reading, searching."""

from __future__ import annotations

from dataclasses import replace

from gitlab_port_export.demo.port_call import Call, Reply
from gitlab_port_export.demo.port_cursors import parse_before
from gitlab_port_export.demo.port_drafts import Mode
from gitlab_port_export.demo.port_query import View, compile_view, paged_names
from gitlab_port_export.demo.port_rules import JsonObject, RefusedError, check_entity_body, malformed

MAX_BULK = 20
MAX_BULK_DELETE = 100
MAX_PAGE = 1000
MAX_OWNED_PAGE = 5000


def _mode(call: Call) -> Mode:
    return Mode(
        upsert=call.flag("upsert"),
        merge=call.flag("merge"),
        create_missing=call.flag("create_missing_related_entities"),
        validation_only=call.flag("validation_only"),
    )


def _create_entity(call: Call) -> Reply:
    row = call.object()
    check_entity_body(row, "body", null_titles=call.store.null_titles)
    return _written(call, row, _mode(call), 201)


def _replace_entity(call: Call) -> Reply:
    row = _aimed(call)
    check_entity_body(row, "body", null_titles=call.store.null_titles)
    return _written(call, row, replace(_mode(call), must_exist=True, merge=False), 200)


def _patch_entity(call: Call) -> Reply:
    row = _aimed(call)
    check_entity_body(row, "body", patch=True)
    return _written(call, row, replace(_mode(call), must_exist=True, merge=True), 200)


def _aimed(call: Call) -> JsonObject:
    row, identifier = call.object(), call.params["id"]
    if row.get("identifier", identifier) != identifier:
        raise malformed("this stand-in renames no entities")
    return {**row, "identifier": identifier}


def _written(call: Call, row: JsonObject, mode: Mode, status: int) -> Reply:
    call.store.runs.check_tie(call.one("run_id"))
    entity, _ = call.store.write(call.params["bp"], row, mode, call.author)
    _tie(call, [entity.identifier])
    return status, {"ok": True, "entity": _view(call, call.params["bp"])(entity)}


def _tie(call: Call, identifiers: list[str]) -> None:
    call.store.runs.tie(call.one("run_id"), call.params["bp"], identifiers)


def _write_bulk(call: Call) -> Reply:
    rows = call.object(("entities",), ("entities",))["entities"]
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_BULK:
        raise malformed(f"body/entities must be an array of 1 to {MAX_BULK} items")
    for index, row in enumerate(rows):
        check_entity_body(row, f"body/entities/{index}", null_titles=call.store.null_titles)
    mode = _mode(call)
    call.store.blueprint(call.params["bp"])
    call.store.runs.check_tie(call.one("run_id"))
    entities: list[JsonObject] = []
    errors: list[JsonObject] = []
    for index, row in enumerate(rows):
        try:
            entity, created = call.store.write(call.params["bp"], row, mode, call.author)
            entities.append({"created": created, "identifier": entity.identifier, "index": index})
        except RefusedError as refused:
            errors.append(_row_error(row, index, refused))
    _tie(call, [one["identifier"] for one in entities])
    return (207 if errors else 200), {"ok": not errors, "entities": entities, "errors": errors}


def _row_error(row: JsonObject, index: int, refused: RefusedError) -> JsonObject:
    identifier = row.get("identifier")
    return {
        # A row whose identifier is a query that found no single entity has no name to be called by.
        "identifier": identifier if isinstance(identifier, str) else "unknown",
        "index": index,
        "statusCode": refused.status,
        "error": refused.error,
        "message": refused.message,
    }


def _delete_entity(call: Call) -> Reply:
    call.store.get(call.params["bp"], call.params["id"])
    call.store.runs.check_tie(call.one("run_id"))
    call.store.delete(call.params["bp"], [call.params["id"]], cascade=call.flag("delete_dependents"))
    _tie(call, [call.params["id"]])
    return 200, {"ok": True}


def _delete_bulk(call: Call) -> Reply:
    names = call.object(("entities",), ("entities",))["entities"]
    if not isinstance(names, list) or not 1 <= len(names) <= MAX_BULK_DELETE:
        raise malformed(f"body/entities must be an array of 1 to {MAX_BULK_DELETE} items")
    if not all(isinstance(name, str) for name in names):
        raise malformed("body/entities items must be string")
    call.store.runs.check_tie(call.one("run_id"))
    deleted = call.store.delete(call.params["bp"], names, cascade=call.flag("delete_dependents"))
    _tie(call, deleted)
    return 200, {"ok": True, "deletedEntities": deleted}


def _view(call: Call, blueprint: str, include: list[str] | None = None, exclude: list[str] | None = None) -> View:
    return compile_view(
        call.store.blueprint(blueprint),
        call.many("include") if include is None else include,
        call.many("exclude") if exclude is None else exclude,
        calculated=not call.flag("exclude_calculated_properties"),
        nulls=call.store.show_nulls,
    )


def _get_entity(call: Call) -> Reply:
    entity = call.store.get(call.params["bp"], call.params["id"])
    return 200, {"ok": True, "entity": _view(call, call.params["bp"])(entity)}


def _get_entities(call: Call) -> Reply:
    view = _view(call, call.params["bp"])
    found = call.store.find({"combinator": "and", "rules": []}, call.params["bp"])
    return 200, {"ok": True, "entities": [view(entity) for entity in found]}


def _count_entities(call: Call) -> Reply:
    return 200, {"ok": True, "count": call.store.count(call.params["bp"])}


def _search_page(call: Call) -> Reply:
    body = call.object(("query", "include", "exclude", "limit", "from"))
    limit, cursor = _limit(body, 200, MAX_PAGE), _cursor(body)
    include, exclude = (paged_names(_names(body, part)) for part in ("include", "exclude"))
    view = _view(call, call.params["bp"], include, exclude)
    rows, following = call.store.page(call.params["bp"], body.get("query"), cursor, limit)
    return 200, {"ok": True, "entities": [view(entity) for entity in rows], **_next(following)}


def _search_all(call: Call) -> Reply:
    query = call.object(("combinator", "rules"))
    found = call.store.find(query)
    names = list(dict.fromkeys(entity.blueprint for entity in found))
    views = {name: _view(call, name) for name in names}
    return 200, {
        "ok": True,
        "matchingBlueprints": names,
        "entities": [views[entity.blueprint](entity) for entity in found],
    }


def _owned(call: Call) -> Reply:
    texts = ("datasource_prefix", "datasource_suffix")
    body = call.object((*texts, "limit", "from", "before"), texts)
    if not all(isinstance(body[name], str) for name in texts):
        raise malformed("body/datasource_prefix and body/datasource_suffix must be string")
    limit, before = _limit(body, MAX_OWNED_PAGE, MAX_OWNED_PAGE), parse_before(body.get("before"))
    prefix, suffix = (body[name] for name in texts)
    rows, following = call.store.owned(prefix, suffix, before, _cursor(body), limit)
    entities = [{"identifier": entity.identifier, "blueprint": entity.blueprint} for entity in rows]
    return 200, {"ok": True, "entities": entities, **_next(following)}


def _limit(body: JsonObject, default: int, highest: int) -> int:
    limit = body.get("limit", default)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= highest:
        raise malformed(f"body/limit must be a number from 1 to {highest}")
    return limit


def _cursor(body: JsonObject) -> str | None:
    cursor = body.get("from")
    if "from" in body and not isinstance(cursor, str):
        raise malformed("body/from must be string")
    return cursor


def _names(body: JsonObject, part: str) -> list[str]:
    names = body.get(part, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise malformed(f"body/{part} must be array of strings")
    return names


def _next(cursor: str | None) -> JsonObject:
    return {} if cursor is None else {"next": cursor}


ROUTES = (
    ("POST", "blueprints/entities/datasource-entities", _owned),
    ("GET", "blueprints/:bp/entities-count", _count_entities),
    ("GET", "blueprints/:bp/entities", _get_entities),
    ("POST", "blueprints/:bp/entities", _create_entity),
    ("POST", "blueprints/:bp/entities/bulk", _write_bulk),
    ("POST", "blueprints/:bp/entities/search", _search_page),
    ("POST", "blueprints/:bp/bulk/entities/delete", _delete_bulk),
    ("GET", "blueprints/:bp/entities/:id", _get_entity),
    ("PUT", "blueprints/:bp/entities/:id", _replace_entity),
    ("PATCH", "blueprints/:bp/entities/:id", _patch_entity),
    ("DELETE", "blueprints/:bp/entities/:id", _delete_entity),
    ("POST", "entities/search", _search_all),
)
