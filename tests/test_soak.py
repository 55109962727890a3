"""Schedules made by chance: runs in a row while GitLab changes and both sides fail; all of it follows the seed."""

import copy
import os
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gitlab_port_export.base.errors import Interrupted
from gitlab_port_export.demo.gitlab import Edit, Fault, faults
from gitlab_port_export.demo.gitlab_faults import Drop, Slow, Truncate
from gitlab_port_export.demo.gitlab_pages import Limits
from gitlab_port_export.demo.port_faults import Fault as PortFault
from gitlab_port_export.demo.port_faults import drop, html, refuse
from gitlab_port_export.demo.port_integrations import change_integration
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import DEVELOPER, Row, World, sample_world
from gitlab_port_export.model import Event
from testbed.faults import BRIEF, SLOWER, Outcome, Snapshot, Stage, one_evaluator, stage

# `make soak` runs SOAK schedules, from SEED on.
FIRST, SCHEDULES = int(os.environ.get("SEED", "1")), int(os.environ.get("SOAK", "3"))

LISTS = (
    "/groups$",
    "/projects$",
    "/members$",
    "/languages$",
    "/languages$|/graphql$",
    "merge_requests$",
    "issues$",
    "/pipelines$",
    "/jobs$",
    "/user$",
    "",
)
ANSWERS = (
    faults.unauthorized, faults.forbidden, faults.insufficient_scope, faults.not_found, faults.throttled,
    faults.endpoint_throttled, faults.server_error, faults.bad_gateway, faults.login_page,
    lambda: faults.reply_json(200, "maintenance"), Drop, Truncate, lambda: Slow(SLOWER),
)  # fmt: skip
MAPPING = "GET .*/integration/"
CALLS = (
    "access_token$",
    MAPPING,
    "GET .*/blueprints$",
    "resync-state$",
    "entities/search$",
    "entities/bulk$",
    "datasource-entities$",
    "entities/delete$",
    "service",
    "gitlabMember",
    "",
)
EFFECTS = (
    refuse(401), refuse(403), refuse(404), refuse(413), refuse(422), refuse(429, headers=(("Retry-After", "2"),)),
    refuse(500), html(502), html(200), drop(), drop(applied=True), refuse(504, applied=True),
)  # fmt: skip
TITLES = ("plain", "Ünïcödé 🌍", "[bold]x[/bold]", "a | b")


# What may happen to GitLab between two runs


def add_rows(world: World, chance: random.Random) -> None:
    project = chance.choice(list(world.projects.values()))
    world.add_merge_request(project, chance.choice(TITLES), chance.choice(("opened", "merged", "closed")))
    world.add_issue(project, chance.choice(TITLES), chance.choice(("opened", "closed")))


def add_pipeline(world: World, chance: random.Random) -> None:
    pipeline = world.add_pipeline(chance.choice(list(world.projects.values())), chance.choice(("success", "failed")))
    world.add_job(pipeline, "build", retried=True)
    world.add_job(pipeline, "build")


def change_row(world: World, chance: random.Random) -> None:
    rows = rows_of(world, chance, world.merge_requests, world.issues)
    if rows:
        chance.choice(rows)["title"] = chance.choice(TITLES)


def drop_row(world: World, chance: random.Random) -> None:
    rows = rows_of(world, chance, world.merge_requests, world.issues, world.jobs)
    if rows:
        rows.pop(chance.randrange(len(rows)))


def rows_of(world: World, chance: random.Random, *lists: dict[int, list[Row]]) -> list[Row]:
    return chance.choice(lists).get(chance.choice(list(world.projects)), [])


def rename(world: World, chance: random.Random) -> None:
    project = chance.choice(list(world.projects.values()))
    world.rename_project(project, name=chance.choice(TITLES), path=chance.choice((None, f"renamed-{world.version}")))


def add_project(world: World, chance: random.Random) -> None:
    group = chance.choice(list(world.groups.values()))
    project = world.add_project(group, f"project-{world.version}")
    world.set_languages(project, Go=100.0)
    world.add_merge_request(project, "First")


def drop_project(world: World, chance: random.Random) -> None:
    if len(world.projects) > 5:
        world.delete_project(chance.choice(list(world.projects.values())))


def add_group(world: World, chance: random.Random) -> None:
    world.add_project(world.add_group(f"group-{world.version}", chance.choice(list(world.groups.values()))), "first")


def drop_group(world: World, chance: random.Random) -> None:
    below = [group for group in world.groups.values() if group["parent_id"]]
    if below and len(world.projects) > 5:
        world.delete_group(chance.choice(below))


