"""A compiled module that a full disk cut short ends a command in a line that names it, and no log is blamed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.harness import COMMAND


def status(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `eventhpo status` on no log, its compiled modules kept in *folder*."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder)}
    for name in ("PYTHONDONTWRITEBYTECODE", "EVENTHPO_TRACEBACK"):
        environment.pop(name, None)
    command = [*COMMAND, "status", "none.db"]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("zeros", [False, True], ids=["cut", "zeros"])
def test_a_compiled_module_that_was_cut_short_is_named(tmp_path: Path, zeros: bool) -> None:
    assert status(tmp_path).returncode == 2  # there is no such log
    (compiled,) = tmp_path.rglob("eventhpo/log/sql.*.pyc")
    content = compiled.read_bytes()
    kept = content[: len(content) // 2]
    compiled.write_bytes(kept.ljust(len(content), b"\0") if zeros else kept)
    done = status(tmp_path)
    assert done.returncode == 5, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert str(compiled) in done.stderr
    assert "delete that file" in done.stderr
    compiled.unlink()
    assert status(tmp_path).returncode == 2
