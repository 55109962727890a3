"""Any history of changes and failures: nothing is deleted without proof, and one clean run brings agreement."""

import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from gitlab_port_export.base.errors import GitLabUnavailable, PortUnavailable
from gitlab_port_export.demo import gitlab_faults
from gitlab_port_export.demo.gitlab import Edit, Recorded, gitlab_server
from gitlab_port_export.demo.gitlab import Fault as GitLabFault
from gitlab_port_export.demo.gitlab_pages import HeaderList, Limits
from gitlab_port_export.demo.gitlab_rows import stamp
from gitlab_port_export.demo.port import port_server
from gitlab_port_export.demo.port_drafts import Content
from gitlab_port_export.demo.port_faults import Fault as PortFault
from gitlab_port_export.demo.port_faults import drop, refuse
from gitlab_port_export.demo.port_store import PortStore
from gitlab_port_export.demo.world import DEVELOPER, OWNER, World
from gitlab_port_export.model import Create, Delete, Event, Held, Update, Written, target
from testbed.faults import one_evaluator
from testbed.harness import blueprint, mapping_of, port_with, resource, run_sync
from testbed.port_bed import examples

Key = tuple[str, str]
OURS = ("port-ocean/gitlab-v2/", "/my-gitlab-v2-integration/exporter")
OTHERS = (
    "a script",
    "port-ocean/gitlab-v2/1.0.0/another/exporter",
    "port-ocean/gitlab-v2/1.0.0/my-gitlab-v2-integration/gitops",
)


def search(name: str, value: str) -> Any:
    """A query of the mapping: `value` is jq."""
    return {"combinator": '"and"', "rules": [{"property": f'"{name}"', "operator": '"="', "value": value}]}


SERVICE = '.references.full | split("!")[0] | split("#")[0]'
# kind → (blueprint, identifier, relations, selector queries to choose from)
KINDS: dict[str, tuple[str, str, dict[str, Any], tuple[str, ...]]] = {
    "group": ("group", ".full_path", {}, ("true",)),
    "project": (
        "service", ".path_with_namespace", {"group": ".namespace.full_path"}, ("true", ".id % 2 == 1", "false"),
    ),
    "merge-request": (
        "mr", ".id | tostring",
        {"service": SERVICE, "author": search("$identifier", ".author.username"), "alike": search("$title", ".title")},
        ("true", '.state == "opened"'),
    ),
    "issue": (
        "issue", ".id | tostring", {"service": SERVICE, "mentions": search("$title", ".title")},
        ("true", ".id % 2 == 0"),
    ),
    "member": ("person", ".username", {"home": search("about", '"the home"')}, ("true",)),
}  # fmt: skip
ABOUT = (None, ".web_url", ".created_at", "null", 'if .path == "two" then "the home" else null end')
# What relates by a search finds whatever Port holds, from this run or not.
SEARCHED = ("author", "alike", "mentions", "home")

BROKEN_LISTS = {"group": r"^/groups$", "project": r"^/projects$", "merge-request": r"/merge_requests$",
                "issue": r"/issues$", "member": r"/members"}  # fmt: skip
BROKEN_ANSWERS = (
    gitlab_faults.forbidden(),
    gitlab_faults.server_error(),
    gitlab_faults.Drop(),
    gitlab_faults.not_a_list(),
)
PORT_FAULTS = (
    ("/bulk$", drop(applied=True), 2),
    ("/bulk$", refuse(500), 3),
    ("/bulk$", refuse(500), None),
    ("/bulk$", drop(applied=True), None),
    ("POST|PATCH", refuse(401), 2),
    ("datasource-entities$", refuse(500), None),
    ("/search$", refuse(403), None),
    ("/mr/entities/search$", refuse(500), None),
    ("/delete$", refuse(500), None),
    ("/delete$", drop(applied=True), 1),
)


PAGE = 4
# Rows of a list that GitLab still counts: the merge requests of a group are more, and are read in windows.
COUNTED = 10
WINDOW = 8


