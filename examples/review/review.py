"""Show a plan in one comment of a merge request, and fetch the plan that was reviewed.

    python3 -I review.py comment github|gitlab|azure plan.md
    python3 -I review.py fetch gitlab plan.json
    python3 -I review.py number gitlab

The last one prints the number of the merge request that brought the commit CI_COMMIT_SHA.

The token comes from COMMENT_TOKEN, all else from the variables of the CI system. The comment begins with a hidden
marker, by which the next run finds it.
"""

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

MARKER = "<!-- gitlab-port-export: plan -->"
ENV = os.environ


def main() -> None:
    """Do what the words of the command line say; an answer of the CI system other than 2xx ends with exit code 1."""
    command, system, *files = sys.argv[1:]
    try:
        if command == "number":
            sys.stdout.write(f"{merged_in_gitlab()}\n")
            return
        (file,) = map(Path, files)
        if command == "comment":
            {"github": github, "gitlab": gitlab, "azure": azure}[system](f"{MARKER}\n{file.read_text('utf-8')}")
        else:
            file.touch(mode=0o600)
            file.write_bytes({"gitlab": plan_of_gitlab}[system]())
    except urllib.error.HTTPError as error:
        sys.exit(f"review.py {command}: {error.url} answered {error.code}")


def github(body: str) -> None:
    """Write the comment of a pull request: https://docs.github.com/rest/issues/comments."""
    url = f"{ENV['GITHUB_API_URL']}/repos/{ENV['GITHUB_REPOSITORY']}/issues"
    comments = f"{url}/{ENV['PULL_REQUEST']}/comments"
    for one in pages(comments):
        # Whoever may comment can write the marker too; the token of a job writes as a bot.
        if one["user"]["type"] == "Bot" and one["body"].startswith(MARKER):
            ask("PATCH", f"{url}/comments/{one['id']}", {"body": body})
            return
    ask("POST", comments, {"body": body})


def gitlab(body: str) -> None:
    """Write the note of a merge request: https://docs.gitlab.com/api/notes/."""
    url = f"{project_of_gitlab()}/merge_requests/{ENV['CI_MERGE_REQUEST_IID']}/notes"
    own = json.loads(ask("GET", f"{ENV['CI_API_V4_URL']}/user"))["id"]
    for one in pages(url):
        if one["author"]["id"] == own and one["body"].startswith(MARKER):
            ask("PUT", f"{url}/{one['id']}", {"body": body})
            return
    ask("POST", url, {"body": body})


def azure(body: str) -> None:
    """Write the thread of a pull request: https://learn.microsoft.com/rest/api/azure/devops/git/pull-request-threads."""
    url = (
        f"{ENV['SYSTEM_COLLECTIONURI']}{ENV['SYSTEM_TEAMPROJECTID']}/_apis/git/repositories/{ENV['BUILD_REPOSITORY_ID']}"
        f"/pullRequests/{ENV['SYSTEM_PULLREQUEST_PULLREQUESTID']}/threads"
    )
    version = "?api-version=7.1"
    for thread in json.loads(ask("GET", url + version))["value"]:
        first = next(iter(thread.get("comments") or ()), {})
        if not thread.get("isDeleted") and str(first.get("content", "")).startswith(MARKER):
            ask("PATCH", f"{url}/{thread['id']}/comments/{first['id']}{version}", {"content": body})
            return
    comment = {"parentCommentId": 0, "content": body, "commentType": "text"}
    # Closed: an open thread would hold the pull request where all comments must be resolved.
    ask("POST", url + version, {"comments": [comment], "status": "closed"})


def plan_of_gitlab() -> bytes:
    """Return the plan of the newest pipeline of the merge request that brought the commit of this job."""
    project, number = project_of_gitlab(), merged_in_gitlab()
    for pipeline in pages(f"{project}/merge_requests/{number}/pipelines"):
        for job in pages(f"{project}/pipelines/{pipeline['id']}/jobs"):
            if job["name"] == "plan":
                if job["status"] != "success":
                    sys.exit(f"review.py fetch: the last plan of !{number} did not succeed")
                return ask("GET", f"{project}/jobs/{job['id']}/artifacts/plan.json")
    sys.exit(f"review.py fetch: !{number} has no job named plan")


def merged_in_gitlab() -> int:
    """Return the number of the merge request that brought the commit of this job."""
    url = f"{project_of_gitlab()}/repository/commits/{quote(ENV['CI_COMMIT_SHA'], safe='')}/merge_requests"
    numbers = [int(one["iid"]) for one in json.loads(ask("GET", url)) if one["state"] == "merged"]
    if len(numbers) != 1:
        sys.exit(f"review.py: the commit belongs to {len(numbers)} merged merge requests, not to one")
    return numbers[0]


def project_of_gitlab() -> str:
    """Return the address of the project."""
    return f"{ENV['CI_API_V4_URL']}/projects/{quote(ENV['CI_PROJECT_ID'], safe='')}"


def pages(url: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a list, page by page."""
    number, rows = 0, [{}] * 100
    while len(rows) == 100:
        number += 1
        rows = json.loads(ask("GET", f"{url}?per_page=100&page={number}"))
        yield from rows


def ask(method: str, url: str, body: object = None) -> bytes:
    """Return the answer to a request with the token."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310 (of CI)
    # Not sent again to where an answer leads, such as the store of artifacts.
    name = "PRIVATE-TOKEN" if "CI_API_V4_URL" in ENV else "Authorization"
    scheme = "" if "CI_API_V4_URL" in ENV else "Bearer "
    request.add_unredirected_header(name, scheme + ENV["COMMENT_TOKEN"])
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 (the CI system's own address)
        return bytes(answer.read())


if __name__ == "__main__":
    main()
