"""docs/troubleshooting.md names every message that ends a run or holds a deletion, as the code words it."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "gitlab_port_export"
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")

# Where a constructor takes its message: the position of the argument.
MESSAGE = {
    "UsageError": 0,
    "MappingError": 0,
    "MachineError": 0,
    "NoWorker": 0,
    "GitLabUnavailable": 0,
    "PortUnavailable": 0,
    "Held": 3,
    "_held": 2,
    "_Unfit": 0,
    "Problem": 1,
    "ReadFailed": 1,
    "Failed": 1,
    "Fault": 1,
    "Slip": 1,
    "Unreachable": 0,
    "TooLarge": 0,
}
# Settings and mappings are checked by validators, whose ValueError becomes a fault of a UsageError. Checks of several
# settings together yield (name, message).
VALIDATED = ("settings", "mapping")
APART = ("demo",)  # the stand-ins

Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Module


def texts(node: ast.expr, scope: Scope) -> Iterator[str]:
    """Yield the texts that an expression may give, with … in the place of what is filled in."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=values):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in values)
        case ast.IfExp(body=one, orelse=other) | ast.BoolOp(values=[one, other]):
            yield from texts(one, scope)
            yield from texts(other, scope)
        case ast.Name(id=name):
            yield from assigned(name, scope)
        case ast.BinOp(left=one, op=ast.Add(), right=other):
            yield "".join(next(texts(part, scope), "…") for part in (one, other))
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            for part in parts:
                yield from texts(part, scope)
        case ast.Starred(value=value) | ast.ListComp(elt=value) | ast.GeneratorExp(elt=value):
            yield from texts(value, scope)
        case ast.Call(func=ast.Attribute(value=ast.Constant(), attr="join"), args=[value]):
            yield from texts(value, scope)


def assigned(name: str, scope: Scope) -> Iterator[str]:
    """Yield the texts that a function assigns to one of its names, or appends to it."""
    for node in ast.walk(scope):
        match node:
            case ast.Assign(targets=[ast.Name(id=found)], value=value) if found == name:
                yield from texts(value, scope) if not isinstance(value, ast.Name) else ()
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)):
                for target, value in zip(names, values, strict=False):
                    if isinstance(target, ast.Name) and target.id == name and not isinstance(value, ast.Name):
                        yield from texts(value, scope)
            case ast.NamedExpr(target=ast.Name(id=found), value=value) if found == name:
                yield from texts(value, scope) if not isinstance(value, ast.Name) else ()
            case ast.Call(func=ast.Attribute(value=ast.Name(id=found), attr="append"), args=[value]) if found == name:
                yield from texts(value, scope) if not isinstance(value, ast.Name) else ()


def calls(scope: Scope) -> Iterator[ast.Call]:
    """Yield the calls of a function that are in none of the functions within it."""
    waiting: list[ast.AST] = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Call):
            yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += ast.iter_child_nodes(node)


def messages(path: Path) -> Iterator[str]:
    """Yield the messages of a file that end a run or hold deletions."""
    tree = ast.parse(path.read_text("utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for scope in (tree, *functions):
        for call in calls(scope):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            keywords = {one.arg: one.value for one in call.keywords}
            if name == "ValueError" and path.relative_to(PACKAGE).parts[0] in VALIDATED:
                found = call.args
            elif name in MESSAGE and not ("warning" in keywords and ast.unparse(keywords["warning"]) == "True"):
                at = MESSAGE[name]
                found = [keywords["why"]] if "why" in keywords else call.args[at:][: None if at == 0 else 1]
            else:
                continue
            for node in found:
                yield from texts(node, scope)
    if path.relative_to(PACKAGE).parts[0] == "settings":
        for node in ast.walk(tree):
            if isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple) and len(node.value.elts) == 2:
                yield from texts(node.value.elts[1], tree)


def every_message() -> dict[str, str]:
    """Return every message with the file that says it."""
    files = (path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] not in APART)
    return {text: str(path.relative_to(PACKAGE)) for path in files for text in messages(path)}


def test_the_page_names_every_message() -> None:
    said = {re.sub(r"\\(.)", r"\1", span) for span in re.findall(r"`([^`\n]+)`", PAGE)}
    unnamed = {text: file for text, file in every_message().items() if not any(map(holds(text), said))}
    assert not unnamed, "\n".join(f"{file}: {text}" for text, file in unnamed.items())


def holds(message: str) -> Callable[[str], bool]:
    """Return what says whether a text of the page names a message: all of its longest constant part."""
    part = max(re.split("…", message), key=len).strip(" ,;:.()")
    return lambda text: part in text


def test_a_message_is_found_however_it_is_made() -> None:
    found = set(every_message())
    assert "there is not enough memory" in found  # a name, assigned beside another one
    assert "… of … entities would go; the limit is …" in found  # filled in
    assert "changed in Port after this run began" in found  # of a deletion that is held
    assert "what relates to it by a search is not known" in found  # by a helper
    assert "is not JSON (line …, column …)" in found  # of a validator


def test_the_page_names_no_message_that_is_gone() -> None:
    trees = [ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")]
    there = {
        text
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant | ast.JoinedStr)
        for text in texts(node, tree)
    }
    rows = re.findall(r"^\| (`.*?) \|", PAGE.replace(r"\|", "¦"), re.MULTILINE)
    for span in (span for row in rows for span in re.findall(r"`([^`]+)`", row)):
        # What begins with a status is GitLab's or Port's own.
        if not re.match(r"\d{3}|OCEAN__", span):
            assert any(map(holds(span), there)), span
