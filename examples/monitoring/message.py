"""Send a message about a failed run: MESSAGE_WEBHOOK_URL=… python3 -I message.py slack|teams report.json LINK.

The webhook's address is a secret, so it comes from the environment. Names from GitLab may be in the text, so it is sent
in the forms that Slack and Teams show as they are: no markup, no mention, no link.
"""

import http.client
import json
import os
import sys
import urllib.request
from pathlib import Path

SAMPLES = 3
LONGEST = 2000


def main() -> None:
    """Send the message; exit with 1, without the address, if it was not taken."""
    form, report, link = sys.argv[1:]
    body = json.dumps({"slack": slack, "teams": teams}[form](said(Path(report), link))).encode()
    address = os.environ.get("MESSAGE_WEBHOOK_URL", "")
    if not address.startswith(("https://", "http://")):
        sys.exit("The message was not sent: MESSAGE_WEBHOOK_URL holds no address.")
    try:
        headers = {"Content-Type": "application/json; charset=utf-8"}
        request = urllib.request.Request(address, body, headers)  # noqa: S310 (the scheme is checked above)
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310 (the same)
    except (ValueError, OSError, http.client.HTTPException) as error:
        # The text of an error may hold the address.
        sys.exit(f"The message was not sent: {type(error).__name__} {getattr(error, 'code', '')}".rstrip())


def said(report: Path, link: str) -> str:
    """Return how the run ended, its first Problems, and where to read more."""
    try:
        run = json.loads(report.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"gitlab-port-export failed and left no report.\n{link}"
    failures = [one for one in run["problems"] if not one["warning"]]
    lines = [f"- {one.get('scope') or one['stage']}: {one['why']}" for one in failures[:SAMPLES]]
    held = f", {run['total']['held']} deletions held" if run["total"]["held"] else ""
    head = f"gitlab-port-export {run['integration']}: {run['exit']['meaning']} (exit {run['exit']['code']}{held})"
    return "\n".join([head, *lines])[:LONGEST] + f"\n{link}"


def slack(text: str) -> dict[str, object]:
    """Return a message for an incoming webhook; https://docs.slack.dev/reference/block-kit/composition-objects/text-object"""
    shown = {"type": "plain_text", "text": text, "emoji": False}
    return {"text": "gitlab-port-export failed", "blocks": [{"type": "section", "text": shown}]}


def teams(text: str) -> dict[str, object]:
    """Return a message for a Workflows webhook; a TextRun has no markup, unlike a TextBlock."""
    shown = {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text}]}
    card = {"type": "AdaptiveCard", "version": "1.4", "body": [shown]}
    return {
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}],
    }


if __name__ == "__main__":
    main()
