"""Random edits, events that are lost, doubled and out of order, and syncs: after the last sync nothing differs.

Events reach Port by its webhook, by jobs that read again what they name, or both, and also while a sync is reading.
"""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from gitlab_port_export.demo.gitlab_hooks import Watch, fire
from gitlab_port_export.demo.gitlab_rows import stamp
from gitlab_port_export.demo.port_webhooks import Unknown
from gitlab_port_export.demo.world import Row, World
from gitlab_port_export.model import Event, Page
from test_hooks import Bed, stand_ins
from testbed.harness import run_sync

pytestmark = pytest.mark.usefixtures("lent_evaluator")

Edit = Callable[[World, int, int], Any]
NOW = object()


def changed(kind: str, **values: Any) -> Edit:
    """An edit of some row of a kind; NOW is when it happens, which GitLab's rows have to the millisecond."""

    def edit(world: World, project: int, number: int) -> None:
        rows = getattr(world, kind)[project]
        if rows:
            now = stamp(world.ago(seconds=-number, milliseconds=-125))
            made = {name: now if value is NOW else value for name, value in values.items()}
            rows[number % len(rows)] |= {"updated_at": now, **made}
            world.touch()

    return edit


def gone(kind: str) -> Edit:
    """An edit that deletes some row of a kind, but for the first; GitLab sends no event about that."""

    def edit(world: World, project: int, number: int) -> None:
        rows = getattr(world, kind)[project]
        if len(rows) > 1:
            del rows[1 + number % (len(rows) - 1)]
            world.touch()

    return edit


EDITS: tuple[Edit, ...] = (
    lambda world, at, n: world.add_merge_request(world.projects[at], f'a "change" {n}', created_at=world.ago(days=1)),
    lambda world, at, n: world.add_issue(world.projects[at], f"issue {n}", confidential=n % 3 == 0),
    lambda world, at, n: world.add_job(world.add_pipeline(world.projects[at], "running", name=f"build {n}"), "test"),
    lambda world, at, n: world.add_pipeline(world.projects[at], source="parent_pipeline"),
    changed("merge_requests", state="merged", merged_at=NOW),
    changed("merge_requests", title="another title", labels=["x"]),
    changed("issues", state="closed", closed_at=NOW),
    changed("issues", state="opened", closed_at=None),
    changed("issues", labels=["a", "b"], confidential=False),
    changed("pipelines", status="success"),
    changed("jobs", status="failed", failure_reason="script_failure"),
    gone("merge_requests"),
    gone("issues"),
)
FATES = ("sent", "lost", "doubled", "reversed", "late", "during a sync")
WAYS = ("port", "ci", "both")
INTEGRATION = "my-gitlab-v2-integration"


@pytest.mark.parametrize("seed", range(8))
def test_after_the_last_sync_nothing_differs(seed: int) -> None:
    random, way = Random(seed), WAYS[seed % 3]
    with stand_ins() as bed:
        bed.port.store.webhooks.unknown = Unknown(
            owner=random.choice(["own", "kept", "none"]),
            null_clears=random.random() < 0.5,
            creates_targets=random.random() < 0.5,
            backwards=random.random() < 0.5,
        )
        bed.gitlab.hooks.version = (19, 0)
        bed.gitlab.hooks.auto_disable = False
        project = bed.world.add_project(bed.group, "web")["id"]
        run_sync(bed.gitlab, bed.port)
        bed.port.store.integrations[INTEGRATION]["config"]["entityDeletionThreshold"] = 1
        if way != "ci":
            bed.run(kinds=("job",))
        watch = Watch(bed.gitlab.hooks, bed.world, bed.reader)
        late: list[Row] = []
        for _ in range(random.randint(2, 4)):
            for _ in range(random.randint(1, 8)):
                random.choice(EDITS)(bed.world, project, random.randint(0, 20))
            late = deliver(bed, way, watch.payloads(), random.choice(FATES), late)
            if random.random() < 0.4:
                run_sync(bed.gitlab, bed.port)
        send(bed, way, late)
        assert run_sync(bed.gitlab, bed.port).report.exit_code == 0
        assert run_sync(bed.gitlab, bed.port, command="plan", detailed=True).report.exit_code == 0
        assert without_orphans(bed, way) == run_sync(bed.gitlab).store.snapshot()


def without_orphans(bed: Bed, way: str) -> dict[str, dict[str, Any]]:
    """What Port holds, without what a webhook alone wrote and GitLab lost before a sync: no sync owns that."""
    found = bed.port.store.snapshot()
    fresh = run_sync(bed.gitlab).store.snapshot()
    for name, entities in found.items():
        for identifier in entities.keys() - fresh[name].keys():
            owner = str((bed.port.store.entity(name, identifier) or {})["$datasource"])
            assert way != "ci"
            assert not owner.startswith("port-ocean/")
            del entities[identifier]
    return found


def deliver(bed: Bed, way: str, payloads: list[Row], fate: str, late: list[Row]) -> list[Row]:
    """Send payloads, or not, or twice, or the last first, or after later ones; what is still to come."""
    if fate in ("lost", "late"):
        return late + (payloads if fate == "late" else [])
    sent = payloads * 2 if fate == "doubled" else payloads[::-1] if fate == "reversed" else payloads
    if fate != "during a sync":
        send(bed, way, [*sent, *late])
        return []
    waiting = [*sent, *late]

    def watching(event: Event) -> None:
        if isinstance(event, Page) and waiting:
            now = waiting[:]
            waiting.clear()
            send(bed, way, now)

    run_sync(bed.gitlab, bed.port, watch=watching)
    return []


def send(bed: Bed, way: str, payloads: list[Row]) -> None:
    """Send payloads to Port's webhook, to a job, or to both."""
    for payload in payloads:
        if way != "ci":
            fire(bed.gitlab.hooks, bed.world, payload)
        if way != "port":
            run_sync(bed.gitlab, bed.port, events=[payload])