def add_member(world: World, chance: random.Random) -> None:
    group = chance.choice(list(world.groups.values()))
    world.add_member(group, world.add_user(f"person-{world.version}"), DEVELOPER)


def drop_member(world: World, chance: random.Random) -> None:
    group = chance.choice(list(world.groups.values()))
    readers = {token.user["id"] for token in world.tokens.values()}
    if members := [row for row in world.group_members[group["id"]] if row["id"] not in readers]:
        world.remove_member(group, world.users[chance.choice(members)["id"]])


EDITS: tuple[Callable[[World, random.Random], None], ...] = (
    add_rows, add_pipeline, change_row, drop_row, rename, add_project, drop_project, add_group, drop_group,
    add_member, drop_member,
)  # fmt: skip


# What is expected of Port


def bare(identifier: str, content: Any) -> bool:
    """Whether Port made the entity only because another one relates to it."""
    title, icon, team, properties, relations = content
    return title == identifier and not (icon or team or relations) and not any(properties.values())


def alike(one: Any, other: Any, now: Snapshot, relations: dict[str, dict[str, str]], name: str) -> bool:
    """Whether two contents say the same, relations to what Port does not hold aside: it drops those itself."""

    def kept(content: Any) -> Any:
        found = {}
        for relation, value in content[4].items():
            held = now[relations[name][relation]]
            targets = [target for target in (value if isinstance(value, list) else [value]) if target in held]
            if targets:
                found[relation] = sorted(targets)
        return *content[:4], found

    return bool(kept(one) == kept(other))


