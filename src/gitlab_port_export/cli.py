"""The commands and their options. Each makes one call and ends with the exit code; heavy imports wait until then."""

import json
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from gitlab_port_export import __version__
from gitlab_port_export.commands.changes import Change, with_change
from gitlab_port_export.commands.process import answer_misuse, carry_out, leave, tune
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
        _end("sync", Streams(), lambda run, session: run(session, "sync"))


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
    _end("sync", streams, lambda run, session: run(session, "sync", plan=plan_file, **options))


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
    _end("plan", streams, lambda run, session: run(session, "plan", detailed=detailed_exitcode, out=out, **options))


@app.command()
@with_settings
@with_streams
def survey(
    streams: Streams,
    out: Annotated[Path, typer.Option("--out", help="Write the survey into this folder.")],
    **options: Any,
) -> None:
    """Read groups and projects once, for a sync in several jobs (shards)."""
    _end("survey", streams, lambda run, session: run(session, out=out, **options))


@app.command()
@with_settings
@with_streams
def reconcile(
    streams: Streams,
    files: Annotated[list[Path] | None, typer.Argument(help="The evidence of all shards.", metavar="FILE")] = None,
    **options: Any,
) -> None:
    """Join what all shards found, delete what is gone, and report the whole sync."""
    _end("reconcile", streams, lambda run, session: run(session, files=tuple(files or ()), **options))


@app.command()
@with_settings
@with_streams
def check(streams: Streams, **options: Any) -> None:
    """Check settings, tokens, permissions and mapping before a sync."""
    _end("check", streams, lambda run, session: run(session, **options))


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
    _end("preview", streams, lambda run, session: run(session, wanted, **options))


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
    _end("mapping", streams, lambda run, session: run(session, "show", **options))


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
    _end("mapping", streams, lambda run, session: run(session, "init", preset=preset.value, out=out))


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
    _end("mapping", streams, lambda run, session: run(session, "diff", file=file, detailed=detailed, **options))


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
    _end("hooks", streams, lambda run, session: run(session, action.value, wish, detailed=detailed_exitcode, **options))


class Below(StrEnum):
    """What becomes of the direct roles below a group when the one in it ends."""

    keep = "keep"
    remove = "remove"


Person = Annotated[str | None, typer.Argument(metavar="PERSON", help="A username, id:NUMBER or an e-mail address.")]
Group = Annotated[str | None, typer.Option("--group", metavar="PATH", help="The full path of a group.")]
Project = Annotated[str | None, typer.Option("--project", metavar="PATH", help="The full path of a project.")]
access_app = typer.Typer(help="Show, grant or revoke a role in a group or project of GitLab.")
app.add_typer(access_app, name="access")


@access_app.command("show")
@with_settings
@with_streams
def access_show(
    streams: Streams, person: Person = None, group: Group = None, project: Project = None, **options: Any
) -> None:
    """Show the role of a person in a place, or all direct roles; changes nothing."""
    given = {"person": person, "group": group, "project": project}
    _end("access", streams, lambda run, session: run(session, "show", given, **options))


@access_app.command("grant")
@with_settings
@with_streams
@with_change
def access_grant(
    streams: Streams,
    change: Change,
    person: Person = None,
    role: Annotated[
        str | None, typer.Option("--role", help="guest, developer, … as GitLab names it, or custom:ID.")
    ] = None,
    group: Group = None,
    project: Project = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="DATE", help="When the role ends: YYYY-MM-DD, or never.")
    ] = None,
    **options: Any,
) -> None:
    """Give a person exactly this role in a group or project; an e-mail without account is invited."""
    given = {"person": person, "role": role, "group": group, "project": project, "expires": expires}
    _end("access", streams, lambda run, session: run(session, "grant", given, change, **options))


@access_app.command("revoke")
@with_settings
@with_streams
@with_change
def access_revoke(
    streams: Streams,
    change: Change,
    person: Person = None,
    group: Group = None,
    project: Project = None,
    below: Annotated[
        Below, typer.Option("--below", help="What becomes of the direct roles below the group.")
    ] = Below.keep,
    **options: Any,
) -> None:
    """End the direct role or the open invitation of a person in a group or project."""
    given = {"person": person, "group": group, "project": project, "below": below is Below.remove}
    _end("access", streams, lambda run, session: run(session, "revoke", given, change, **options))


@access_app.command("run")
@with_settings
@with_streams
@with_change
def access_run(streams: Streams, change: Change, **options: Any) -> None:
    """Carry out what a run of a Port action asks for, as the identifier of the action says."""
    _end("access", streams, lambda run, session: run(session, "run", {}, change, **options))


account_app = typer.Typer(help="Make, block or unblock an account, or end all its roles in a top-level group.")
app.add_typer(account_app, name="account")


@account_app.command("create")
@with_settings
@with_streams
@with_change
def account_create(
    streams: Streams,
    change: Change,
    person: Annotated[str | None, typer.Argument(metavar="EMAIL", help="The address of the new account.")] = None,
    username: Annotated[str, typer.Option("--username", help="The username.")] = "",
    name: Annotated[str, typer.Option("--name", help="The name that people read.")] = "",
    external: Annotated[
        bool, typer.Option("--external", help="An external user, who sees granted projects alone.")
    ] = False,
    identity: Annotated[
        str | None, typer.Option("--identity", metavar="PROVIDER:UID", help="The account at the identity provider.")
    ] = None,
    **options: Any,
) -> None:
    """Make an account, with an administrator's token; GitLab mails a link to set a password."""
    provider, _, uid = (identity or "").partition(":")
    account = {"username": username, "name": name, "external": external, "provider": provider, "extern_uid": uid}
    given = {"person": person, "account": account}
    _end("account", streams, lambda run, session: run(session, "create", given, change, **options))


@account_app.command("block")
@with_settings
@with_streams
@with_change
def account_block(streams: Streams, change: Change, person: Person = None, **options: Any) -> None:
    """Block an account, with an administrator's token: no sign-in, no seat; roles and data stay."""
    _end("account", streams, lambda run, session: run(session, "block", {"person": person}, change, **options))


@account_app.command("unblock")
@with_settings
@with_streams
@with_change
def account_unblock(streams: Streams, change: Change, person: Person = None, **options: Any) -> None:
    """Unblock an account, with an administrator's token."""
    _end("account", streams, lambda run, session: run(session, "unblock", {"person": person}, change, **options))


@account_app.command("remove")
@with_settings
@with_streams
@with_change
def account_remove(
    streams: Streams, change: Change, person: Person = None, group: Group = None, **options: Any
) -> None:
    """End all roles of a person in a top-level group and everything below it; the account stays."""
    given = {"person": person, "group": group}
    _end("account", streams, lambda run, session: run(session, "remove", given, change, **options))


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


def _end(command: str, streams: Streams, act: Callable[[Any, Any], int]) -> NoReturn:
    leave(carry_out(command, act, streams))
