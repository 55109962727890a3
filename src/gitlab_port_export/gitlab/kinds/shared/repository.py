"""What the kinds of repositories share: what their selectors want of which, so that each is walked once."""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.client import Get, ReadFailed
from gitlab_port_export.gitlab.globs import Glob, file_globs
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import Context, Read
from gitlab_port_export.gitlab.kinds.shared.again import Reads, ReadsAgain, at
from gitlab_port_export.gitlab.touched import Touched
from gitlab_port_export.gitlab.trees import (
    ROOT,
    Walk,
    Want,
    fewest,
    nothing_there,
    readable_ref,
    walk_key,
    walked,
    wanted_files,
    wanted_folders,
)
from gitlab_port_export.mapping.model import Resource, Selector
from gitlab_port_export.model import Row, Scope

# What Ocean's `gitlab-v2` takes where a folder's repository names no branch.
USUAL_BRANCH = "main"
IncludedFiles = Annotated[
    tuple[str, ...],
    Field(default=(), description="paths from the repository's root; their texts are added in `__includedFiles`"),
]


class Block(BaseModel):
    """A part of a selector."""

    model_config = ConfigDict(
        frozen=True, extra="allow", alias_generator=to_camel, coerce_numbers_to_str=True, populate_by_name=False
    )


class FilesBlock(Block):
    """Which files."""

    path: str = Field(description="a path or a pattern; a name alone is looked for in every folder (gitlab-v2)")
    repos: tuple[str, ...] = Field(default=(), description="only these projects; gitlab: by name, gitlab-v2: by path")
    skip_parsing: bool = Field(default=False, description="leave JSON and YAML as text")
    search_strategy: Literal["groupSearch", "projectSearch", "repositoryTree"] = Field(
        default="groupSearch",
        description="files are found by reading trees all the same; groupSearch skips archived projects",
    )


class FileSelector(Selector):
    """Which files of which projects."""

    files: FilesBlock = Field(description="which files")
    included_files: IncludedFiles
    include_only_active_groups: bool | None = Field(
        default=None, description="true: only active projects; false: only archived ones or ones pending deletion"
    )


class RepoBranch(Block):
    """A project, and the branch to read there."""

    name: str = Field(description="the project: gitlab its name, gitlab-v2 its path or number")
    branch: str | None = Field(default=None, description="gitlab-v2: default main; gitlab: default `branch`")


def _named(value: Any) -> Any:
    """Ocean's `gitlab` writes names, `gitlab-v2` objects."""
    return {"name": value} if isinstance(value, str | int) and not isinstance(value, bool) else value


class FolderBlock(Block):
    """Which folders."""

    path: str = Field(description="the folder whose children are wanted; gitlab-v2 takes wildcards, and then what fits")
    repos: tuple[Annotated[RepoBranch, BeforeValidator(_named, json_schema_input_type=str | RepoBranch)], ...] = Field(
        default=(), description="only these projects; gitlab: names, gitlab-v2: objects of name (path) and branch"
    )
    branch: str | None = Field(default=None, description="gitlab only; by default each project's default branch")


class FolderSelector(Selector):
    """Which folders of which projects."""

    folders: tuple[FolderBlock, ...] = Field(default=(), description="which folders; none gives no rows")
    included_files: IncludedFiles
    include_only_active_projects: bool | None = Field(default=None, description="as for the kind `project`")


class Variant(NamedTuple):
    """How rows differ for what was found: resources with equal variants share their rows."""

    skip_parsing: bool = False
    included_files: tuple[str, ...] = ()


PLAIN = Variant()
AT_ROOT = (Want("tree", ROOT), Want("blob", ROOT))
# What tells that a project is a plugin, by the program that it extends; of two folders any file in them.
PLUGIN_FILES: Mapping[str, tuple[Want, ...]] = {
    "claude": tuple(wanted_files(Glob(f".claude-plugin/{name}.json")) for name in ("plugin", "marketplace")),
    "cursor": (wanted_files(Glob(".cursor-plugin/plugin.json")),),
    "codex": (wanted_files(Glob(".codex-plugin/plugin.json")),),
    "agents": (wanted_files(Glob(".agents/plugins/marketplace.json")),),
    "kimi": (wanted_files(Glob(".kimi-plugin/plugin.json")),),
    "opencode": (Want("blob", Walk(".opencode/plugins", deep=False)),),
    "pi": (Want("blob", Walk(".pi/extensions", deep=False)),),
    "antigravity": (wanted_files(Glob("gemini-extension.json")),),
}


@dataclass(frozen=True)
class WantedFile:
    """What one resource wants of one ref."""

    kind: str
    resource: int
    want: Want
    variant: Variant