@dataclass
class Schedule:
    """One schedule while it runs; `log` tells what was done, for whoever has to understand a failure."""

    on: Stage
    chance: random.Random
    log: list[str] = field(default_factory=list)
    known: dict[tuple[int, str], Snapshot] = field(default_factory=dict)

    @property
    def integration(self) -> str:
        return f"my-{self.on.type}-integration"

    @property
    def relations(self) -> dict[str, dict[str, str]]:
        return {
            name: {relation: data["target"] for relation, data in blueprint["relations"].items()}
            for name, blueprint in self.on.port.store.blueprints.items()
        }

    def happens(self, share: float) -> bool:
        return self.chance.random() < share

    def edit(self) -> None:
        for edit in self.chance.choices(EDITS, k=self.chance.randrange(4)):
            self.log.append(f"edit: {edit.__name__}")
            edit(self.on.world, self.chance)
            self.on.world.touch()

    def fresh(self) -> Snapshot:
        """What a first sync of this GitLab with this mapping brings."""
        key = self.on.world.version, str(self.on.port.store.integrations[self.integration]["config"])
        if key not in self.known:
            self.known[key] = self.on.fresh()
        return self.known[key]

    def change_mapping(self) -> None:
        """Change what one field, or one query, says."""
        config = copy.deepcopy(self.on.port.store.integrations[self.integration]["config"])
        one = self.chance.choice(config["resources"])
        if self.happens(0.5):
            one["port"]["entity"]["mappings"]["title"] = self.chance.choice(
                (".name // .title", ".id | tostring", "null")
            )
        else:
            one["selector"]["query"] = self.chance.choice(("true", ".id % 2 == 0", '.state != "closed"'))
        self.log.append(f"mapping: {one}")
        change_integration(self.on.port.store, self.integration, {"config": config})

    def break_things(self) -> None:
        for _ in range(self.chance.randrange(4)):
            answer, times = self.chance.choice(ANSWERS)(), self.chance.choice((None, 1, 1, 2, 4, 8))
            if isinstance(answer, Slow):
                times = 1
            fault = Fault(self.chance.choice(LISTS), answer, self.chance.choice((None, None, 1, 2)), times)
            self.log.append(f"fault: {fault}")
            self.on.gitlab.faults.append(fault)
        for _ in range(self.chance.randrange(3)):
            effect, times = self.chance.choice(EFFECTS), self.chance.choice((None, 1, 1, 2, 4, 8))
            breakage = PortFault(self.chance.choice(CALLS), effect, times)
            if breakage.match == MAPPING and effect.reply and effect.reply[0] == 404:
                continue  # where there is no integration another mapping counts
            self.log.append(f"fault: {breakage}")
            self.on.port.faults.append(breakage)
        if self.happens(0.1):
            secret = self.chance.choice(list(self.on.world.tokens))
            self.log.append(f"revoked: {secret}")
            self.on.world.tokens[secret].revoked = True

    def change_meanwhile(self) -> None:
        """Let GitLab change once more, right after it served some page of some list."""
        change, chance = self.chance.choice(EDITS), random.Random(self.chance.random())
        where, page = self.chance.choice(LISTS), self.chance.choice((None, 1, 2))
        self.log.append(f"meanwhile: {change.__name__} after page {page} of {where}")
        self.on.gitlab.edits.append(Edit(where, partial(change, self.on.world, chance), page))

    def mend(self) -> None:
        self.on.gitlab.edits.clear()
        self.on.gitlab.faults.clear()
        self.on.port.faults.clear()
        for token in self.on.world.tokens.values():
            token.revoked = False

    def run(self) -> list[Outcome]:
        """Run once, twice at the same time, or until somebody stops it."""
        slow = any(isinstance(fault.answer, Slow) for fault in self.on.gitlab.faults)
        timeout = BRIEF if slow else 20
        if self.happens(0.2):
            with ThreadPoolExecutor(2) as pool:
                futures = [pool.submit(self.on.run, timeout=timeout) for _ in range(2)]
                return [future.result() for future in futures]
        if self.happens(0.15):
            return [self.on.run(timeout=timeout, watch=stopping(self.chance.randrange(1, 60)))]
        return [self.on.run(timeout=timeout)]

    def step(self) -> None:
        """Change, break, run, and see that Port is none the worse."""
        self.edit()
        if self.happens(0.15):
            self.change_mapping()
        changing = self.happens(0.5)
        known = [self.fresh()] if changing else []
        self.break_things()
        if changing:
            self.change_meanwhile()
        before = self.on.port.store.snapshot()
        outcomes = self.run()
        self.on.wait_until(lambda: not any(thread.name.startswith("port") for thread in threading.enumerate()))
        self.mend()
        self.log += [f"run: {outcome.code} {outcome.words}" for outcome in outcomes]
        now, fresh = self.on.port.store.snapshot(), self.fresh()
        self.check_harmless([before, *known, fresh], now)
        # Exit 0 may leave what changed in Port, or in GitLab's lists, while the run went on.
        reports = [outcome.report for outcome in outcomes if outcome.code == 0]
        if not changing and len(outcomes) == 1 and reports and reports[0] and not reports[0].held:
            self.check_in_step(fresh, now)

    def check_harmless(self, known: list[Snapshot], now: Snapshot) -> None:
        """Nothing that GitLab still has is lost, nothing is there that neither Port had nor GitLab has.

        `known` are what Port held before, and what GitLab had before and after the run.
        """
        before, fresh = known[0], known[-1]
        for name, held in now.items():
            assert (before[name].keys() & fresh[name].keys()) - held.keys() == set(), name
            assert held.keys() - set[str]().union(*(one[name] for one in known)) == set(), name
            for identifier, content in held.items():
                had = [found[name][identifier] for found in known if identifier in found[name]]
                assert bare(identifier, content) or any(
                    alike(content, one, now, self.relations, name) for one in had
                ), (name, identifier, content, had)

    def check_in_step(self, fresh: Snapshot, now: Snapshot) -> None:
        """Port holds what GitLab has, and nothing else; of what is only related to, that it is there."""
        for name, held in now.items():
            assert held.keys() == fresh[name].keys(), name
            different = {
                identifier: (content, fresh[name][identifier])
                for identifier, content in held.items()
                if content != fresh[name][identifier] and not bare(identifier, fresh[name][identifier])
            }
            assert different == {}, name


def stopping(after: int) -> Callable[[Event], None]:
    """Be told to stop, as by a signal, at this event."""
    left = [after]

    def watch(_: Event) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise Interrupted(15)

    return watch


@pytest.fixture(scope="module", autouse=True)
def evaluator() -> Iterator[None]:
    with one_evaluator():
        yield


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SCHEDULES))
def test_schedule(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    world = sample_world(datetime.now(UTC).replace(microsecond=0))
    with stage(world, PortStore.default(), tmp_path, type=chance.choice(("gitlab-v2", "gitlab-v2", "gitlab"))) as on:
        # Lists of a few rows have several pages.
        on.gitlab.limits = Limits(per_page=chance.choice((5, 100)))
        schedule = Schedule(on, chance)
        assert on.run().code == 0
        config = {**on.port.store.integrations[schedule.integration]["config"], "entityDeletionThreshold": 1}
        change_integration(on.port.store, schedule.integration, {"config": config})
        try:
            for _ in range(chance.randrange(3, 6)):
                schedule.step()
            clean = on.run()
            assert clean.code == 0, clean.words
            schedule.check_in_step(schedule.fresh(), on.port.store.snapshot())
        except BaseException:
            print(f"seed {seed}, {on.type}", *schedule.log, sep="\n")
            raise
