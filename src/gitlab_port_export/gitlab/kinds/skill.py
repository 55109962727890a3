"""Kind `skill`: instructions for coding agents, one row for each SKILL.md that the patterns mean."""

from collections.abc import Iterator
from functools import partial

from pydantic import BaseModel, ConfigDict, Field
from wcmatch import glob

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.additions import AT_ONCE, unreadable
from gitlab_port_export.gitlab.client import ReadFailed
from gitlab_port_export.gitlab.content import is_parsed, parsed
from gitlab_port_export.gitlab.globs import flags
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import About, Again, Context, Kind, Read, Requests, Since
from gitlab_port_export.gitlab.kinds.shared.dependent import FRONT_MATTER, dependent_on
from gitlab_port_export.gitlab.kinds.shared.found import present, texts
from gitlab_port_export.gitlab.kinds.shared.repository import Tree, branch_again, tree_reads
from gitlab_port_export.gitlab.trees import ROOT
from gitlab_port_export.mapping.model import Resource, Selector
from gitlab_port_export.model import Page, Problem, Row, Scope

FILE = "SKILL.md"
# Its front matter is parsed as a file of this name is.
FRONT = "front.yaml"
HOMES = (".agents", ".agent", ".cursor", ".claude", ".codex", ".github", ".opencode")
ANY_CASE = flags() | glob.IGNORECASE


class SkillPath(BaseModel):
    """A pattern, and where it holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    path: str = Field(description="a pattern for SKILL.md files; a name alone is looked for in every folder")
    repos: tuple[str, ...] = Field(default=(), description="only these projects; gitlab: by name, gitlab-v2: by path")


USUAL = tuple(SkillPath(path=f"{home}skills/**/{FILE}") for home in (*(f"{name}/" for name in HOMES), ""))


class SkillSelector(Selector):
    """Which skills of which projects."""

    paths: tuple[SkillPath, ...] = Field(
        default=USUAL, description="where skills are; by default in the folders that the usual agents look into"
    )
    include_only_active_groups: bool | None = Field(
        default=None, description="true: only active projects; false: only archived ones or ones pending deletion"
    )


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per project, for all resources."""
    patterns = {
        resource.index: tuple(entry.path for entry in resource.selector.paths)
        for resource in resources
        if isinstance(resource.selector, SkillSelector)
    }
    on_front = dependent_on(resources, FRONT_MATTER)
    yield from tree_reads("skill", context, partial(_skills, patterns, on_front), ROOT)


def _skills(
    patterns: dict[int, tuple[str, ...]], on_front: frozenset[int], place: Listed, tree: Tree, scope: Scope
) -> Job:
    paths = yield from present("skill", tree, scope)
    wanted: dict[str, list[int]] = {}
    for wish in tree.of("skill"):
        for path in paths:
            means = wish.want.glob is not None and wish.want.glob.matches(path)
            if means and _is_skill(path, patterns[wish.resource]) and wish.resource not in wanted.get(path, ()):
                wanted.setdefault(path, []).append(wish.resource)
    failures: list[ReadFailed] = []
    ordered, repo = sorted(wanted), place.row
    for start in range(0, len(ordered), AT_ONCE):
        batch = ordered[start : start + AT_ONCE]
        everybody = tuple(sorted({index for path in batch for index in wanted[path]}))
        found, unread, failure = yield from texts(tree, scope, batch)
        failures += [failure] if failure else []
        for path, why in unread.items():
            yield unreadable(scope, path, f"{why} and is left out", "skill", tuple(wanted[path]), holds=True)
        yield from _unparsed(scope, found, wanted, on_front)
        for index in everybody:
            rows = [
                {"skill": skill_of(path, text, patterns[index]), "repo": repo, "__branch": tree.ref}
                for path, text in found.items()
                if index in wanted[path]
            ]
            if rows:
                yield Page("skill", (index,), scope, rows, weight=sum(len(text) for text in found.values()))
    if failures:
        raise failures[0]


