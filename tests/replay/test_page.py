"""The examples of docs/replay.md, run as a user's own tests would be."""

from __future__ import annotations

import re
from pathlib import Path

from tests.replay.test_pytest_plugin import run

PAGE = Path(__file__).parents[2] / "docs" / "replay.md"


def test_the_search_in_a_test_runs_as_it_stands_on_the_page(tmp_path: Path) -> None:
    (example,) = [code for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S) if "simulate" in code]
    done = run(tmp_path, example)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_what_is_public_of_the_simulation_is_loaded_by_its_name() -> None:
    import eventhpo.testing

    for name in eventhpo.testing.__all__:
        assert getattr(eventhpo.testing, name).__name__ == name
