"""Random edits, events that are lost, doubled and out of order, and syncs: after the last sync nothing differs."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from gitlab_port_export.demo.gitlab_hooks import Watch, fire
from gitlab_port_export.demo.gitlab_rows import stamp
from gitlab_port_export.demo.port_webhooks import Unknown
from gitlab_port_export.demo.world import Row, World
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
)
FATES = ("sent", "lost", "doubled", "reversed", "late")


@pytest.mark.parametrize("seed", range(6))
def test_after_the_last_sync_nothing_differs(seed: int) -> None:
    random = Random(seed)
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
        bed.run(kinds=("job",))
        watch = Watch(bed.gitlab.hooks, bed.world, bed.reader)
        late: list[Row] = []
        for _ in range(random.randint(2, 4)):
            for _ in range(random.randint(1, 8)):
                random.choice(EDITS)(bed.world, project, random.randint(0, 20))
            late = deliver(bed, watch.payloads(), random.choice(FATES), late)
            if random.random() < 0.4:
                run_sync(bed.gitlab, bed.port)
        for payload in late:
            fire(bed.gitlab.hooks, bed.world, payload)
        assert run_sync(bed.gitlab, bed.port).report.exit_code == 0
        assert run_sync(bed.gitlab, bed.port, command="plan", detailed=True).report.exit_code == 0
        assert bed.port.store.snapshot() == run_sync(bed.gitlab).store.snapshot()


def deliver(bed: Bed, payloads: list[Row], fate: str, late: list[Row]) -> list[Row]:
    """Send payloads, or not, or twice, or the last first, or after later ones; what is still to come."""
    if fate in ("lost", "late"):
        return late + (payloads if fate == "late" else [])
    sent = payloads * 2 if fate == "doubled" else payloads[::-1] if fate == "reversed" else payloads
    for payload in [*sent, *late]:
        fire(bed.gitlab.hooks, bed.world, payload)
    return []
