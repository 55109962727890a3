"""The first question of a run: does GitLab answer, is a token good, and at which instant does the run happen."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from gitlab_port_export.gitlab.client import Get, GitLab, ReadFailed, unavailable
from gitlab_port_export.model import Problem

FIRST_YEAR = 2011
CLOCK_DRIFT = timedelta(minutes=5)


def first_contact(gitlab: GitLab, tokens: tuple[str, ...]) -> datetime:
    """Ask the smallest question first, so that a wrong host or dead tokens end the run within seconds.

    Returns the run's instant, from which all time windows count: GitLab's own, as its Date header tells it, for the
    clock of this machine may be wrong. Raises GitLabUnavailable.
    """
    failures: dict[str, ReadFailed] = {}
    for token in tokens:
        try:
            return _instant(gitlab.get(Get(token, "/user", gives="object"), first_contact=True).headers)
        except ReadFailed as failure:
            # A fine-grained token may not be allowed to read its user and still read groups.
            if failure.reason in ("scope", "forbidden"):
                return _instant(failure.headers)
            failures[token] = failure
            if failure.reason in ("network", "shape", "server"):
                break
    raise unavailable(failures, gitlab.http.base_url)


def _instant(headers: Mapping[str, str]) -> datetime:
    """Return when an answer was given; the machine's own time where GitLab (or a proxy) names none."""
    try:
        moment = parsedate_to_datetime(headers.get("date", ""))
        moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return datetime.now(UTC)
    # Before there was a GitLab no clock of one ran.
    return moment if moment.year > FIRST_YEAR else datetime.now(UTC)


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
