"""A GitLab with people, and changes of access in this process, without Port."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from gitlab_port_export.access.account import carry_out_account
from gitlab_port_export.access.api import WRITER, Api
from gitlab_port_export.access.follow import Follow
from gitlab_port_export.access.guards import Limits
from gitlab_port_export.access.line import carry_out
from gitlab_port_export.access.roles import LEVELS
from gitlab_port_export.access.show import show
from gitlab_port_export.access.values import Outcome, Role, ScopeName, Verb, Wish
from gitlab_port_export.access.wish import ACCESS
from gitlab_port_export.base.clock import Clock
from gitlab_port_export.base.http import Http
from gitlab_port_export.demo.gitlab import Fault, GitLabServer, faults, gitlab_server
from gitlab_port_export.demo.gitlab_faults import Recorded
from gitlab_port_export.demo.world import DEVELOPER, OWNER, Row, World
from gitlab_port_export.gitlab.client import GitLab, Token
from gitlab_port_export.gitlab.inventory import Patterns
from testbed.harness import NoWait

SECRET = "glpat-writes-8d21c6"


def is_write(request: Recorded) -> bool:
    """Say whether a request changes something."""
    return request.method != "GET"


@dataclass
class AccessBed:
    """A running stand-in; `writer` is the user of the write token, an owner of `acme`.

    Humans: `boss` owns acme, `jane` develops there, `kim` has no role. `web` is a project in `acme/apps`.
    """

    world: World
    gitlab: GitLabServer
    writer: Row
    acme: Row
    apps: Row
    web: Row
    scopes: tuple[str, ...] = ("acme", "acme/**")
    ceiling: str = "owner"
    clock: Clock = field(default_factory=NoWait)

    def user(self, name: str) -> Row:
        return next(user for user in self.world.users.values() if user["username"] == name)

    @contextmanager
    def api(self, clock: Clock | None = None) -> Iterator[Api]:
        http = Http(self.gitlab.url, user_agent="test", clock=clock or self.clock)
        with closing(http):
            gitlab = GitLab(http, {WRITER: Token(WRITER, lambda: SECRET)})
            yield Api(gitlab, WRITER, lambda: SECRET, workers=4)

    @property
    def limits(self) -> Limits:
        return Limits(Patterns(self.scopes), Role(LEVELS[self.ceiling], self.ceiling))

    def carry_out(self, wish: Wish, *, plan: bool = False, follow: Follow | None = None) -> Outcome:
        act = carry_out if wish.verb in ACCESS else carry_out_account
        with self.api() as api:
            return act(wish, self.limits, api, plan=plan, follow=follow or Follow())

    def account(self, verb: Verb, person: str, group: str = "", *, plan: bool = False, **more: Any) -> Outcome:
        """Run a command of `account`."""
        scope = ScopeName("group", group) if group else None
        return self.carry_out(replace(Wish(verb, person, scope), **more), plan=plan)

    def act(self, verb: Verb, person: str, path: str = "acme", *, plan: bool = False, **more: Any) -> Outcome:
        return self.carry_out(self.wish(verb, person, path, **more), plan=plan)

    def wish(self, verb: Verb, person: str, path: str = "acme", **more: Any) -> Wish:
        kind = more.pop("kind", "project" if path.endswith("web") else "group")
        return replace(Wish(verb, person, ScopeName(kind, path)), **more)

    def grant(self, person: str, role: str, path: str = "acme", **more: Any) -> Outcome:
        return self.act("grant", person, path, role=role, **more)

    def revoke(self, person: str, path: str = "acme", **more: Any) -> Outcome:
        return self.act("revoke", person, path, **more)

    def show(self, person: str, path: str = "") -> Outcome:
        with self.api() as api:
            return show(self.wish("show", person, path) if path else Wish("show", person), api)

    def role(self, name: str, source: Row | None = None) -> int | None:
        """The level of somebody's direct role."""
        row = self.member(name, source)
        return row["access_level"] if row else None

    def member(self, name: str, source: Row | None = None) -> Row | None:
        place = source or self.acme
        held = self.world.group_members if "full_path" in place else self.world.project_members
        return next((row for row in held[place["id"]] if row["username"] == name), None)

    def writes(self) -> list[tuple[str, str]]:
        """The requests that were to change something."""
        return [(one.method, one.path) for one in self.gitlab.requests if is_write(one)]

    @property
    def effects(self) -> list[str]:
        return [what for what, _, _ in self.gitlab.writes.effects]

    def fault(self, answer: faults.Answer, times: int | None = 1) -> None:
        """Let the next writes be answered so."""
        self.gitlab.faults.append(Fault(is_write, answer, times=times))

    def freed(self) -> None:
        self.gitlab.faults.clear()
        self.gitlab.requests.clear()
        self.gitlab.writes.effects.clear()


@contextmanager
def access_bed(*, admin: bool = False) -> Iterator[AccessBed]:
    """Run the stand-in of an AccessBed; with `admin` the write token is an administrator's."""
    world = World(datetime.now(UTC))
    writer = world.add_user("writer", "Access bot")
    world.add_token(SECRET, writer, scopes=("api",), admin=admin)
    acme = world.add_group("acme", name="Acme")
    apps = world.add_group("apps", acme)
    web = world.add_project(apps, "web")
    boss, jane = world.add_user("boss", "Bo Ss"), world.add_user("jane", "Jane Doe")
    world.add_user("kim", "Kim Lee")
    world.add_member(acme, boss, OWNER)
    # The token's user is a service account, as docs/access.md advises.
    world.bots.add(writer["id"])
    world.add_member(acme, writer, OWNER)
    world.add_member(acme, jane, DEVELOPER)
    with gitlab_server(world) as gitlab:
        yield AccessBed(world, gitlab, writer, acme, apps, web)