@dataclass(frozen=True)
class Tree:
    """A ref of a project and everything that is wanted of it; `place` is None for a project that is only named."""

    name: str
    ref: str
    place: Listed | None
    wishes: tuple[WantedFile, ...]

    @property
    def wants(self) -> tuple[Want, ...]:
        """What anybody wants of the tree, each once."""
        return tuple(dict.fromkeys(wish.want for wish in self.wishes))

    def of(self, kind: str) -> tuple[WantedFile, ...]:
        """Return the wishes of one kind."""
        return tuple(wish for wish in self.wishes if wish.kind == kind)


def trees(context: Context) -> Iterator[Tree]:
    """Yield each ref of each project of which a resource wants something in the repository; "" is the default one."""
    found: dict[tuple[str, str], tuple[Listed | None, list[WantedFile]]] = {}
    for resource in context.resources:
        wanted = {"file": _files, "folder": _folders, "skill": _skills, "plugin": _plugins}.get(resource.kind)
        if wanted is None or not resource.known:
            continue
        for name, place, ref, wish in wanted(resource, context):
            found.setdefault((name, ref), (place, []))[1].append(wish)
    for (name, ref), (place, wishes) in found.items():
        yield Tree(name, ref, place, tuple(dict.fromkeys(wishes)))


_Wanted = Iterator[tuple[str, Listed | None, str, WantedFile]]


def _files(resource: Resource, context: Context) -> _Wanted:
    selector: Any = resource.selector
    block: FilesBlock = selector.files
    variant = Variant(block.skip_parsing and context.dialect == "gitlab-v2", selector.included_files)
    wants = [wanted_files(pattern) for pattern in file_globs(block.path, context.dialect)]
    places = _chosen(context, selector.include_only_active_groups, block.repos)
    for name, place in places:
        # GitLab's search in groups leaves archived projects out.
        hidden = block.search_strategy == "groupSearch" and not block.repos and context.dialect == "gitlab-v2"
        if hidden and place is not None and place.row.get("archived"):
            continue
        for want in wants:
            yield name, place, _ref(place, None), WantedFile("file", resource.index, want, variant)


def _folders(resource: Resource, context: Context) -> _Wanted:
    selector: Any = resource.selector
    old = context.dialect == "gitlab"
    for block in selector.folders:
        want = wanted_folders(block.path, wildcards=not old)
        wish = WantedFile("folder", resource.index, want, Variant(included_files=selector.included_files))
        # A project may be named several times, with another branch each.
        names: dict[str | None, tuple[str, ...]] = {} if block.repos or old else {None: ()}
        for repo in block.repos:
            branch = repo.branch or (block.branch if old else USUAL_BRANCH)
            names[branch] = (*names.get(branch, ()), repo.name)
        for branch, repos in names.items():
            for name, place in _chosen(context, selector.include_only_active_projects, repos):
                yield name, place, _ref(place, branch), wish


def _skills(resource: Resource, context: Context) -> _Wanted:
    selector: Any = resource.selector
    everywhere = any(not entry.repos for entry in selector.paths)
    for entry in selector.paths:
        wants = (*AT_ROOT, *(wanted_files(pattern) for pattern in file_globs(entry.path, "gitlab-v2")))
        for name, place in _chosen(context, selector.include_only_active_groups, entry.repos):
            # Where all projects are read, a name only narrows down its own path.
            if place is not None or not everywhere:
                yield from (
                    (name, place, _ref(place, None), WantedFile("skill", resource.index, w, PLAIN)) for w in wants
                )


def _plugins(resource: Resource, context: Context) -> _Wanted:
    selector: Any = resource.selector
    wants = [*AT_ROOT, *(want for provider in selector.providers for want in PLUGIN_FILES[provider])]
    for name, place in _chosen(context, selector.include_only_active_groups, selector.repos):
        yield from ((name, place, _ref(place, None), WantedFile("plugin", resource.index, w, PLAIN)) for w in wants)


def _ref(place: Listed | None, branch: str | None) -> str:
    return branch or str((place.row.get("default_branch") if place else "") or "")


def _chosen(context: Context, active: bool | None, repos: tuple[str, ...]) -> Iterator[tuple[str, Listed | None]]:
    """Yield the wanted projects by their path; those that gitlab-v2 names and no token lists come without a place."""
    if not repos:
        yield from ((place.scope.path, place) for place in context.inventory.projects(active))
        return
    if context.dialect == "gitlab":
        for place in context.inventory.projects(active):
            if place.row.get("name") in repos:
                yield place.scope.path, place
        return
    listed = {
        name: place for place in context.inventory.projects(active) for name in (place.scope.path, str(place.scope.id))
    }
    for name in dict.fromkeys(repo.strip("/") for repo in repos):
        found = listed.get(name)
        if found is None and name in context.inventory.skipped:
            continue
        yield (found.scope.path if found else name), found


