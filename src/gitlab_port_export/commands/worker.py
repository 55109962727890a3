"""The process of one shard of `sync --processes`: it is told by its input what to do, and tells by its output."""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any, cast

from gitlab_port_export.commands.process import carry_out, leave, tune
from gitlab_port_export.commands.streams import Streams


def main() -> None:
    """Read the request, do the share of the shard, and end."""
    tune()
    request = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    streams = Streams(debug=request["debug"], quiet=not request["debug"], log_json=request["log_json"])
    leave(carry_out("worker", lambda run, session: cast(int, run(session, request)), streams))


def _end_with_parent() -> None:
    """End this process when the one that started it has ended: then nobody waits for the evidence."""
    sys.stdin.buffer.read()
    os._exit(143)


def run(session: Any, request: dict[str, Any]) -> int:
    """Do the share of one shard and write its evidence; return 0, or the exit code of what ended it."""
    # Heavy imports wait until the request was read, as with any other command.
    from gitlab_port_export.base.errors import ExportError, Interrupted  # noqa: PLC0415  # as above
    from gitlab_port_export.commands.shard import leave_evidence  # noqa: PLC0415  # as above
    from gitlab_port_export.settings.load import load_settings  # noqa: PLC0415  # as above
    from gitlab_port_export.shards.evidence import Shard  # noqa: PLC0415  # as above
    from gitlab_port_export.shards.told import Teller  # noqa: PLC0415  # as above

    teller = Teller(session.out.stream)
    try:
        settings = load_settings(session.environ, **request["options"])
        session.begin(settings)
        shard = Shard(*request["shard"])
        leave_evidence(session, settings, Path(request["survey"]), shard, Path(request["evidence"]), teller.update)
    except ExportError as error:
        teller.fail(session.redactor.redact(str(error)))
        return error.exit_code
    except Interrupted as stopped:
        return stopped.exit_code
    teller.flush()
    return 0


if __name__ == "__main__":
    main()
