"""The part of the demo with live updates: hooks are made, GitLab changes, and the catalog follows without a sync."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gitlab_port_export.demo.gitlab import GitLabServer
from gitlab_port_export.demo.gitlab_access import OWNER
from gitlab_port_export.demo.gitlab_hooks import Watch
from gitlab_port_export.demo.gitlab_payloads import Shapes
from gitlab_port_export.demo.gitlab_rows import Row, stamp
from gitlab_port_export.demo.port_store import PortStore

HOOKS_TOKEN = "demo-token-hooks"  # noqa: S105  # opens nothing but the stand-in
SHOWN = ("status", "mergedAt", "assignees", "closedAt")


def live_act(gitlab: GitLabServer, store: PortStore, run: Callable[..., int], say: Callable[[str], None]) -> int:
    """Make the hooks with `run`, change the world, and print what the catalog shows; return the code of `run`."""
    world = gitlab.world
    bot = world.add_user("group_1_bot_hooks", "Hooks", bot=True)
    world.add_token(HOOKS_TOKEN, bot, ("api",), name="hooks")
    for group in [group for group in world.groups.values() if not group["parent_id"]]:
        world.add_member(group, bot, OWNER)
    say("\nA token that may manage hooks lets GitLab tell Port at once what happens:\n")
    say(f"$ OCEAN__EXPORT__HOOKS_TOKEN={HOOKS_TOKEN} gitlab-port-export hooks apply\n")
    if code := run("hooks", "apply", OCEAN__EXPORT__HOOKS_TOKEN=HOOKS_TOKEN):
        return code
    gateway, actor = world.project("platform/gateway"), world.users[1]
    watch = Watch(gitlab.hooks, world, actor)
    request = next(row for row in world.merge_requests[gateway["id"]] if row["state"] == "opened")
    issue = next(row for row in world.issues[gateway["id"]] if row["state"] == "opened" and not row["confidential"])
    objects = (("gitlabMergeRequest", request), ("gitlabIssue", issue))
    before = [_held(store, *one) for one in objects]
    now = stamp(world.now)
    request |= {"state": "merged", "merged_at": now, "merged_by": actor, "merge_user": actor, "updated_at": now}
    issue |= {"state": "closed", "closed_at": now, "closed_by": actor, "assignees": [actor], "updated_at": now}
    world.touch()
    say(f"\n{actor['name']} merges a merge request and closes an issue; GitLab sends {watch.fire()} events.")
    say("The catalog, with no sync in between:\n")
    for (blueprint, row), old in zip(objects, before, strict=True):
        new = _held(store, blueprint, row)
        say(f"  {blueprint} {row['title']!r}")
        for name in SHOWN:
            if new.get(name) != old.get(name):
                say(f"    {name}: {old.get(name)} -> {new.get(name)}")
    return _job_act(gitlab, store, run, say, actor)


def _job_act(
    gitlab: GitLabServer, store: PortStore, run: Callable[..., int], say: Callable[[str], None], actor: Row
) -> int:
    """Push code of another language and run the job that a hook starts for it; return the code of `run`."""
    gateway = gitlab.world.project("platform/gateway")
    before = _language(store, gateway)
    gitlab.world.set_languages(gateway, Rust=98.5, Shell=1.5)
    say(f"\n{actor['name']} pushes to {gateway['name']}. What a payload does not tell, a CI job reads:\n")
    say("$ gitlab-port-export sync --event push.json\n")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "push.json"
        file.write_text(json.dumps(Shapes(gitlab.world).push(gateway, actor, added=["main.rs"])), "utf-8")
        if code := run("sync", "--event", str(file)):
            return code
    say(f"\n  service {gateway['name']!r}\n    language: {before} -> {_language(store, gateway)}")
    return 0


def _language(store: PortStore, project: Row) -> Any:
    return (store.entity("service", project["path_with_namespace"]) or {"properties": {}})["properties"].get("language")


def _held(store: PortStore, blueprint: str, row: Row) -> dict[str, Any]:
    found = store.entity(blueprint, str(row["id"]))
    return found["properties"] if found else {}