def _unparsed(
    scope: Scope, texts: dict[str, str], wanted: dict[str, list[int]], on_front: frozenset[int]
) -> Iterator[Problem]:
    """Yield a Problem for each front matter that cannot be read, where entities hang on what it says."""
    for path, text in texts.items():
        concerned = tuple(sorted(on_front.intersection(wanted[path])))
        front = _front(text)[0]
        if concerned and not is_parsed(front, parsed(front, FRONT, "gitlab"), FRONT):
            why = "begins with front matter that is no plain YAML"
            yield unreadable(scope, path, why, "skill", concerned, holds=True)


def _is_skill(path: str, patterns: tuple[str, ...]) -> bool:
    """Say whether it is a file SKILL.md, in any case, that any of the selector's patterns means as it is written."""
    return path.rpartition("/")[2].lower() == FILE.lower() and any(_means(pattern, path) for pattern in patterns)


def _means(pattern: str, path: str) -> bool:
    return bool(glob.globmatch(path, pattern.strip("/"), flags=ANY_CASE))


def skill_of(path: str, text: str, patterns: tuple[str, ...]) -> Row:
    """Return what a row tells of a skill."""
    front, body = parted(text)
    folder = path.rpartition("/")[0] or "."
    name, description = front.get("name"), front.get("description")
    return {
        "name": name if isinstance(name, str) and name.strip() else path.rpartition("/")[0].rpartition("/")[2],
        "description": description if isinstance(description, str) else "",
        "instructions": body,
        "frontmatter": front,
        "path": folder,
        "skillMdPath": path,
        "root": root_of(path, patterns),
    }


def parted(text: str) -> tuple[Row, str]:
    """Return the values between the first two `---` and the text behind them."""
    front, body = _front(text)
    return _values(front), body


def _front(text: str) -> tuple[str, str]:
    text = text.replace("\r\n", "\n")
    parts = text.split("---", 2)
    if not text.startswith("---") or len(parts) < 3:
        return "", text
    return parts[1].strip(), parts[2].lstrip("\n")


def _values(text: str) -> Row:
    """Return what is plain YAML of one object; untrusted, so within limits. Everything else gives no values."""
    # As `gitlab` parses a file: the document itself where there is one, and the text where it is no plain YAML.
    found = parsed(text, FRONT, "gitlab")
    return found if isinstance(found, dict) else {}


def root_of(path: str, patterns: tuple[str, ...]) -> str:
    """Return the folder that a pattern looks into: the first pattern that means the path and names one.

    Else it is the folder above the skill's, or the skill's own when that is at the root.
    """
    for pattern in patterns:
        if _means(pattern, path) and (root := _fixed(pattern.strip("/"))):
            return root
    folder = path.rpartition("/")[0] or "."
    return folder.rpartition("/")[0] or folder


def _fixed(pattern: str) -> str:
    for ending in (f"/**/{FILE}", f"/{FILE}", f"**/{FILE}", FILE):
        if pattern.lower().endswith(ending.lower()):
            return pattern[: -len(ending)].strip("/")
    return pattern


KIND = Kind(
    "skill",
    SkillSelector,
    reads,
    active_projects=lambda selector: selector.include_only_active_groups,
    about=About(
        "Instructions for coding agents, one row for each SKILL.md.",
        ("GET /projects/:id/repository/tree", "GET /projects/:id/repository/files/:file_path"),
        {
            "skill": "what the file says: `name`, `description`, `instructions`, `frontmatter`, and its `path`",
            "repo": "the project's row",
            "__branch": "the branch that was read",
        },
        role=20,
        refuses="files of private projects",
        requests=Requests(project=1, each="folder that may hold skills, and each skill"),
    ),
    again=Again(("files",), branch_again("skill", reads)),
    since=Since("of active projects", (("repo.path_with_namespace", "skill.path"), ("repo.id", "skill.path"))),
)
