"""The commands and their options. Each makes one call and ends with the exit code; heavy imports wait until then."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from gitlab_port_export import __version__
from gitlab_port_export.cli_access import access_app, account_app
from gitlab_port_export.commands.process import answer_misuse, end, leave, tune
from gitlab_port_export.commands.streams import Streams, with_streams
from gitlab_port_export.settings.options import with_settings

app = typer.Typer(
    help="Keep a Port software catalog in step with GitLab. Without a command: sync.",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,  # rich help writes escape sequences in CI, whatever NO_COLOR says
    pretty_exceptions_enable=False,
)

PROGRAM = "gitlab-port-export"
# What typer raises for a command line that it cannot read. Of these classes it makes only this one public.
_Unreadable: type[Exception] = typer.BadParameter.__mro__[1]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def default(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001  # read by its callback
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Run `sync` when no command is given, so that the image needs no arguments."""
    if context.invoked_subcommand is None:
        end("sync", Streams(), lambda run, session: run(session, "sync"))


@app.command()
@with_settings
@with_streams
def sync(
    streams: Streams,
    plan_file: Annotated[
        Path | None,
        typer.Option("--plan", help="Make exactly the changes of this plan file, if Port has not changed since."),
    ] = None,
    **options: Any,
) -> None:
    """Read GitLab, compare with Port, write and delete what changed."""
    end("sync", streams, lambda run, session: run(session, "sync", plan=plan_file, **options))


@app.command()
@with_settings
@with_streams
def plan(
    streams: Streams,
    out: Annotated[Path | None, typer.Option("--out", help="Write the changes to a file for sync --plan.")] = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit 10 when there are changes to make.")
    ] = False,
    **options: Any,
) -> None:
    """Show what a sync would read, write and delete; write nothing."""
    end("plan", streams, lambda run, session: run(session, "plan", detailed=detailed_exitcode, out=out, **options))


@app.command()
@with_settings
@with_streams
def survey(
    streams: Streams,
    out: Annotated[Path, typer.Option("--out", help="Write the survey into this folder.")],
    **options: Any,
) -> None:
    """Read groups and projects once, for a sync in several jobs (shards)."""
    end("survey", streams, lambda run, session: run(session, out=out, **options))


@app.command()
@with_settings
@with_streams
def reconcile(
    streams: Streams,
    files: Annotated[list[Path] | None, typer.Argument(help="The evidence of all shards.", metavar="FILE")] = None,
    **options: Any,
) -> None:
    """Join what all shards found, delete what is gone, and report the whole sync."""
    end("reconcile", streams, lambda run, session: run(session, files=tuple(files or ()), **options))


@app.command()
@with_settings
@with_streams
def check(streams: Streams, **options: Any) -> None:
    """Check settings, tokens, permissions and mapping before a sync."""
    end("check", streams, lambda run, session: run(session, **options))


@app.command()
@with_settings
@with_streams
def preview(
    streams: Streams,
    kind: Annotated[str, typer.Argument(help="A kind, mapped or not, for example merge-request.")],
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows to show of each resource.")] = 3,
    index: Annotated[int | None, typer.Option("--index", min=0, help="Only this resource, counted from 0.")] = None,
    row: Annotated[Path | None, typer.Option("--row", help="A saved row (JSON) instead of GitLab's.")] = None,
    no_row: Annotated[bool, typer.Option("--no-row", help="Show the fields of the mapping without the rows.")] = False,
    **options: Any,
) -> None:
    """Show a few rows of a kind and the entities that are made of them."""
    from gitlab_port_export.commands.preview_values import PreviewRequest  # noqa: PLC0415  # heavy imports wait until they are needed

    wanted = PreviewRequest(kind, limit, index, str(row) if row else None, no_row)
    end("preview", streams, lambda run, session: run(session, wanted, **options))


class Preset(StrEnum):
    """A mapping to begin with."""

    ocean = "ocean"
    full = "full"
    people = "people"


mapping_app = typer.Typer(help="Show the mapping in use, write one to begin with, or compare a file with it.")
app.add_typer(mapping_app, name="mapping")


