"""The documentation site: it builds with every link checked, can be searched, and asks no other host for anything."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="MkDocs is not installed (make site)")
def test_the_site_builds_with_all_links_right_and_needs_no_other_host(tmp_path: Path) -> None:
    build = (sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path))
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, env=quiet, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    for page in (ROOT / "docs").glob("*.md"):
        html = (tmp_path / page.with_suffix(".html").name).read_text("utf-8")
        assert not re.findall(r'<(?:script|img|iframe|link)[^>]*(?:src|href)="https?://', html), page.name
    found = json.loads((tmp_path / "search" / "search_index.json").read_text("utf-8"))
    assert {"index.html", "repository/CONTRIBUTING.html"} <= {one["location"] for one in found["docs"]}
