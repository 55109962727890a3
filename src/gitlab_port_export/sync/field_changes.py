"""What a change does to one field, as a report may show it: short, without secrets, and around the difference."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from gitlab_port_export.base.jsontext import canonical, in_words
from gitlab_port_export.port.masking import MASK, masked
from gitlab_port_export.report.values import FieldChange

# How much is shown of a text, before the difference, and of a list.
MAX_TEXT, BEFORE, MAX_ITEM, MAX_ITEMS = 160, 40, 80, 10
# How much of a text before the difference, and from there on, is searched for secrets: half of a secret may not be
# shown, and no form of a secret is longer than what comes after. Masking takes a few milliseconds for a thousand
# characters.
MARGIN, AFTER = 8_000, 5_000

Redact = Callable[[str], str]


def field_change(field: str, old: Any, new: Any, redact: Redact, *, secret: bool = False) -> FieldChange:
    """Return what happens to the field with this dotted name; `secret` says that its blueprint keeps it encrypted."""
    name = field.rpartition(".")[2]

    def safe(value: Any) -> Any:
        (shown,) = masked({name: value}, secret=secret).values()
        return redact(shown) if isinstance(shown, str) else shown

    if isinstance(new, list) or (isinstance(old, list) and new is None):
        return _list_change(field, _items(old), _items(new), safe)
    before, after = (_plain(one, safe) for one in (old, new))
    if isinstance(before, str) or isinstance(after, str):
        before, after = _around(before, after, safe)
    return FieldChange(field, before, after, masked=old != new and before == after)


def _list_change(field: str, old: Sequence[str], new: Sequence[str], safe: Callable[[Any], Any]) -> FieldChange:
    held, wanted = set(old), set(new)
    added = [item for item in dict.fromkeys(new) if item not in held]
    removed = [item for item in dict.fromkeys(old) if item not in wanted]
    more = sum(max(0, len(part) - MAX_ITEMS) for part in (added, removed))
    shown = (tuple(_cut(str(safe(item)), 0, MAX_ITEM) for item in part[:MAX_ITEMS]) for part in (added, removed))
    return FieldChange(field, is_list=True, added=next(shown), removed=next(shown), more=more)


def _items(value: Any) -> list[str]:
    items: Iterable[Any] = value if isinstance(value, list) else () if value is None else (value,)
    return [item if isinstance(item, str) else _json(item) for item in items]


def _plain(value: Any, safe: Callable[[Any], Any]) -> Any:
    """Return a text as it is, an object as JSON text, anything else as it is shown."""
    if isinstance(value, str):
        return value
    shown = safe(value)
    return _json(shown) if isinstance(shown, dict | list) else shown


def _json(value: Any) -> str:
    try:
        return canonical(value).decode()
    except ValueError:
        return in_words(value, MAX_TEXT)


def _around(old: Any, new: Any, safe: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Return what is shown of two values of which at least one is a text: the part that differs, and what is around."""
    same = _same(old, new)
    start = max(0, same - MARGIN)
    is_cut = any(isinstance(one, str) and len(one) > same + AFTER for one in (old, new))
    old, new = (safe(one[start : same + AFTER]) if isinstance(one, str) else one for one in (old, new))
    begin = max(0, _same(old, new) - BEFORE)
    if (start and not begin) or (is_cut and begin > same - start + MAX_TEXT):
        # They differ in what is masked, and where the part begins or ends may be half of a secret.
        return MASK, MASK
    before, after = (_cut(one, begin, MAX_TEXT) if isinstance(one, str) else one for one in (old, new))
    return before, after


def _same(old: Any, new: Any) -> int:
    """Return how many characters two texts have in common at their beginning."""
    if not (isinstance(old, str) and isinstance(new, str)) or old == new:
        return 0
    # By halves, as a text may have a million characters.
    same, most = 0, min(len(old), len(new))
    while same < most:
        middle = (same + most + 1) // 2
        if old[same:middle] == new[same:middle]:
            same = middle
        else:
            most = middle - 1
    return same


def _cut(text: str, begin: int, limit: int) -> str:
    if len(text) <= limit:
        return text
    part = text[begin : begin + limit]
    return f"{'…' if begin else ''}{part}{'…' if begin + limit < len(text) else ''}"