@mapping_app.command("show")
@with_settings
@with_streams
def mapping_show(streams: Streams, **options: Any) -> None:
    """Print the mapping in use as YAML, with its origin as a comment."""
    end("mapping", streams, lambda run, session: run(session, "show", **options))


@mapping_app.command("init")
@with_streams
def mapping_init(
    streams: Streams,
    preset: Annotated[
        Preset, typer.Option("--preset", help="Ocean's default kinds, all of our default, or accounts and roles.")
    ] = Preset.full,
    out: Annotated[Path | None, typer.Option("--out", help="Write to this new file, not to standard output.")] = None,
) -> None:
    """Write a commented mapping to begin with; asks no server."""
    end("mapping", streams, lambda run, session: run(session, "init", preset=preset.value, out=out))


@mapping_app.command("diff")
@with_settings
@with_streams
def mapping_diff(
    streams: Streams,
    file: Annotated[Path, typer.Argument(help="The mapping file to compare with the one in use.")],
    detailed: Annotated[bool, typer.Option("--detailed-exitcode", help="Exit 10 when there is a difference.")] = False,
    **options: Any,
) -> None:
    """Show what a mapping file would change, and how many entities could go."""
    end("mapping", streams, lambda run, session: run(session, "diff", file=file, detailed=detailed, **options))


class HooksTo(StrEnum):
    """Where GitLab's events go."""

    port = "port"
    ci = "ci"


class HooksLevel(StrEnum):
    """What gets a webhook: groups where their GitLab plan allows it and projects elsewhere, or every project."""

    auto = "auto"
    project = "project"


class HooksAction(StrEnum):
    """What to do about the webhooks."""

    plan = "plan"
    apply = "apply"
    status = "status"
    remove = "remove"


@app.command()
@with_settings
@with_streams
def hooks(  # an option each, which the command line gives by name
    streams: Streams,
    action: Annotated[HooksAction, typer.Argument(help="What to do about the webhooks.")],
    to: Annotated[
        HooksTo, typer.Option("--to", help="Send events to a webhook in Port, or to an address that starts a CI job.")
    ] = HooksTo.port,
    url: Annotated[
        str | None, typer.Option("--url", help="With --to ci: the address; {name} stands for a secret.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help="With --to ci: only these kinds. With --to port: also this one (job, project)."),
    ] = None,
    level: Annotated[
        HooksLevel, typer.Option("--level", help="What gets a webhook: groups where possible, or every project.")
    ] = HooksLevel.auto,
    template: Annotated[Path | None, typer.Option("--template", help="With --to ci: file of a custom payload.")] = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="With plan: exit 10 when there are changes to make.")
    ] = False,
    **options: Any,
) -> None:
    """Manage the webhooks that report changes between two syncs."""
    wish = {
        "to": to.value,
        "url": url,
        "kinds": tuple(kind or ()),
        "projects": level is HooksLevel.project,
        "template": template,
    }
    end("hooks", streams, lambda run, session: run(session, action.value, wish, detailed=detailed_exitcode, **options))


app.add_typer(access_app, name="access")
app.add_typer(account_app, name="account")


@app.command()
def schema() -> None:
    """Print the JSON Schema of the mapping file, for editors."""
    from gitlab_port_export.commands.schema import mapping_schema  # noqa: PLC0415  # heavy imports wait until they are needed
    from gitlab_port_export.gitlab.kinds import KINDS  # noqa: PLC0415  # as above

    typer.echo(json.dumps(mapping_schema(KINDS), indent=2, ensure_ascii=False))


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave both servers up, to try the other commands on.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Show as well how the catalog follows without a sync.")] = False,
) -> None:
    """Sync sample data on this machine: no account, no network."""
    from gitlab_port_export.demo.command import run_demo  # noqa: PLC0415  # not needed by any other command

    leave(run_demo(keep=keep, live=live))


def main() -> None:
    """Run the command line."""
    tune()
    try:
        code = app(prog_name=PROGRAM, standalone_mode=False)
    except _Unreadable as error:
        leave(answer_misuse(error, sys.argv[1:]))
    except (typer.Abort, BrokenPipeError):  # while help was shown
        leave(1)
    leave(code if isinstance(code, int) else 0)
