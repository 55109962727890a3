"""Kind `plugin`: projects that extend a coding agent, one row a project with what its manifests say."""

from collections.abc import Iterator
from functools import partial
from typing import Any, Literal, get_args

from pydantic import Field

from gitlab_port_export.base.parallel import Job
from gitlab_port_export.gitlab.additions import unreadable
from gitlab_port_export.gitlab.content import Unreadable, is_parsed, parsed, references, resolved
from gitlab_port_export.gitlab.inventory import Listed
from gitlab_port_export.gitlab.kinds.kind import About, Again, Context, Kind, Read, Requests, Since
from gitlab_port_export.gitlab.kinds.shared.found import present, texts
from gitlab_port_export.gitlab.kinds.shared.repository import PLUGIN_FILES, Tree, branch_again, tree_reads
from gitlab_port_export.gitlab.trees import ROOT
from gitlab_port_export.mapping.model import Resource, Selector
from gitlab_port_export.model import Page, Row, Scope

Provider = Literal["claude", "cursor", "codex", "agents", "kimi", "opencode", "pi", "antigravity"]
PROVIDERS: tuple[Provider, ...] = get_args(Provider)
# A file in one of these is enough; what it says does not matter.
BY_FOLDER: dict[Provider, str] = {"opencode": ".opencode/plugins", "pi": ".pi/extensions"}
# The content of a manifest that cannot be read.
UNREAD = object()
# Whose word counts first.
PRECEDENCE = ("cursor", "claude", "codex", "kimi", "antigravity")


class PluginSelector(Selector):
    """Which plugins of which projects."""

    providers: tuple[Provider, ...] = Field(
        default=PROVIDERS, description="the programs whose plugins are looked for; by default all"
    )
    repos: tuple[str, ...] = Field(default=(), description="only these projects; gitlab: by name, gitlab-v2: by path")
    include_only_active_groups: bool | None = Field(
        default=None, description="true: only active projects; false: only archived ones or ones pending deletion"
    )


def reads(resources: tuple[Resource, ...], context: Context) -> Iterator[Read]:
    """Yield one read per project, for all resources."""
    providers = {
        resource.index: resource.selector.providers
        for resource in resources
        if isinstance(resource.selector, PluginSelector)
    }
    yield from tree_reads("plugin", context, partial(_plugin, providers), ROOT)


def _plugin(providers: dict[int, tuple[Provider, ...]], place: Listed, tree: Tree, scope: Scope) -> Job:
    paths = yield from present("plugin", tree, scope)
    indexes = tuple(sorted({wish.resource for wish in tree.of("plugin")}))
    manifests = [path for path in paths if _folder_of(path) not in BY_FOLDER.values()]
    found = yield from _texts(tree, scope, manifests, indexes)
    contents: dict[str, Row] = {}
    for path, text in (found or {}).items():
        content = yield from _content(tree, scope, path, text, indexes)
        if content is UNREAD:
            found = None
        if isinstance(content, dict):
            contents[path] = content
    if found is None:
        return
    folders = {_folder_of(path) for path in paths}
    for index in indexes:
        plugin = plugin_of(place.row, contents, folders, providers[index])
        if plugin:
            yield Page("plugin", (index,), scope, [{"plugin": plugin, "repo": place.row, "__branch": tree.ref}])


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0]


def _texts(tree: Tree, scope: Scope, paths: list[str], indexes: tuple[int, ...]) -> Job:
    """Return the texts of files by their path, None where one cannot be read. Raises ReadFailed.

    One manifest that is missing would change what the others mean.
    """
    found, unread, failure = yield from texts(tree, scope, paths)
    if failure:
        raise failure
    for path, why in unread.items():
        yield unreadable(scope, path, why, "plugin", indexes, holds=True)
    return None if unread else found


