"""A test that hangs ends, and says where: the time-out that all tests have."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from tests.house.test_structure import ROOT

HANGS = """
import signal

def test_hangs():
    signal.pause()

def test_goes_on():
    pass
"""


def test_every_test_has_a_time_out_that_no_healthy_one_comes_near() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["pytest"]["ini_options"]["timeout"] >= 600
    assert any(one.startswith("pytest-timeout") for one in project["project"]["optional-dependencies"]["test"])


def test_a_test_that_hangs_ends_and_the_others_are_run(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\ntimeout = 1\n")
    (tmp_path / "test_it.py").write_text(HANGS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Failed: Timeout" in done.stdout
    assert "signal.pause()" in done.stdout
    assert "1 failed, 1 passed" in done.stdout
