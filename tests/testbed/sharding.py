"""A whole sync in shards between the stand-ins: survey, shards in any order, reconcile; each step as its own run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gitlab_port_export.base.clock import Clock
from gitlab_port_export.demo.gitlab import GitLabServer
from gitlab_port_export.demo.port import PortServer
from gitlab_port_export.gitlab.windows import WINDOW_ROWS
from gitlab_port_export.model import Event
from gitlab_port_export.report.values import Report
from gitlab_port_export.settings.load import load_settings
from gitlab_port_export.shards import evidence, survey
from gitlab_port_export.shards.collect import collect
from gitlab_port_export.shards.reconcile import reconcile_line
from gitlab_port_export.shards.shard import shard_line
from gitlab_port_export.shards.shares import prepare_share
from gitlab_port_export.shards.slim import kept_keys
from gitlab_port_export.shards.survey import Survey
from gitlab_port_export.shards.surveying import take_survey
from gitlab_port_export.sync.execute import Share, execute
from gitlab_port_export.sync.prepare import Run, prepare
from testbed.harness import NoWait, Tokens, environ_for, mapping_file


@dataclass
class Sharded:
    """One sync in shards: `options` are settings of every step, `mapping` is what the survey finds.

    `window` is how many rows a window of a long list has.
    """

    gitlab: GitLabServer
    port: PortServer
    folder: Path
    shards: int
    mapping: Mapping[str, Any] | None = None
    type: str | None = "gitlab-v2"
    tokens: Tokens | None = None
    options: dict[str, Any] = field(default_factory=dict)
    watch: Callable[[Event], None] = lambda event: None
    clock: Callable[[], Clock] = NoWait
    window: int = WINDOW_ROWS
    made: Survey | None = None

    @contextmanager
    def run(self, made: Survey | None = None) -> Iterator[Run]:
        """A prepared run of one step."""
        options = {name: value for name, value in self.options.items() if "__" not in name}
        variables = {name: str(value) for name, value in self.options.items() if "__" in name}
        if self.mapping is not None:
            options["mapping_file"] = mapping_file(self.mapping, self.folder)
        environ = environ_for(self.gitlab, self.port, self.tokens, self.type) | variables
        settings, clock = load_settings(environ, dotenv=None, **options), self.clock()
        prepared = prepare_share(settings, clock, made) if made else prepare(settings, clock, writes=True)
        try:
            yield replace(prepared, window=self.window)
        finally:
            prepared.close()

    def survey(self) -> Survey:
        """Take the survey."""
        with self.run() as run:
            keys = kept_keys(run.mapping, run.dialect)
            self.made = survey.save(take_survey(run, lambda _: self.shards), self.folder / "survey", keys)
        return self.made

    def file(self, number: int) -> Path:
        """Where the evidence of a shard is."""
        return self.folder / f"evidence-{number}"

    def shard(self, number: int, attempt: int = 1, file: Path | None = None) -> Report:
        """Do the share of one shard."""
        made = survey.load(self.folder / "survey")
        found, which = evidence.Found(), evidence.Shard(number, self.shards, attempt)
        with self.run(made) as run:
            share = Share(shard_line(made, which, found), made.started)
            report = execute(run, "sync", self.watch, share=share)
        evidence.save(file or self.file(number), which, made.digest, made.run, found, report)
        return report

    def reconcile(self, files: Sequence[Path] | None = None) -> Report:
        """Do the last step."""
        made = survey.load(self.folder / "survey")
        numbers = range(1, self.shards + 1)
        collected = collect(made, [self.file(number) for number in numbers] if files is None else files)
        with self.run(made) as run:
            share = Share(reconcile_line(made, collected), made.started, last=True)
            return execute(run, "sync", self.watch, share=share)

    def all(self, order: Sequence[int] | None = None) -> Report:
        """Do every step."""
        self.survey()
        for number in order or range(1, self.shards + 1):
            self.shard(number)
        return self.reconcile()


@contextmanager
def sharded(gitlab: GitLabServer, port: PortServer, shards: int = 3, **more: Any) -> Iterator[Sharded]:
    """A sync in shards with a folder of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        known = {name: more.pop(name) for name in list(more) if name in Sharded.__dataclass_fields__}
        yield Sharded(gitlab, port, folder, shards, options=more, **known)
