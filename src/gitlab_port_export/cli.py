"""The commands: each parses its options, makes one call and ends with the exit code; heavy imports wait until then."""

import gc
import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn, TextIO, cast

import typer

from gitlab_port_export import __version__
from gitlab_port_export.base.stream import Stream

# Of glibc's malloc.h.
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8

app = typer.Typer(
    help="Bring a Port software catalog in step with GitLab. Without a command: sync.",
    add_completion=False,
    rich_markup_mode=None,  # rich help writes escape sequences in CI, whatever NO_COLOR says
    pretty_exceptions_enable=False,
)


class Output(StrEnum):
    """What is written to standard output; everything else goes to standard error."""

    table = "table"
    json = "json"


class FailOn(StrEnum):
    """Which findings make the run fail."""

    problems = "problems"
    warnings = "warnings"
    limit = "limit"
    never = "never"


MappingOption = Annotated[Path | None, typer.Option("--mapping", help="Mapping file instead of the one in Port.")]
OutputOption = Annotated[Output, typer.Option("--output", help="Form of the result on standard output.")]
WorkersOption = Annotated[int | None, typer.Option("--workers", help="Connections to GitLab, and to Port. [10]")]
DeadlineOption = Annotated[str | None, typer.Option("--deadline", help="Stop in time, e.g. 25m; deletes nothing then.")]
AllowOption = Annotated[
    list[str] | None,
    typer.Option("--allow-deletes", metavar="BLUEPRINT[=N]", help="Release held deletions of a blueprint this once."),
]
FailOption = Annotated[FailOn | None, typer.Option("--fail-on", help="What makes the run fail. [problems]")]


class OnOverlap(StrEnum):
    """What to do while another run on the same integration is active."""

    run = "run"
    skip = "skip"


OverlapOption = Annotated[
    OnOverlap | None, typer.Option("--on-overlap", help="While another run is active: run beside it, or skip. [run]")
]
MarkdownOption = Annotated[
    Path | None, typer.Option("--report-markdown", help="Write the report as markdown: a job summary, a comment.")
]
JunitOption = Annotated[
    Path | None, typer.Option("--report-junit", help="Write the report as JUnit XML, which CI systems show as tests.")
]
JsonOption = Annotated[Path | None, typer.Option("--report-json", help="Write the report as JSON.")]
MetricsOption = Annotated[Path | None, typer.Option("--report-metrics", help="Write the counts as OpenMetrics text.")]
HtmlOption = Annotated[Path | None, typer.Option("--report-html", help="Write the report as one page for a browser.")]
DotenvOption = Annotated[
    Path | None, typer.Option("--report-dotenv", help="Write the counts as variables for later jobs of GitLab CI.")
]
AnnotationsOption = Annotated[
    Path | None, typer.Option("--report-annotations", help="Write links for the page of a job of GitLab CI.")
]


class Ci(StrEnum):
    """Which CI system is told of the run in its own way."""

    auto = "auto"
    github = "github"
    gitlab = "gitlab"
    azure = "azure"
    jenkins = "jenkins"
    none = "none"


