"""The one write: sent once, and what its answer says, which does not prove that it worked."""

from dataclasses import dataclass
from typing import Any, Literal

from gitlab_port_export.access.api import Api, Lost
from gitlab_port_export.access.values import Write
from gitlab_port_export.base.answer import Answer
from gitlab_port_export.base.clock import Clock, Stopped
from gitlab_port_export.base.errors import OutOfTime
from gitlab_port_export.base.jsontext import in_words
from gitlab_port_export.base.retries import RESOURCE_LOCK, RETRIED_STATUSES
from gitlab_port_export.gitlab.client import shown_of

# What ends a wait at the deadline: the clock, and the alarm that rings in the main thread soon after.
OVER = (Stopped, OutOfTime)
# After the deadline a write that was sent is still read back, within so many seconds.
GRACE = 20.0
HINTS = {
    401: "the write token was revoked, has expired or is wrong: make a new one with the scope api",
    403: "the token's user has to be Owner of the group, or Maintainer of the project; where SAML or LDAP locks the"
    " members, only an administrator may change them",
    404: "it may have gone just now; look with `access show`",
    405: "the members of this project are locked by its group (membership lock): an owner unlocks them there",
}
NO_SCOPE = "the write token needs the scope api"
NO_ADMINISTRATOR = (
    "the token's user has to be an administrator; where admin mode is on, the token needs the scope admin_mode too"
)


@dataclass(frozen=True)
class Sent:
    """What is known from the answer alone: `unknown` where none came or GitLab was in trouble."""

    reply: Literal["done", "queued", "refused", "unknown"]
    said: str = ""
    hint: str = ""
    # The answer itself, None where none came.
    answer: Answer | None = None


def send(api: Api, write: Write) -> Sent:
    """Send the write once. A deadline that passes meanwhile leaves time to read back."""
    try:
        answer = api.send(write)
    except OVER:
        grant_grace(api)
        return Sent("unknown", "the deadline passed before GitLab answered")
    if api.clock.past_deadline:
        grant_grace(api)
    return Sent("unknown", answer.why) if isinstance(answer, Lost) else judge(answer, write)


def grant_grace(api: Api) -> None:
    """Let the last reads of a command go on for a while after its deadline; no other write is sent then."""
    api.late = True
    api.gitlab.http.go_on_with(Clock(GRACE))


def judge(answer: Answer, write: Write) -> Sent:
    """Return what an answer says. GitLab answers 201 also to what it refuses and to what waits for approval."""
    said = shown_of(answer)
    if answer.status in RETRIED_STATUSES or (answer.status == 409 and RESOURCE_LOCK in answer.body):
        return Sent("unknown", f"GitLab answered {said}", answer=answer)
    if not 200 <= answer.status < 300:
        return Sent("refused", f"GitLab answered {said}", _hint(answer, write), answer)
    data = answer.data if isinstance(answer.data, dict) else {}
    if data.get("status") == "error":
        return Sent("refused", f"GitLab answered {_words(data.get('message'))}", answer=answer)
    if data.get("queued_users") or "queued" in _words(data.get("message")).lower():
        return Sent("queued", "an administrator of GitLab has to approve the role first", answer=answer)
    return Sent("done", answer=answer)


def _hint(answer: Answer, write: Write) -> str:
    if answer.status == 403 and isinstance(answer.data, dict) and answer.data.get("error") == "insufficient_scope":
        return NO_SCOPE
    if answer.status == 403 and write.path.startswith("/users"):
        return NO_ADMINISTRATOR
    return HINTS.get(answer.status, "")


def _words(message: Any) -> str:
    if isinstance(message, dict):
        return "; ".join(f"{in_words(key, 100)}: {in_words(value, 200)}" for key, value in list(message.items())[:5])
    return in_words(message or "", 300)