def _content(tree: Tree, scope: Scope, path: str, text: str, indexes: tuple[int, ...]) -> Job:
    """Return what a manifest holds, with the texts of the files that it refers to (`file://path`), or UNREAD."""
    content = parsed(text, path, "gitlab-v2")
    if not is_parsed(text, content, path):
        yield unreadable(scope, path, "is neither valid JSON nor plain YAML", "plugin", indexes, holds=True)
        return UNREAD
    named = list(dict.fromkeys(references(content))) if isinstance(content, dict) else []
    inside = [one for one in named if ".." not in one.split("/")]
    found = yield from _texts(tree, scope, inside, indexes)
    if found is None:
        return UNREAD
    try:
        return resolved(content, {one: found.get(one) for one in named})
    except Unreadable as reason:
        yield unreadable(scope, path, str(reason), "plugin", indexes, holds=True)
        return UNREAD


def plugin_of(project: Row, contents: dict[str, Row], folders: set[str], providers: tuple[Provider, ...]) -> Row | None:
    """Return what a row tells of a plugin, None where no wanted manifest says anything. Pure."""
    own: dict[str, Row] = {}
    markets: dict[str, Row] = {}
    for provider in providers:
        for path in (want.glob.text for want in PLUGIN_FILES[provider] if want.glob):
            kept = markets if path.endswith("/marketplace.json") else own
            kept[provider] = contents.get(path, {})
    supports = {
        name: name in providers and (bool(own.get(name) or markets.get(name)) or BY_FOLDER.get(name) in folders)
        for name in PROVIDERS
    }
    if not any(supports.values()):
        return None
    firsts = {provider: _first(market) for provider, market in markets.items()}
    own["claude"] = own.get("claude") or firsts.get("claude", {})
    agents = markets.get("agents", {})
    said = [own.get(name, {}) for name in PRECEDENCE]
    name = _text([*said, firsts.get("agents", {})], "name") or project.get("name") or project.get("path") or ""
    interface = agents.get("interface")
    shown = [own.get("cursor", {}), interface if isinstance(interface, dict) else {}]
    documents: dict[str, Row] = {
        provider: own.get(provider, {}) if supports[provider] else {} for provider in PROVIDERS
    }
    for provider, content in (("claude", own["claude"]), ("agents", agents)):
        if supports[provider]:
            speaker = content if provider == "claude" else firsts.get(provider, {})
            market = _text([markets.get(provider, {})], "name")
            documents[provider] = {**content, "name": _text([speaker], "name") or name, "marketplaceName": market}
    for provider in BY_FOLDER:
        documents[provider] = {"detected": True} if supports[provider] else {}
    return {
        "name": name,
        "displayName": _text(shown, "displayName", "display_name") or name,
        "description": _text([*said, markets.get("claude", {})], "description") or "",
        "version": _text(said, "version"),
        "supports": supports,
        **documents,
    }


def _first(market: Row) -> Row:
    """Return the first plugin that a marketplace lists."""
    plugins = market.get("plugins")
    first: Any = plugins[0] if isinstance(plugins, list) and plugins else None
    return first if isinstance(first, dict) else {}


def _text(contents: list[Row], *names: str) -> str | None:
    """Return the first text that says something."""
    values = (content.get(name) for content in contents for name in names)
    return next((value for value in values if isinstance(value, str) and value.strip()), None)


KIND = Kind(
    "plugin",
    PluginSelector,
    reads,
    active_projects=lambda selector: selector.include_only_active_groups,
    about=About(
        "Projects that extend a coding agent, with what their manifests say.",
        ("GET /projects/:id/repository/tree", "GET /projects/:id/repository/files/:file_path"),
        {
            "plugin": "`name`, `displayName`, `description`, `version`, `supports`, and a key for each program",
            "repo": "the project's row",
            "__branch": "the branch that was read",
        },
        role=20,
        refuses="files of private projects",
        requests=Requests(project=1, each="manifest"),
    ),
    again=Again(("files",), branch_again("plugin", reads)),
    since=Since("of active projects", (("repo.path_with_namespace",), ("repo.id",))),
)
