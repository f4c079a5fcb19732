"""The pytest plugin, in projects of its own, with every warning an error."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from tests.replay.failing import altered

ROOT = Path(__file__).parents[2]
LOGS = ROOT / "fixtures" / "logs"

PROJECT = """
[pytest]
filterwarnings = error
"""


def run(folder: Path, test: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a project of its own; the plugin is named where no entry point can be."""
    (folder / "pytest.ini").write_text(PROJECT)
    (folder / "test_it.py").write_text(textwrap.dedent(test))
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON"))} | {"PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:eventhpo",
        "-p",
        "eventhpo.testing.pytest_plugin",
        "-p",
        "no:cacheprovider",
    ]
    return subprocess.run([*command, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_a_log_that_is_decided_again_alike_passes(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        f"""
        def test_replays(assert_replays):
            report = assert_replays({str(LOGS / "rungs.db")!r})
            assert report.decisions > 20
            assert assert_replays({str(LOGS / "rungs.db")!r}, processes=2) == report
        """,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_a_log_that_is_missing_fails_in_one_sentence(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_replays(assert_replays): assert_replays('none.db')")
    assert done.returncode == 1
    assert "there is no log none.db; `eventhpo run` or eventhpo.create_study makes one" in done.stdout
    assert "require_file" not in done.stdout, "no traceback of eventhpo's own"


def test_a_divergence_fails_with_both_sides_and_without_a_traceback(tmp_path: Path) -> None:
    done = run(tmp_path, f"def test_replays(assert_replays): assert_replays({str(altered())!r})")
    assert done.returncode == 1
    assert "1 failed" in done.stdout
    for said in (
        "fingerprint  ",
        "seq 64",
        "  recorded   TrialSuggested",
        "  decided    TrialSuggested",
        "  recorder   ",
    ):
        assert said in done.stdout
    assert "pytest_plugin.py" not in done.stdout


@pytest.mark.parametrize(("name", "said"), [("cut", "lost its tail"), ("future", "JobPruned v2 is not known")])
def test_damage_fails_and_says_which(tmp_path: Path, name: str, said: str) -> None:
    log = LOGS / "must_fail" / f"{name}.db"
    done = run(tmp_path, f"def test_replays(assert_replays): assert_replays({str(log)!r})")
    assert done.returncode == 1
    assert said in done.stdout


def test_starting_pytest_costs_neither_optuna_nor_the_log(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        """
        import sys

        def test_nothing_is_loaded():
            loaded = [name for name in ("optuna", "numpy", "msgspec", "sqlite3", "click") if name in sys.modules]
            assert loaded == []
            assert {name for name in sys.modules if name.split(".")[0] in ("eventhpo", "replay")} == {
                "eventhpo", "eventhpo.testing", "eventhpo.testing.pytest_plugin", "eventhpo.replay_package"
            }
        """,
    )
    assert done.returncode == 0, done.stdout


def test_another_package_that_is_called_replay_fails_the_test_that_asks_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "replay").mkdir()
    (tmp_path / "replay" / "__init__.py").write_text("__version__ = '0.18'\n")
    done = run(
        tmp_path,
        """
        def test_replays(assert_replays): assert_replays("search.db")
        def test_else(): pass
        """,
    )
    assert done.returncode == 1
    assert "1 passed, 1 error" in done.stdout
    assert "is not eventhpo's: another one has that name, as replay-rec from PyPI does; install" in done.stdout
    assert "Traceback" not in done.stdout


def test_the_fixture_is_listed_with_what_it_does(tmp_path: Path) -> None:
    done = run(tmp_path, "", "--fixtures")
    assert "assert_replays(path)" in done.stdout.replace("`", "")


def test_pytest_finds_it_by_its_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"eventhpo": "eventhpo.testing.pytest_plugin"}
