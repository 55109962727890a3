"""A GitLab that costs next to nothing: long lists come from a `LargeWorld`, everything else from the stand-in.

So does what changed since an instant, which is little.
"""

import json
import re
from datetime import datetime
from itertools import count
from urllib.parse import parse_qsl

from fast_http import Answer, Request
from fast_world import LargeWorld, Listed
from gitlab_port_export.demo.gitlab import API, GitLabServer
from gitlab_port_export.demo.gitlab_pages import Listing, cut, parse_params
from gitlab_port_export.demo.gitlab_rows import stamp

LIST = re.compile(r"/(groups|projects)/(\d+)/(merge_requests|issues|pipelines|jobs)")
# What asks for changes since an instant, or for pipelines that go on; single states are asked for in a time window that
# holds all rows.
SINCE = re.compile(r"^(?!.*\bstate=(opened|merged|closed)).*\b(updated_after=|scope=(running|pending))")
# The lists are made in one order only, or from its end where they have times; another one is refused, so that a changed
# client is noticed.
ORDER = {
    "merge_requests": ("created_at", "asc"),
    "issues": ("created_at", "asc"),
    "pipelines": ("id", "asc"),
    "jobs": ("", ""),
}


class FastGitLab:
    """Answers what the client asks of GitLab; `url` is needed for links and known only once it is served."""

    def __init__(self, world: LargeWorld) -> None:
        self.world, self.url = world, ""
        self._frame: GitLabServer | None = None
        self._numbers = count()

    def __call__(self, request: Request) -> Answer:
        """Answer one request. Raises for what only a changed client would ask."""
        path = request.path.removeprefix(API)
        if (listed := LIST.fullmatch(path)) and not SINCE.search(request.query):
            return self._page(request, listed[1], int(listed[2]), listed[3])
        secret = request.headers.get("authorization", "").removeprefix("Bearer ")
        if path == "/api/graphql":
            found = self._stand_in.query(secret, json.loads(request.body))
        else:
            pairs = tuple(parse_qsl(request.query, keep_blank_values=True))
            found = self._stand_in.respond(secret, path, pairs, request.query)
        headers = [*found.headers, ("X-Request-Id", f"{next(self._numbers):032x}"), ("X-Runtime", "0.001")]
        return Answer(path.rpartition("/")[2], found.body, found.status, headers, found.rows)

    @property
    def _stand_in(self) -> GitLabServer:
        if self._frame is None:
            self._frame = GitLabServer(self.world.frame, external_url=self.url, cached=True)
        return self._frame

    def _page(self, request: Request, owner: str, id: int, name: str) -> Answer:
        params = parse_params(parse_qsl(request.query, keep_blank_values=True))
        timed = ORDER[name][0] == "created_at"
        order, sort = str(params.get("order_by", "")), str(params.get("sort", ""))
        if (order, sort) != ORDER[name] and not (timed and (order, sort) == ("created_at", "desc")):
            raise ValueError("another order than the benchmark's")
        listed = self._listed(owner, id, name, str(params.get("state", "")))
        shown = listed.rows
        if timed:
            after, before = (_moment(params.get(f"created_{side}")) for side in ("after", "before"))
            shown = listed.between(after, before, newest_first=sort == "desc")
        jobs = name == "jobs"
        listing = Listing(shown, keyset="cursor" if jobs else "", counted=not jobs)
        # Link headers repeat the path's id as a parameter, as GitLab's do.
        rows, headers = cut(listing, {"id": str(id), **params}, f"{self.url}{request.path}")
        body = f"[{','.join(listed.text(row['id']) for row in rows)}]".encode()
        return Answer(name, body, headers=headers, rows=len(rows))

    def _listed(self, owner: str, id: int, name: str, state: str) -> Listed:
        match owner, name:
            case "groups", "merge_requests":
                return self.world.merge_requests(id, state)
            case "groups", "issues":
                return self.world.issues(id)
            case "projects", "pipelines":
                return self.world.pipelines(id)
            case "projects", "jobs":
                return self.world.jobs(id)
            case _:
                raise ValueError("no list of the benchmark")


def _moment(text: object) -> str:
    """Return a time of a query as rows show it."""
    return stamp(datetime.fromisoformat(text)) if isinstance(text, str) else ""