# Reads what one kind wants of a tree, with the token of the scope: (place, tree, scope) → job.
Start = Callable[[Listed, Tree, Scope], Job]


def tree_reads(kind: str, context: Context, start: Start, first: Walk | None = None) -> Iterator[Read]:
    """Yield one read per tree that this kind wants something of; walks are shared with the other kinds.

    `first` is the walk that decides which others there will be.
    """
    for tree in trees(context):
        wishes = tree.of(kind)
        if not wishes or (tree.place and context.skips(tree.place.row, nothing_there)):
            continue
        resources = tuple(sorted({wish.resource for wish in wishes}))
        if tree.place is None:
            yield _named_read(kind, context, tree, resources, start)
            continue
        walks = needed(wishes, fewest(tree.wants))
        sure = tuple(walk for walk in walks if first is None or walk.holds(first))
        keys = tuple(walk_key(tree.place.scope, tree.ref, walk, tree.wants) for walk in sure)
        yield Read(
            kind,
            tree.place.scope,
            tree.place.tokens,
            resources,
            _begin(start, tree, tree.place),
            requests=max(1, len(keys)),
            shares=keys,
            weaker=tree.place.weaker,
            needs=tuple(walk_key(tree.place.scope, tree.ref, walk, tree.wants) for walk in walks if walk not in sure),
        )


def _begin(start: Start, tree: Tree, place: Listed) -> Callable[[Scope], Job]:
    def begin(scope: Scope) -> Job:
        row = place.row
        ref = yield from readable_ref(scope, row, tree.ref)
        if ref is not None:
            yield from start(_with_branch(place, row, ref), replace(tree, ref=ref), scope)

    return begin


def _with_branch(place: Listed, row: Row, ref: str) -> Listed:
    """Return the place with its default branch in its row, where that named none and the ref is this branch."""
    if row.get("default_branch", ref) is not None:
        return place
    return Listed.of({**row, "default_branch": ref}, place.scope, place.tokens, place.weaker)


def needed(wishes: tuple[WantedFile, ...], walks: tuple[Walk, ...]) -> tuple[Walk, ...]:
    """Return the walks that these wishes look into."""
    return tuple(walk for walk in walks if any(walk.holds(wish.want.walk) for wish in wishes))


def entries(
    tree: Tree, wishes: tuple[WantedFile, ...], scope: Scope
) -> Generator[Any, Any, list[tuple[Row, WantedFile]]]:
    """Return the entries of a tree that these wishes take, each with the wish. Raises ReadFailed."""
    found: list[tuple[Row, WantedFile]] = []
    proved: set[str] = set()
    for walk in needed(wishes, fewest(tree.wants)):
        asking = [wish for wish in wishes if walk.holds(wish.want.walk)]
        rows: list[Row] = yield from walked(scope, tree.ref, walk, tree.wants, proved)
        found += ((row, wish) for row in rows for wish in asking if wish.want.takes(row))
    return found


def _named_read(kind: str, context: Context, tree: Tree, resources: tuple[int, ...], start: Start) -> Read:
    """Return the read of a project that only its name tells: it is asked for with every token that is for it."""
    patterns = context.inventory.patterns
    tokens = tuple(token for token in patterns if tree.name.isdecimal() or patterns[token].allows(tree.name))

    def find(scope: Scope) -> Job:
        if not tokens:
            raise ReadFailed("missing", f"no token is for the project {tree.name}", "correct `repos`")
        answer = yield Get(scope.token, f"/projects/{quote(tree.name, safe='')}", gives="object")
        row = answer.data
        found = Scope(int(row["id"]), str(row["path_with_namespace"]), token=scope.token)
        place = Listed.of(row, found, (scope.token,))
        yield from _begin(start, replace(tree, wishes=tree.of(kind)), place)(found)

    return Read(kind, Scope(0, tree.name), tokens or tuple(patterns)[:1], resources, find, requests=2)


def branch_again(kind: str, reads: Reads) -> ReadsAgain:
    """Return what reads a project's rows of this kind where a push went to a branch that they come from.

    All of them, as one file may refer to another.
    """

    def again(resources: tuple[Resource, ...], context: Context, touched: Touched) -> Iterator[Read]:
        narrow = at(context, touched)
        for place in narrow.inventory.projects():
            names = (place.scope.path, str(place.scope.id))
            default = str(place.row.get("default_branch") or "")
            refs = {tree.ref or default for tree in trees(narrow) if tree.name in names and tree.of(kind)}
            if touched.key in refs:
                # A project that a selector names and that is not in this inventory is another one.
                yield from (read for read in reads(resources, narrow) if read.scope.path in names)

    return again
