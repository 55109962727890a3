"""The first question of a run: does GitLab answer, is a token good, and at which instant does the run happen."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from gitlab_port_export.gitlab.client import Get, GitLab, ReadFailed, unavailable
from gitlab_port_export.model import Problem

FIRST_YEAR = 2011
CLOCK_DRIFT = timedelta(minutes=5)


@dataclass(frozen=True)
class Contact:
    """What the first answer tells: the run's instant, whether GitLab itself named it, and whose the token is.

    `users` holds the id of the user by the alias of the token.
    """

    now: datetime
    told: bool
    users: Mapping[str, int] = field(default_factory=dict)


def first_contact(gitlab: GitLab, tokens: tuple[str, ...]) -> Contact:
    """Ask the smallest question first, so that a wrong host or dead tokens end the run within seconds.

    All time windows count from the instant of the answer, as its Date header tells it, for the clock of this machine
    may be wrong. Raises GitLabUnavailable.
    """
    failures: dict[str, ReadFailed] = {}
    for token in tokens:
        try:
            answer = gitlab.get(Get(token, "/user", gives="object"), first_contact=True)
            return _contact(answer.headers, token, answer.data.get("id"))
        except ReadFailed as failure:
            # A fine-grained token may not be allowed to read its user and still read groups.
            if failure.reason in ("scope", "forbidden"):
                return _contact(failure.headers)
            failures[token] = failure
            if failure.reason in ("network", "shape", "server"):
                break
    raise unavailable(failures, gitlab.http.base_url)


def users_of(gitlab: GitLab, tokens: Sequence[str], known: Mapping[str, int]) -> dict[str, int]:
    """Return the id of each token's user, as far as GitLab tells; those that are `known` are not asked for again."""
    found = dict(known)
    for token in tokens:
        if token not in found:
            try:
                number = gitlab.get(Get(token, "/user", gives="object")).data.get("id")
            except ReadFailed:
                continue
            found |= {token: number} if isinstance(number, int) else {}
    return found


def _contact(headers: Mapping[str, str], token: str = "", user: object = None) -> Contact:
    moment = _instant(headers)
    return Contact(moment or datetime.now(UTC), moment is not None, {token: user} if isinstance(user, int) else {})


def _instant(headers: Mapping[str, str]) -> datetime | None:
    """Return when an answer was given, None where GitLab (or a proxy) does not say."""
    try:
        moment = parsedate_to_datetime(headers.get("date", ""))
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    # Before there was a GitLab no clock of one ran.
    return moment if moment.year > FIRST_YEAR else None


def doubtful_clock(now: datetime) -> Iterator[Problem]:
    """Yield a warning where the clock of this machine differs from GitLab's instant by more than a few minutes."""
    ours = datetime.now(UTC)
    if abs(ours - now) > CLOCK_DRIFT:
        yield Problem(
            "inventory",
            f"the clock of this machine says {ours:%Y-%m-%d %H:%M} and GitLab's {now:%Y-%m-%d %H:%M} (UTC); "
            "time windows count from GitLab's",
            "set the clock of this machine, which also decides whether certificates are valid",
            warning=True,
        )