CiOption = Annotated[Ci | None, typer.Option("--ci", help="The CI system that is told of the run. [auto]")]
EnvFileOption = Annotated[
    Path | None, typer.Option("--env-file", help="File of NAME=value lines that sets what the environment does not.")
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Log every request; show the traceback of a bug.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def default(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  # read by its callback
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Run `sync` when no command is given, so that the image needs no arguments."""
    if context.invoked_subcommand is None:
        _leave(_carry_out("sync", Output.table))


@app.command()
def sync(  # noqa: PLR0913, PLR0917  # an option each, which the command line gives by name
    mapping: MappingOption = None,
    output: OutputOption = Output.table,
    workers: WorkersOption = None,
    deadline: DeadlineOption = None,
    allow_deletes: AllowOption = None,
    fail_on: FailOption = None,
    report_markdown: MarkdownOption = None,
    report_junit: JunitOption = None,
    report_json: JsonOption = None,
    report_metrics: MetricsOption = None,
    report_html: HtmlOption = None,
    report_dotenv: DotenvOption = None,
    report_annotations: AnnotationsOption = None,
    ci: CiOption = None,
    on_overlap: OverlapOption = None,
    plan_file: Annotated[
        Path | None, typer.Option("--plan", help="Apply this plan file and nothing else, if Port is as it was.")
    ] = None,
    env_file: EnvFileOption = None,
    debug: DebugOption = False,
) -> None:
    """Read GitLab, compare with Port, write and delete what changed."""
    _leave(
        _carry_out(
            "sync",
            output,
            debug=debug,
            mapping_file=mapping,
            workers=workers,
            deadline=deadline,
            allow_deletes=allow_deletes,
            fail_on=fail_on,
            report_markdown=report_markdown,
            report_junit=report_junit,
            report_json=report_json,
            report_metrics=report_metrics,
            report_html=report_html,
            report_dotenv=report_dotenv,
            report_annotations=report_annotations,
            ci=ci,
            env_file=env_file,
            on_overlap=on_overlap,
            plan=plan_file,
        )
    )


@app.command()
def plan(  # noqa: PLR0913, PLR0917  # an option each, which the command line gives by name
    mapping: MappingOption = None,
    output: OutputOption = Output.table,
    workers: WorkersOption = None,
    deadline: DeadlineOption = None,
    allow_deletes: AllowOption = None,
    fail_on: FailOption = None,
    report_markdown: MarkdownOption = None,
    report_junit: JunitOption = None,
    report_json: JsonOption = None,
    report_metrics: MetricsOption = None,
    report_html: HtmlOption = None,
    report_dotenv: DotenvOption = None,
    report_annotations: AnnotationsOption = None,
    ci: CiOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the changes to a file for sync --plan.")] = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 10 when there are changes to make.")
    ] = False,
    env_file: EnvFileOption = None,
    debug: DebugOption = False,
) -> None:
    """Show what a sync would read, write and delete; write nothing."""
    _leave(
        _carry_out(
            "plan",
            output,
            debug=debug,
            detailed=detailed_exitcode,
            out=out,
            mapping_file=mapping,
            workers=workers,
            deadline=deadline,
            allow_deletes=allow_deletes,
            fail_on=fail_on,
            report_markdown=report_markdown,
            report_junit=report_junit,
            report_json=report_json,
            report_metrics=report_metrics,
            report_html=report_html,
            report_dotenv=report_dotenv,
            report_annotations=report_annotations,
            ci=ci,
            env_file=env_file,
        )
    )


@app.command()
def check(
    mapping: MappingOption = None,
    output: OutputOption = Output.table,
    deadline: DeadlineOption = None,
    env_file: EnvFileOption = None,
    debug: DebugOption = False,
) -> None:
    """Say what is wrong with settings, tokens, rights and mapping, and what to do."""
    options = {"mapping_file": mapping, "deadline": deadline, "env_file": env_file}
    _leave(_guarded("check", output, debug, lambda shell: shell.check(**options)))


@app.command()
def preview(  # noqa: PLR0913, PLR0917  # an option each, which the command line gives by name
    kind: Annotated[str, typer.Argument(help="Kind of the mapping, for example merge-request.")],
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows to show of each resource.")] = 3,
    index: Annotated[int | None, typer.Option("--index", min=0, help="Only this resource, counted from 0.")] = None,
    row: Annotated[Path | None, typer.Option("--row", help="A saved row (JSON) instead of GitLab's.")] = None,
    mapping: MappingOption = None,
    output: OutputOption = Output.table,
    deadline: DeadlineOption = None,
    env_file: EnvFileOption = None,
    debug: DebugOption = False,
) -> None:
    """Show a few rows of a kind and what the mapping makes of each."""
    from gitlab_port_export.commands.preview_values import SampleWish  # noqa: PLC0415  # heavy imports wait until they are needed

    wanted = SampleWish(kind, limit, index, str(row) if row else None)
    options = {"mapping_file": mapping, "deadline": deadline, "env_file": env_file}
    _leave(_guarded("preview", output, debug, lambda shell: shell.preview(wanted, **options)))


class HooksTo(StrEnum):
    """Where GitLab's events go."""

    port = "port"
    ci = "ci"


class HooksLevel(StrEnum):
    """What has a hook: groups as far as their plan has them, or every project."""

    auto = "auto"
    project = "project"


class HooksAction(StrEnum):
    """What to do about the hooks."""

    plan = "plan"
    apply = "apply"
    status = "status"
    remove = "remove"


@app.command()
def hooks(  # noqa: PLR0913, PLR0917  # an option each, which the command line gives by name
    action: Annotated[HooksAction, typer.Argument(help="Show, make, look after or remove GitLab's hooks.")],
    to: Annotated[HooksTo, typer.Option("--to", help="A webhook in Port, or what starts a CI job.")] = HooksTo.port,
    url: Annotated[str | None, typer.Option("--url", help="With --to ci: starts a job; {name} for secrets.")] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Also this kind (--to port: job); only these (--to ci).")
    ] = None,
    level: Annotated[HooksLevel, typer.Option("--level", help="What has a hook.")] = HooksLevel.auto,
    template: Annotated[Path | None, typer.Option("--template", help="With --to ci: file of a custom payload.")] = None,
    mapping: MappingOption = None,
    output: OutputOption = Output.table,
    workers: WorkersOption = None,
    deadline: DeadlineOption = None,
    env_file: EnvFileOption = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="With plan: exit 10 when there are changes to make.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Let GitLab tell what changed: plan, apply, status or remove the hooks of live updates."""
    wish: dict[str, Any] = {
        "to": to.value,
        "url": url,
        "kinds": tuple(kind or ()),
        "projects": level is HooksLevel.project,
    }
    wish["template"] = template
    options = {"mapping_file": mapping, "workers": workers, "deadline": deadline, "env_file": env_file}
    detailed = detailed_exitcode
    _leave(
        _guarded("hooks", output, debug, lambda shell: shell.hooks(action.value, wish, detailed=detailed, **options))
    )


@app.command()
def schema() -> None:
    """Print the JSON Schema of the mapping file, for editors."""
    from gitlab_port_export.commands.schema import mapping_schema  # noqa: PLC0415  # as above
    from gitlab_port_export.gitlab.kinds import KINDS  # noqa: PLC0415  # heavy imports wait until they are needed

    typer.echo(json.dumps(mapping_schema(KINDS), indent=2, ensure_ascii=False))


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave both servers up, to try the other commands on.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Show as well how the catalog follows without a sync.")] = False,
) -> None:
    """Show a sync at work right here: no account, no network."""
    from gitlab_port_export.demo.command import run_demo  # noqa: PLC0415  # not needed by any other command

    _leave(run_demo(keep=keep, live=live))


def main() -> None:
    """Run the command line."""
    # A run makes many objects and hardly a cycle: looking for cycles as often as usual takes a tenth of the CPU.
    gc.set_threshold(100_000, 20, 20)
    # A thread whose answer has come waits so long for the one that computes, several times for each answer.
    sys.setswitchinterval(0.0005)
    app()


def _carry_out(command: Any, output: Output, *, debug: bool = False, detailed: bool = False, **options: Any) -> int:
    return _guarded(command, output, debug, lambda shell: shell.run(command, detailed=detailed, **options))


def _guarded(command: Any, output: Output, debug: bool, act: Callable[[Any], int]) -> int:
    """Return the exit code of what is done in a shell; the only place that catches what ends a run."""
    from gitlab_port_export.base.errors import ExportError, Interrupted, limits_said  # noqa: PLC0415  # heavy imports wait until a run
    from gitlab_port_export.commands.run import Shell  # noqa: PLC0415  # as above

    _keep_heaps_small()
    _leave_no_core()
    # What was imported stays, and need not be looked at for cycles.
    gc.freeze()
    out, err = Stream(sys.stdout), Stream(sys.stderr)
    # They have all the methods of a stream that are used.
    shell = Shell(cast(TextIO, out), cast(TextIO, err), os.environ, as_json=output is Output.json, debug=debug)
    # Python's own hook would print a traceback as it is, with whatever a server has put into the words.
    threading.excepthook = lambda failed: shell.stray(failed.exc_value)
    try:
        with limits_said():
            code = act(shell)
    except (ExportError, Interrupted) as error:
        code = shell.fail(command, error)
    except Exception as error:  # noqa: BLE001  # a bug: one line for the user, the traceback on request
        code = shell.bug(command, error)
    out.flush()
    if out.failure:
        err.write(f"error: standard output cannot be written: {out.failure}\n")
    err.flush()
    # A result that is lost is no success; a reader that has seen enough does not matter.
    return code or int(bool(out.failure))


def _keep_heaps_small() -> None:
    """Let all threads take memory from two heaps of glibc, and large blocks from none; see mallopt(3).

    Of the usual eight heaps a core each keeps what was freed in it, and what grows in one leaves holes behind.
    """
    import ctypes  # noqa: PLC0415  # only a run needs it

    with suppress(OSError, AttributeError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, 2)
        mallopt(M_MMAP_THRESHOLD, 1024 * 1024)


def _leave_no_core() -> None:
    """Let a crash write no core file, which would hold the secrets."""
    with suppress(ImportError, ValueError, OSError):  # another system than Unix
        import resource  # noqa: PLC0415  # only a run needs it

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _leave(code: int) -> NoReturn:
    """End at once: threads that still wait for a server must not keep the process alive."""
    for stream in (sys.stdout, sys.stderr):
        Stream(stream).flush()
    os._exit(code)
