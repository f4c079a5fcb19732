"""What the package holds, and what its two top-level names show."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INCLUDE = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]


def is_packed(name: str) -> bool:
    """As setuptools does it: a pattern against the dotted name."""
    return any(fnmatchcase(name, pattern) for pattern in INCLUDE)


def test_every_package_of_ours_is_packed() -> None:
    for top in ("eventhpo", "replay"):
        packages = {path.parent.relative_to(ROOT) for path in (ROOT / top).rglob("*.py")}
        assert [p for p in packages if not is_packed(".".join(p.parts))] == []


@pytest.mark.parametrize("left", ["eventhpo-demo", "eventhpo-demo.search.db.jobs", "replays", "eventhpo_old", "tests"])
def test_a_folder_that_a_command_or_a_person_left_next_to_them_is_not(left: str) -> None:
    assert not is_packed(left)


@pytest.mark.parametrize("package", ["eventhpo", "replay"])
def test_dir_shows_the_public_names_before_they_are_loaded(package: str) -> None:
    code = f"import sys, {package} as it; print(set(it.__all__) - set(dir(it)), 'optuna' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["set()", "False"]
