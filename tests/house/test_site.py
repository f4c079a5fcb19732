"""The documentation builds as a site without a warning, and each page is in its contents."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.house.test_structure import ROOT


def build(docs: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Build the site strictly: a link that leads nowhere, or a page in no contents, is an error."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(docs), str(target)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = build(ROOT / "docs", tmp_path / "site")
    assert done.returncode == 0, done.stderr
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")}
    assert pages == {page.stem for page in (tmp_path / "site").glob("*.html")} - {"genindex", "search", "py-modindex"}


def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    """Negative control."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "conf.py").write_text((ROOT / "docs" / "conf.py").read_text())
    (docs / "index.md").write_text("# A page\n\nA link to [nowhere](nowhere.md).\n")
    done = build(docs, tmp_path / "site")
    assert done.returncode != 0
    assert "nowhere" in done.stderr
