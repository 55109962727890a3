"""Says from the state that was read back what a write came to; the answer to it only explains. Pure."""

from gitlab_port_export.access.decide import Decision, same
from gitlab_port_export.access.once import LOOK, Verdict
from gitlab_port_export.access.state import State
from gitlab_port_export.access.values import Held
from gitlab_port_export.access.write import Sent

# What GitLab answers where somebody else was faster: the member is there already, or is not there any more.
OVERTAKEN = (404, 409)


def judge(decision: Decision, before: State, after: State, sent: Sent) -> Verdict:
    """Return the verdict on one write."""
    if is_fulfilled(decision, after):
        return Verdict(decision.result)
    if decision.subject == "invitation" and (became := who_became(decision, before, after)):
        # An e-mail of an account that the token cannot see: GitLab made or changed a member at once.
        return Verdict("updated" if became in before.members else "created")
    overtaken = sent.answer and sent.answer.status in OVERTAKEN and _others_changed(before, after)
    if sent.reply == "unknown" or overtaken:
        return Verdict(None, sent.said, then="again")
    if sent.reply == "queued":
        return Verdict("queued", sent.said, "the role comes when it is approved; run the command again to see")
    return Verdict("failed", sent.said, sent.hint) if sent.reply == "refused" else _unseen(decision)


def _others_changed(before: State, after: State) -> bool:
    """Return whether the role or the invitation is another one than before the write, by somebody else's doing."""
    return not (same(before.direct, after.direct) and same(before.invitation, after.invitation))


def _unseen(decision: Decision) -> Verdict:
    """Return the verdict on what GitLab says it did, and does not show: a replica may lag behind.

    https://docs.gitlab.com/administration/postgresql/database_load_balancing/
    """
    said = "GitLab answered that it was done, and does not show it"
    if decision.after is None:
        # A removal may be carried out a while later, and one of the last owner not at all.
        return Verdict("queued", f"{said} yet; it may come later", LOOK, then="wait")
    # A sign-in rule may swallow an invitation; or nothing was to be changed of a member with a hidden address.
    hint = "the address may be that of a member who has this role already: name the person by username or id:NUMBER"
    return Verdict("failed", said, hint if decision.subject == "invitation" else LOOK, then="wait")


def is_fulfilled(decision: Decision, state: State) -> bool:
    """Return whether the state is what was decided."""
    there: Held | None = state.direct if decision.subject == "direct" else state.invitation
    return same(there, decision.after)


def who_became(decision: Decision, before: State, after: State) -> int | None:
    """Return the id of the one direct member who has the wished role and had another or none; None for several."""
    wanted = decision.after
    changed = [
        number
        for number, held in after.members.items()
        if same(held, wanted) and not same(before.members.get(number), held)
    ]
    return changed[0] if len(changed) == 1 else None
