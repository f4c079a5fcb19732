"""The README's first command, in a clean virtual environment, the built wheel in place of `-e .`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(words: list[str | Path], cwd: Path) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "EVENTHPO"))}
    done = subprocess.run(words, cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def commands() -> list[str]:
    """Return the README's two commands."""
    return re.findall(r"^ {4}(python3 -m venv .venv && .*?)(?: +#.*)?$", (ROOT / "README.md").read_text(), re.M)


def test_the_readme_begins_with_the_two_commands() -> None:
    first, second = commands()[:2]
    assert first.endswith(".venv/bin/pip install -e '.[demo]' && .venv/bin/eventhpo demo")
    assert second.endswith(".venv/bin/pip install -e '.[test]' && .venv/bin/python -m pytest")
    screen = (ROOT / "README.md").read_text().splitlines()[:40]
    assert any(first in line for line in screen)


@pytest.mark.install
def test_a_newcomers_first_command_runs_a_real_search(tmp_path: Path) -> None:
    run([sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT], tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / ".venv", with_pip=True)
    python = tmp_path / ".venv" / "bin" / "python"
    run([python, "-m", "pip", "install", "--quiet", f"{wheel}[demo]"], tmp_path)
    shown = run([tmp_path / ".venv" / "bin" / "eventhpo", "demo"], tmp_path)
    assert "finished: budget" in shown
    assert len(re.findall(r"^[1-5] +\d+ +completed", shown, re.M)) == 5
    log = tmp_path / "eventhpo-demo" / "search.db"
    assert "all as recorded" in run([tmp_path / ".venv" / "bin" / "eventhpo", "replay", log], tmp_path).splitlines()[-1]
    status = run([python, "-m", "eventhpo", "status", log, "--json"], tmp_path)
    assert '"state": "finished"' in status.replace('":"', '": "')
    for line in re.findall(r"^ +\S*eventhpo ((?:top|events|verify) .*)$", shown, re.M):
        run([tmp_path / ".venv" / "bin" / "eventhpo", *line.split()], tmp_path)
    run([python, "-m", "pip", "install", "--quiet", "pytest"], tmp_path)
    assert "1 passed" in a_run_with_the_plugin(tmp_path, python, log)


def a_run_with_the_plugin(folder: Path, python: Path, log: Path) -> str:
    """Run a project's own pytest, which finds the plugin by its entry point; every warning is an error."""
    project = folder / "project"
    project.mkdir()
    (project / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    test = f"""
        import sys

        def test_the_log_is_decided_again_alike(assert_replays):
            assert "optuna" not in sys.modules
            assert assert_replays({str(log)!r}).decisions > 20
        """
    (project / "test_it.py").write_text(textwrap.dedent(test))
    return run([python, "-m", "pytest", "-q"], project)
