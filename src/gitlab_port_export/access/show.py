"""Shows the roles of a person in one place, or everywhere the token sees; changes nothing."""

from dataclasses import replace

from gitlab_port_export.access.api import Api
from gitlab_port_export.access.below import roles_anywhere
from gitlab_port_export.access.person import find_person
from gitlab_port_export.access.scope import find_place
from gitlab_port_export.access.state import Look, read_state
from gitlab_port_export.access.values import Outcome, Place, Wish
from gitlab_port_export.base.clock import Stopped
from gitlab_port_export.base.errors import GitLabUnavailable
from gitlab_port_export.gitlab.client import ReadFailed


def show(wish: Wish, api: Api) -> Outcome:
    """Return what a person has. Raises GitLabUnavailable."""
    try:
        return _show(wish, api)
    except ReadFailed as failure:
        raise GitLabUnavailable(f"GitLab: {failure.why}", hint=failure.hint) from None
    except Stopped:
        raise GitLabUnavailable("the deadline passed before everything was read", hint="allow more time") from None


def _show(wish: Wish, api: Api) -> Outcome:
    own = api.own_user()
    place = find_place(api, wish.scope) if wish.scope else None
    found = find_person(api, wish.person, place)
    outcome = Outcome("access show", "unchanged", wish, found.person, place, by_user=str(own.get("username") or ""))
    if found.doubt or not (found.person or place):
        why = found.doubt or f"GitLab shows no account with the address {found.email}"
        hint = found.hint or "name the person by username or id:NUMBER"
        return replace(outcome, result="refused", guard="ambiguous" if found.email else "unknown", why=why, hint=hint)
    if place is None and found.person:
        roles, note = roles_anywhere(api, found.person)
        return replace(outcome, below=roles, notes=(note,) if note else ())
    return _in_place(api, outcome, place, found.email)


def _in_place(api: Api, outcome: Outcome, place: Place | None, email: str) -> Outcome:
    if place is None:
        return outcome
    state = read_state(api, place, outcome.person, email, Look(owners=False, lenient=True))
    there = state.direct or state.invitation
    notes = (*(f"{place.path} has {source}" for source in state.sources), *state.unseen)
    still = (state.inherited,) if state.inherited else ()
    return replace(outcome, before=there, after=there, still=still, notes=notes)
