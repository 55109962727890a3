"""Sample content of the stand-in GitLab: a small company, what changes there later, and a large one to measure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from gitlab_port_export.demo.gitlab_access import DEVELOPER, GUEST, MAINTAINER, OWNER, REPORTER, Token
from gitlab_port_export.demo.gitlab_kinds import kind_modules
from gitlab_port_export.demo.gitlab_kinds.milestone import add_milestone
from gitlab_port_export.demo.gitlab_list_rows import fill_lists
from gitlab_port_export.demo.gitlab_rows import Row, stamp
from gitlab_port_export.demo.gitlab_store import World
from gitlab_port_export.demo.gitlab_work_rows import commit_of

__all__ = [
    "DEVELOPER",
    "GUEST",
    "LARGE_TOKEN",
    "MAINTAINER",
    "OWNER",
    "REPORTER",
    "SAMPLE_TOKENS",
    "Row",
    "Token",
    "World",
    "change_world",
    "large_world",
    "sample_world",
    "stamp",
]

# The first sees the groups platform and payments; the second research and, like the first, payments/cards.
SAMPLE_TOKENS = ("demo-token-one", "demo-token-two")
LARGE_TOKEN = "demo-token-large"  # noqa: S105  # opens nothing but the stand-in


@dataclass(frozen=True)
class _People:
    ada: Row
    bjorn: Row
    chen: Row
    noor: Row
    zoe: Row
    catalog: Row
    reader: Row


def sample_world(now: datetime) -> World:
    """Return a small company: three top-level groups, thirteen projects, two tokens that overlap."""
    world = World(now)
    people = _people(world)
    _platform(world, people)
    _payments(world, people)
    _research(world, people)
    _personal(world, people)
    for path, user in (("platform/gateway", people.bjorn), ("payments/ledger", people.chen)):
        fill_lists(world, world.project(path), user)
    add_milestone(world, world.group("platform"), "Second region")
    for module in kind_modules():
        if fill := getattr(module, "fill_sample", None):
            fill(world)
    world.add_token(SAMPLE_TOKENS[0], people.catalog, name="catalog")
    world.add_token(SAMPLE_TOKENS[1], people.reader, name="research catalog")
    return world


def change_world(world: World) -> None:
    """Change the sample: a new merge request, a renamed project, and a deleted project."""
    gateway = world.project("platform/gateway")
    world.add_merge_request(
        gateway, "Answer 503 while draining", created_at=world.now, updated_at=world.now, draft=True
    )
    world.rename_project(world.project("platform/infrastructure"), name="Infrastructure as Code")
    world.delete_project(world.project("payments/cards/fraud-rules"))


def _people(world: World) -> _People:
    return _People(
        ada=world.add_user("ada.nwosu", "Ada Nwosu", public_email="ada@example.com"),
        bjorn=world.add_user("bjorn", "Björn Åkesson"),
        chen=world.add_user("chen.wei", "陈伟"),
        noor=world.add_user("noor", "Noor 🌿 Haddad"),
        zoe=world.add_user("zoe", "Zoë <O'Brien>", state="blocked"),
        catalog=world.add_user("catalog-reader", "Catalog Reader"),
        reader=world.add_user("research-reader", "Research Reader"),
    )


def _add_bot(world: World, source: Row, name: str) -> Row:
    kind = "group" if "full_path" in source else "project"
    bot = world.add_user(f"{kind}_{source['id']}_bot_{source['id'] * 48879:012x}", name, bot=True)
    world.add_member(source, bot, REPORTER)
    return bot


def _ci(world: World, project: Row, user: Row, *statuses: str) -> None:
    """Add a pipeline for each status with a build and a test job; a failed test was tried once before."""
    for day, status in enumerate(reversed(statuses)):
        created_at = world.ago(days=len(statuses) - day)
        pipeline = world.add_pipeline(project, status, user, created_at=created_at)
        commit = commit_of(pipeline, user)
        world.add_job(pipeline, "build", stage="build", user=user, commit=commit)
        if status == "failed":
            world.add_job(pipeline, "test", "failed", retried=True, user=user, commit=commit)
        world.add_job(pipeline, "test", status, user=user, commit=commit)


def _platform(world: World, people: _People) -> None:
    group = world.add_group("platform", name="Platform", description="What every team builds upon")
    runtime = world.add_group("runtime", group, "Runtime")
    observability = world.add_group("observability", runtime, "Observability 🔭")
    tooling = world.add_group("tooling", group, "Tooling", visibility="internal")
    world.add_member(group, people.ada, OWNER)
    world.add_member(group, people.bjorn, MAINTAINER)
    world.add_member(group, people.catalog, MAINTAINER)
    world.add_member(runtime, people.noor, DEVELOPER, expires_at=(world.now + timedelta(days=60)).date().isoformat())
    world.add_label(group, "team::platform", "#6699cc")
    _add_bot(world, group, "release bot")

    _gateway(world, people, group)
    infrastructure = world.add_project(group, "infrastructure", name="Infra", topics=["terraform"])
    world.set_languages(infrastructure, HCL=100.0)
    world.add_merge_request(infrastructure, "Second region 🌍", author=people.bjorn, draft=True)
    _ci(world, infrastructure, people.bjorn, "success", "success")
    _runtime_and_observability(world, people, runtime, observability)
    world.add_project(tooling, "empty-start", empty_repo=True, default_branch=None, readme_url=None)


def _gateway(world: World, people: _People, group: Row) -> None:
    """Add the project of which every kind has rows."""
    gateway = world.add_project(group, "gateway", name="Gateway", topics=["http", "edge"], description="Front door")
    world.set_languages(gateway, Go=88.4, Shell=7.1, Dockerfile=4.5)
    world.add_label(gateway, "needs review")
    world.set_file(gateway, "README.md", "# Gateway\n\nThe front door.\n")
    world.set_file(gateway, "port.yml", "identifier: gateway\ntitle: Gateway\n")
    world.set_file(gateway, ".gitlab-ci.yml", "build:\n  script: make\n---\nspec:\n  inputs: {}\n")
    world.set_file(gateway, "package.json", '{"name": "gateway", "version": "2.4.1", "private": true}\n')
    world.set_file(gateway, "deploy/base/service.yaml", "kind: Service\nmetadata: {name: gateway}\n")
    world.set_file(gateway, "deploy/overlays/eu/values.yaml", "replicas: 3\nnotes: file://README.md\n")
    world.add_member(gateway, people.chen, DEVELOPER)
    _add_bot(world, gateway, "deploy bot")
    world.add_merge_request(
        gateway,
        "Retry on [bold]reset[/bold] | once",
        author=people.bjorn,
        labels=["team::platform", "needs review"],
        reviewers=[people.ada],
    )
    world.add_merge_request(gateway, "Drop TLS 1.1", "merged", people.ada, created_at=world.ago(days=20))
    world.add_merge_request(gateway, "Try HTTP/3", "closed", people.chen, created_at=world.ago(days=40))
    world.add_merge_request(gateway, "First routes", "merged", people.ada, created_at=world.ago(days=400))
    world.add_issue(gateway, "504 under load", author=people.noor, labels=["team::platform"])
    world.add_issue(gateway, "Gateway down", "closed", people.ada, issue_type="incident", severity="HIGH")
    world.add_issue(gateway, "Leaked header", author=people.ada, confidential=True)
    _ci(world, gateway, people.bjorn, "running", "failed", "success")


def _runtime_and_observability(world: World, people: _People, runtime: Row, observability: Row) -> None:
    scheduler = world.add_project(runtime, "scheduler", name="Scheduler")
    world.set_languages(scheduler, Rust=97.3, Python=2.7)
    world.add_merge_request(scheduler, "Fair queues", "locked", people.noor)
    world.add_merge_request(scheduler, "`cron` | weekdays", author=people.noor)
    world.add_issue(scheduler, "Jobs start twice", author=people.bjorn)
    _ci(world, scheduler, people.noor, "success", "canceled")

    metrics = world.add_project(observability, "metrics", name="Metrics", visibility="internal")
    world.set_languages(metrics, Go=100.0)
    world.add_issue(metrics, "Histograms with native buckets", author=people.chen)
    _ci(world, metrics, people.noor, "success")
    logs = world.add_project(observability, "logs", name="Logs (old)", archived=True)
    world.set_languages(logs, Java=100.0)
    world.add_merge_request(logs, "Never finished", author=people.noor, created_at=world.ago(days=500))
    world.add_issue(logs, "Move to metrics", "closed", people.noor, created_at=world.ago(days=500))


def _payments(world: World, people: _People) -> None:
    group = world.add_group("payments", name="Payments 💳", visibility="private")
    cards = world.add_group("cards", group, "Cards & Limits")
    world.add_member(group, people.chen, OWNER)
    world.add_member(group, people.zoe, DEVELOPER)
    world.add_member(group, people.catalog, DEVELOPER)
    world.add_member(cards, people.reader, MAINTAINER)
    world.add_member(cards, people.ada, REPORTER)
    world.add_label(group, "pci", "#d9534f")

    ledger = world.add_project(group, "ledger", name="Ledger")
    world.set_languages(ledger, Kotlin=81.0, SQL=19.0)
    world.set_file(ledger, "README.md", "# Ledger\n")
    world.set_file(ledger, ".gitlab-ci.yml", "test:\n  script: ./gradlew test\n")
    world.add_merge_request(ledger, "Round half to even", "merged", people.chen, created_at=world.ago(days=5))
    world.add_issue(ledger, "Balance off by a cent", author=people.zoe, labels=["pci"])
    _ci(world, ledger, people.chen, "success", "failed")

    issuing = world.add_project(cards, "issuing", name="Card Issuing")
    world.set_languages(issuing, Kotlin=100.0)
    world.add_merge_request(issuing, "Virtual cards", author=people.chen, labels=["pci"])
    _ci(world, issuing, people.chen, "manual")
    fraud = world.add_project(cards, "fraud-rules", name="Fraud Rules")
    world.set_languages(fraud, Python=100.0)
    world.add_merge_request(fraud, "Tighten velocity rule", author=people.ada)
    world.add_merge_request(fraud, "Loosen it again", "closed", people.ada)
    world.add_issue(fraud, "False positives on Mondays", author=people.zoe)
    _ci(world, fraud, people.ada, "success")

    leaving = world.ago(days=2).date().isoformat()
    world.add_project(
        group,
        "legacy-billing",
        name="Legacy Billing",
        marked_for_deletion_on=leaving,
        marked_for_deletion_at=leaving,
    )


def _research(world: World, people: _People) -> None:
    group = world.add_group("research", name="Forschung & Lehre", visibility="public")
    world.add_member(group, people.noor, OWNER)
    world.add_member(group, people.reader, MAINTAINER)
    # Some servers leave `bot` out of member rows; then only the name tells.
    nameless = world.add_user(f"group_{group['id']}_bot_0badcafe", "nightly")
    world.add_member(group, nameless, GUEST)

    papers = world.add_project(group, "paper-tools", name="Paper Tools", visibility="public", topics=["latex"])
    world.set_languages(papers, TeX=92.0, Python=8.0)
    world.set_file(papers, "README.md", "# Paper tools\n\nUmlaute: ä ö ü\n")
    world.add_merge_request(papers, "引用格式", author=people.chen)
    world.add_issue(papers, "Umlaute in BibTeX", author=people.bjorn, issue_type="task")
    _ci(world, papers, people.noor, "success", "success")
    models = world.add_project(group, "models", name="Models", builds_access_level="disabled", jobs_enabled=False)
    world.set_languages(models, Python=100.0)
    world.add_issue(models, "Weights do not belong in git", author=people.noor)


def _personal(world: World, people: _People) -> None:
    dotfiles = world.add_project(people.ada, "dotfiles", name="dotfiles", visibility="private")
    world.set_languages(dotfiles, Shell=60.0, Lua=40.0)
    world.add_member(dotfiles, people.catalog, DEVELOPER)
    world.add_merge_request(dotfiles, "New prompt", author=people.ada)


def large_world(
    now: datetime,
    projects: int = 100,
    *,
    projects_per_group: int = 10,
    merge_requests: int = 30,
    issues: int = 30,
    pipelines: int = 20,
    members: int = 5,
) -> World:
    """Return a world of a hundred rows a project, the same each time; `LARGE_TOKEN` is a maintainer everywhere.

    Every second top-level group keeps half of its projects in a subgroup. Counts other than `projects` are
    per project, `members` per top-level group; each pipeline has one job.
    """
    world = World(now)
    reader = world.add_user("catalog-reader", "Catalog Reader")
    world.add_token(LARGE_TOKEN, reader)
    people = [world.add_user(f"user-{n}", f"User {n}") for n in range(max(members * 4, 1))]
    for start in range(0, projects, projects_per_group):
        number = start // projects_per_group
        group = world.add_group(f"group-{number:05}", name=f"Group {number}")
        world.add_member(group, reader, MAINTAINER)
        for n in range(members - 1):
            world.add_member(group, people[(number + n) % len(people)], DEVELOPER)
        homes = [group, world.add_group("team", group, f"Team {number}") if number % 2 else group]
        for index in range(start, min(start + projects_per_group, projects)):
            project = world.add_project(homes[index % 2], f"project-{index:06}", name=f"Project {index}")
            _fill(world, project, people, (merge_requests, issues, pipelines), index / projects)
    return world


def _fill(world: World, project: Row, people: list[Row], counts: tuple[int, int, int], delay: float) -> None:
    merge_requests, issues, pipelines = counts
    world.set_languages(project, Go=70.0, Python=20.0, Shell=10.0)
    for n in range(merge_requests):
        state = ("opened", "merged", "closed")[n % 3]
        world.add_merge_request(project, f"Change {n}", state, people[n % len(people)], *span(world.now, n, delay))
    for n in range(issues):
        state = ("opened", "closed")[n % 2]
        world.add_issue(project, f"Issue {n}", state, people[n % len(people)], *span(world.now, n, delay))
    for n in range(pipelines):
        status = ("success", "failed")[n % 5 == 4]
        created_at, updated_at = span(world.now, n, delay)
        pipeline = world.add_pipeline(project, status, None, created_at, updated_at)
        world.add_job(pipeline, "test", status, user=people[n % len(people)])


def span(now: datetime, n: int, delay: float) -> tuple[datetime, datetime]:
    """Return the times of creation and update of a project's n-th row: within the last two months, later ones later.

    `delay` is a part of an hour: in each hour one row of each project is made, one project after the other.
    """
    created_at = now - timedelta(days=60) + timedelta(hours=n % 1400, seconds=int(3600 * delay))
    return created_at, created_at + timedelta(minutes=7)