def uncounted(_: Recorded, headers: HeaderList) -> HeaderList:
    """Say of no list how long it is, as GitLab does of long ones."""
    return [one for one in headers if one[0] not in ("X-Total", "X-Total-Pages")]


def a_port() -> PortStore:
    """An empty Port, an hour behind: nothing that was there before a run counts as changed during it."""
    note = blueprint("note", {"service": {"target": "service", "many": False, "required": True}})
    return port_with(
        blueprint("group", about="string"),
        blueprint("service", {"group": "group"}, about="string"),
        blueprint("person", {"home": "service"}, about="string"),
        blueprint("mr", {"service": "service", "author": "person", "alike": ["mr"]}, about="string"),
        blueprint("issue", {"service": "service", "mentions": ["mr"]}, about="string"),
        note,
        clock=lambda: time.time() - 3600,
    )


class Exporter(RuleBasedStateMachine):
    """A GitLab that changes, a Port that others write to, a mapping that is edited, and runs that may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.world = World()
        self.numbers = iter(range(1_000_000))
        self.store = a_port()
        self.queries = dict.fromkeys(KINDS, 0)
        self.dropped: set[str] = set()
        self.about = 0
        self.gitlab = self.stack.enter_context(gitlab_server(self.world))
        self.port = self.stack.enter_context(port_server(self.store))
        self.known: tuple[Any, PortStore, set[Key]] | None = None
        # A kind, and of which of its rows the identifier is kept.
        self.nameless: tuple[str, str] | None = None
        # Lists of a few rows have several pages.
        self.gitlab.limits = Limits(per_page=PAGE, counted=COUNTED)

    @initialize(number=st.integers(0, 2))
    def begin(self, number: int) -> None:
        owner = self.world.add_user("owner")
        self.top = self.world.add_group("top")
        self.sub = self.world.add_group("sub", self.top)
        self.world.add_member(self.top, owner, OWNER)
        self.world.add_token("a-token", owner)
        for name in ("one", "two", "three"):
            project = self.world.add_project(self.sub if name == "two" else self.top, name)
            for number in range(2 * PAGE):
                self.world.add_merge_request(project, f"m{number}", author=owner)
                self.world.add_issue(project, f"i{number}")
        for agent in OTHERS:
            self.store.seed("issue", [{"identifier": f"x{next(self.numbers)}"}], agent)
        self.sync()
        self.a_run_while_gitlab_changes("merge-request", page=1, leaves=0, joins=True, counts=True)
        self.change_selector("project", number)

    def teardown(self) -> None:
        try:
            if hasattr(self, "top"):
                self.agree()
        finally:
            self.stack.close()

    # GitLab

    def one_of(self, rows: Any, number: int) -> Any:
        found = list(rows)
        return found[number % len(found)] if found else None

    def a_project(self, number: int) -> Any:
        return self.one_of(self.world.projects.values(), number)

    @rule(below=st.booleans())
    def add_project(self, below: bool) -> None:
        self.world.add_project(self.sub if below else self.top, f"p{next(self.numbers)}")

    @rule(number=st.integers(0, 9), path=st.booleans())
    def rename_project(self, number: int, path: bool) -> None:
        if project := self.a_project(number):
            name = f"renamed{next(self.numbers)}"
            self.world.rename_project(project, name=None if path else name, path=name if path else None)
            for rows, mark in ((self.world.merge_requests, "!"), (self.world.issues, "#")):
                for row in rows[project["id"]]:
                    full = f"{project['path_with_namespace']}{mark}{row['iid']}"
                    row["references"] = {**row["references"], "full": full}

    @rule(number=st.integers(0, 9))
    def delete_project(self, number: int) -> None:
        if project := self.a_project(number):
            self.world.delete_project(project)

    @rule(number=st.integers(0, 9), what=st.sampled_from(["merge_request", "issue"]))
    def add_row(self, number: int, what: str) -> None:
        if project := self.a_project(number):
            getattr(self.world, f"add_{what}")(project, f"t{next(self.numbers)}")

    @rule(number=st.integers(0, 9), what=st.sampled_from(["merge_requests", "issues"]), gone=st.booleans())
    def change_row(self, number: int, what: str, gone: bool) -> None:
        rows = getattr(self.world, what)
        if row := self.one_of((row for found in rows.values() for row in found), number):
            self.world.touch()
            if gone:
                rows[row["project_id"]].remove(row)
            else:
                row["title"] = f"t{next(self.numbers)}"

    @rule()
    def add_member(self) -> None:
        user = self.world.add_user(f"user{next(self.numbers)}")
        for group in (self.top, self.sub):
            self.world.add_member(group, user, DEVELOPER)

    @rule(number=st.integers(0, 9))
    def remove_member(self, number: int) -> None:
        if user := self.one_of((user for user in self.world.users.values() if user["username"] != "owner"), number):
            self.world.remove_member(self.top, user)

    # The mapping

    @rule(kind=st.sampled_from(sorted(KINDS)))
    def drop_or_add_resource(self, kind: str) -> None:
        if self.dropped | {kind} != KINDS.keys():  # nothing is read and deleted for a mapping without resources
            self.dropped ^= {kind}
            self.known = None

    @rule(kind=st.sampled_from(["project", "merge-request", "issue"]), number=st.integers(0, 2))
    def change_selector(self, kind: str, number: int) -> None:
        self.queries[kind] = number % len(KINDS[kind][3])
        self.known = None

    @rule(number=st.integers(0, len(ABOUT) - 1))
    def change_property(self, number: int) -> None:
        self.about = number
        self.known = None

    @property
    def mapping(self) -> Any:
        about = ABOUT[self.about]
        properties = {"properties": {"about": about}} if about else {}
        return mapping_of(
            *(
                resource(
                    kind, name, query=queries[self.queries[kind]], identifier=self.named(kind, identifier),
                    title=".name // .title",
                    relations=relations, **properties,
                    **({"selector": {"states": ["opened", "closed", "merged"]}} if kind == "merge-request" else {}),
                )
                for kind, (name, identifier, relations, queries) in KINDS.items()
                if kind not in self.dropped
            ),
            entityDeletionThreshold=1,
        )  # fmt: skip

    def named(self, kind: str, identifier: str) -> str:
        if self.nameless is None or self.nameless[0] != kind:
            return identifier
        return f"if {self.nameless[1]} then {identifier} else null end"

    # Others who write to Port

    @rule(number=st.integers(0, 9), agent=st.sampled_from(OTHERS))
    def somebody_writes_of_ours(self, number: int, agent: str) -> None:
        """A note that needs one of our services, and an issue that only mentions it."""
        if name := self.one_of(sorted(self.store.identifiers("service")), number):
            new = f"x{next(self.numbers)}"
            self.store.seed("note", [{"identifier": new, "relations": {"service": name}}], agent)
            self.store.seed("issue", [{"identifier": new, "relations": {"service": name}}], agent)

    @rule(number=st.integers(0, 30), agent=st.sampled_from(OTHERS), changed=st.booleans())
    def somebody_takes_over(self, number: int, agent: str, changed: bool) -> None:
        name, identifier = self.one_of(sorted(self.held()), number) or ("", "")
        if name and name != "note":
            entity = self.store.entity(name, identifier)
            assert entity is not None
            self.store.seed(name, [{**entity, **({"title": "theirs"} if changed else {})}], agent)

    # Runs

    @rule(kind=st.sampled_from(sorted(KINDS)), answer=st.sampled_from(BROKEN_ANSWERS))
    def a_run_with_a_broken_gitlab(self, kind: str, answer: Any) -> None:
        self.gitlab.faults.append(GitLabFault(BROKEN_LISTS[kind], answer))
        deleted = self.sync()
        broken = {KINDS[kind][0]} if kind not in self.dropped else set()
        assert not {name for name, _ in deleted} & broken
        if kind in ("project", "group"):  # the inventory: whatever is mapped
            assert deleted == set()

    @rule(
        what=st.sampled_from(sorted(BROKEN_LISTS)),
        page=st.integers(1, 3),
        leaves=st.integers(0, 30),
        joins=st.booleans(),
        counts=st.booleans(),
    )
    def a_run_while_gitlab_changes(self, what: str, page: int, leaves: int, joins: bool, counts: bool) -> None:
        """After some page of some list was served, one row leaves it and another one may join."""

        def change() -> None:
            self.leave(what, leaves)
            if joins:
                self.join(what)

        keyset = what == "project"  # its pages have no numbers
        self.gitlab.edits.append(Edit(BROKEN_LISTS[what], change, page=None if keyset else page))
        self.gitlab.proxy = None if counts else uncounted
        before = self.held()
        self.run("sync")
        self.gitlab.edits.clear()
        self.gitlab.proxy = None
        deleted = before.keys() - self.held().keys()
        assert [key for key in deleted if not is_ours(before[key])] == []
        assert deleted & set_of(self.fresh()[0].snapshot()) == set()

    @rule(kind=st.sampled_from(sorted(KINDS)), rest=st.integers(0, 2))
    def a_run_in_which_identifiers_become_null(self, kind: str, rest: int) -> None:
        """An expression that gives nothing for some rows, or for all, proves nothing of them."""
        before, self.nameless = self.held(), (kind, f".id % 2 >= {rest}")
        self.run("sync")
        self.nameless = None
        deleted = before.keys() - self.held().keys()
        assert deleted & set_of(self.fresh()[0].snapshot()) == set()

    def leave(self, what: str, number: int) -> None:
        match what:
            case "group":
                others = (
                    row for row in self.world.groups.values() if row["id"] not in (self.top["id"], self.sub["id"])
                )
                if row := self.one_of(others, number):
                    self.world.delete_group(row)
            case "project":
                self.delete_project(number)
            case "member":
                self.remove_member(number)
            case "issue":
                self.change_row(number, "issues", gone=True)
            case "merge-request":
                rows = (row for found in self.world.merge_requests.values() for row in found)
                if row := self.one_of((row for row in rows if row["state"] == "opened"), number):
                    state = ("merged", "closed")[number % 2]
                    row |= {"state": state, "updated_at": stamp(datetime.now(UTC))}

    def join(self, what: str) -> None:
        match what:
            case "group":
                self.world.add_group(f"g{next(self.numbers)}", self.top)
            case "project":
                self.add_project(below=False)
            case "member":
                self.world.add_member(self.top, self.world.add_user(f"user{next(self.numbers)}"), DEVELOPER)
            case "issue":
                self.add_row(0, "issue")
            case "merge-request":
                self.add_row(0, "merge_request")

    @rule(fault=st.sampled_from(PORT_FAULTS))
    def a_run_with_a_broken_port(self, fault: Any) -> None:
        pattern, effect, times = fault
        self.port.faults.append(PortFault(pattern, effect, times))
        self.sync()

    @precondition(lambda self: hasattr(self, "top"))
    @rule()
    def agree(self) -> None:
        """A clean run: Port holds what a first run into an empty Port would give, and a second one writes nothing."""
        self.sync()
        fresh, produced = self.fresh()
        wanted, found = fresh.snapshot(), self.store.snapshot()
        for name, identifier in produced:
            assert self.mapped_part(found[name][identifier]) == self.mapped_part(wanted[name][identifier])
            self.check_searched(name, identifier, found)
        ours = {key for key, source in self.held().items() if is_ours(source)}
        assert ours <= self.justified(set_of(wanted))
        writes = self.store.writes
        assert self.sync() == set()
        assert self.store.writes == writes

    # What is checked in every run

    def sync(self) -> set[Key]:
        """Plan and run with whatever is broken, check both, repair, and return what was deleted."""
        before = self.held()
        quiet = not self.port.faults
        planned = self.run("plan")
        assert self.held() == before
        done = self.run("sync")
        self.gitlab.faults.clear()
        self.port.faults.clear()
        deleted = before.keys() - self.held().keys()
        fresh, _ = self.fresh()
        assert [key for key in deleted if not is_ours(before[key])] == []
        assert deleted & set_of(fresh.snapshot()) == set()
        if quiet:
            dependents = {
                (Delete, (one.blueprint, name))
                for one in done
                if isinstance(one, Held) and one.reason == "dependents"
                for name in one.identifiers
            }
            assert changes(planned) == changes(done) | dependents
        return deleted

    def run(self, command: Any) -> list[Event]:
        events: list[Event] = []
        try:
            run_sync(self.gitlab, self.port, self.mapping, command=command, watch=events.append, window=WINDOW)
        except (GitLabUnavailable, PortUnavailable):
            assert changes(events) == set()
        return events

    def fresh(self) -> tuple[PortStore, set[Key]]:
        """What a first run into an empty Port gives, and which of it the mapping produced."""
        version = self.world.version
        if self.known is None or self.known[0] != version:
            store, events = a_port(), list[Event]()
            report = run_sync(self.gitlab, store, self.mapping, watch=events.append, window=WINDOW).report
            assert not [one for one in report.problems if not one.warning]
            self.known = version, store, {key for kind, key in changes(events) if kind is Create}
        return self.known[1], self.known[2]

    def held(self) -> dict[Key, str]:
        """Who wrote what Port holds."""
        return {
            (name, identifier): str((self.store.entity(name, identifier) or {})["$datasource"])
            for name, found in self.store.snapshot().items()
            for identifier in found
        }

    def justified(self, keys: set[Key]) -> set[Key]:
        """`keys`, what others need, and all that these relate to, directly or not."""
        found = self.store.snapshot()
        front = list(keys)
        front += [("service", content[4]["service"]) for content in found["note"].values()]
        seen = set(front)
        while front:
            name, identifier = front.pop()
            relations = found[name][identifier][4] if identifier in found[name] else {}
            targets = {relation: one["target"] for relation, one in self.store.blueprints[name]["relations"].items()}
            new = {
                (targets[relation], one)
                for relation, value in relations.items()
                for one in (value if isinstance(value, list) else [value])
            } - seen
            seen |= new
            front += new
        return seen

    def check_searched(self, name: str, identifier: str, found: Any) -> None:
        """Check that an entity relates to what its searches find in Port now."""
        title, relations = found[name][identifier][0], found[name][identifier][4]
        if name in ("mr", "issue"):
            alike = sorted(other for other, content in found["mr"].items() if content[0] == title)
            assert sorted(relations.get("alike" if name == "mr" else "mentions", [])) == alike
        if name == "mr":
            rows = (row for rows in self.world.merge_requests.values() for row in rows)
            author = next(row["author"]["username"] for row in rows if str(row["id"]) == identifier)
            assert relations.get("author") == (author if author in found["person"] else None)
        if name == "person":
            homes = [other for other, content in found["service"].items() if content[3].get("about") == "the home"]
            assert len(homes) > 1 or relations.get("home") == (homes[0] if homes else None)

    def mapped_part(self, content: Content) -> Any:
        title, _, _, properties, found = content
        relations = {name: value for name, value in found.items() if name not in SEARCHED}
        return title, properties.get("about") if ABOUT[self.about] else None, relations


def is_ours(source: str) -> bool:
    return source.startswith(OURS[0]) and source.endswith(OURS[1])


def set_of(snapshot: Any) -> set[Key]:
    return {(name, identifier) for name, found in snapshot.items() for identifier in found}


def changes(events: list[Event]) -> set[tuple[type, Key]]:
    """What was done, or in a plan would be."""
    made = (one.change if isinstance(one, Written) else one for one in events)
    writes = (one for one in made if isinstance(one, Create | Update | Delete))
    # How often it takes until the searches are at rest, depends on the order in which rows come.
    return {(type(one), target(one)) for one in writes if not (isinstance(one, Update) and one.again)}


@pytest.mark.timeout(3600)  # only HYPOTHESIS_PROFILE=thorough comes near
def test_any_history() -> None:
    with one_evaluator():
        run_state_machine_as_test(Exporter, settings=settings(examples(3, 300, slow=True), stateful_step_count=12))
