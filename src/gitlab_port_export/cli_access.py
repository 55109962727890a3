"""The commands `access` and `account` and their options, in the same form as those of `cli.py`."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from gitlab_port_export.commands.changes import Change, with_change
from gitlab_port_export.commands.process import end
from gitlab_port_export.commands.streams import Streams, with_streams
from gitlab_port_export.settings.options import with_settings


class Below(StrEnum):
    """What becomes of the direct roles below a group when the one in it ends."""

    keep = "keep"
    remove = "remove"


Person = Annotated[str | None, typer.Argument(metavar="PERSON", help="A username, id:NUMBER or an e-mail address.")]
Group = Annotated[str | None, typer.Option("--group", metavar="PATH", help="The full path of a group.")]
Project = Annotated[str | None, typer.Option("--project", metavar="PATH", help="The full path of a project.")]
access_app = typer.Typer(help="Show, grant or revoke a role in a group or project of GitLab.")


@access_app.command("show")
@with_settings
@with_streams
def access_show(
    streams: Streams, person: Person = None, group: Group = None, project: Project = None, **options: Any
) -> None:
    """Show the role of a person in a place, or all direct roles; changes nothing."""
    given = {"person": person, "group": group, "project": project}
    end("access", streams, lambda run, session: run(session, "show", given, **options))


@access_app.command("grant")
@with_settings
@with_streams
@with_change
def access_grant(
    streams: Streams,
    change: Change,
    person: Person = None,
    role: Annotated[
        str | None, typer.Option("--role", metavar="ROLE", help="guest, developer, … as GitLab names it, or custom:ID.")
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
    end("access", streams, lambda run, session: run(session, "grant", given, change, **options))


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
    end("access", streams, lambda run, session: run(session, "revoke", given, change, **options))


@access_app.command("run")
@with_settings
@with_streams
@with_change
def access_run(streams: Streams, change: Change, **options: Any) -> None:
    """Carry out what a run of a Port action asks for, as the identifier of the action says."""
    end("access", streams, lambda run, session: run(session, "run", {}, change, **options))


account_app = typer.Typer(help="Make, block or unblock an account, or end all its roles in a top-level group.")


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
    end("account", streams, lambda run, session: run(session, "create", given, change, **options))


@account_app.command("block")
@with_settings
@with_streams
@with_change
def account_block(streams: Streams, change: Change, person: Person = None, **options: Any) -> None:
    """Block an account, with an administrator's token: no sign-in, no seat; roles and data stay."""
    end("account", streams, lambda run, session: run(session, "block", {"person": person}, change, **options))


@account_app.command("unblock")
@with_settings
@with_streams
@with_change
def account_unblock(streams: Streams, change: Change, person: Person = None, **options: Any) -> None:
    """Unblock an account, with an administrator's token."""
    end("account", streams, lambda run, session: run(session, "unblock", {"person": person}, change, **options))


@account_app.command("remove")
@with_settings
@with_streams
@with_change
def account_remove(
    streams: Streams, change: Change, person: Person = None, group: Group = None, **options: Any
) -> None:
    """End all roles of a person in a top-level group and everything below it; the account stays."""
    given = {"person": person, "group": group}
    end("account", streams, lambda run, session: run(session, "remove", given, change, **options))
