"""The command `explain`: what it prints, where it refuses, and what its page shows."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import Result

from eventhpo.core.fold.events import JobPruned
from eventhpo.log.reader import read
from replay import explain
from replay.explain.collect import of_rows
from tests.cli.harness import data, invoke, strict
from tests.replay.forging import changed, forged

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "fixtures" / "logs" / "rungs.db"
PAGE = ROOT / "docs" / "explain.md"
README = ROOT / "README.md"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log alone in its folder."""
    return Path(shutil.copy(GOLDEN, tmp_path / "search.db"))


def call(*words: object) -> Result:
    return invoke("explain", *words)


def test_a_log_alone_is_explained_and_nothing_is_left_beside_it(log: Path) -> None:
    before = log.read_bytes(), log.stat().st_mtime_ns
    result = call(log, 3)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert [p.name for p in log.parent.iterdir()] == ["search.db"]
    assert (log.read_bytes(), log.stat().st_mtime_ns) == before


def test_each_line_is_an_event_a_word_and_why(log: Path) -> None:
    head, columns, *facts = call(log, 3).stdout.splitlines()
    assert head.startswith('trial 3 of "simulated": pruned  General/x=0.311153')
    assert columns.split() == ["event", "what", "why"]
    assert all(re.match(r"[ 0-9]{6}  [A-Za-z -]{9}  \S", fact) for fact in facts), facts


def test_json_is_the_explanation_that_python_gets(log: Path) -> None:
    found = data("explain", log, 3)
    assert found == json.loads(msgspec_json(log, 3))
    assert [step["step"] for step in found["steps"]][:2] == ["suggested", "launched"]
    prune = next(step for step in found["steps"] if step["step"] == "pruned")
    assert prune["point"]["found"]["family"] == "rungs"
    assert prune["point"]["found"]["reached"][0]["rank"] == 4


def msgspec_json(log: Path, trial: int) -> str:
    import msgspec

    return msgspec.json.encode(explain(log, trial)).decode()


@pytest.mark.parametrize("trial", range(13))
def test_json_knows_every_number_also_nan(log: Path, trial: int) -> None:
    result = call(log, trial, "--json")
    assert result.exit_code == 0
    strict(result.stdout)


def test_every_verdict_has_a_line_only_if_asked_for(log: Path) -> None:
    def went_on(*words: object) -> list[str]:
        return [line for line in call(log, 0, *words).stdout.splitlines() if "  went on  " in line]

    assert len(went_on()) == 2
    assert len(went_on("--all-verdicts")) == 6
    assert all("at iteration" in line for line in went_on("--all-verdicts"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["99"], "there is no trial 99: as of event 174 the log has 13 trials, 0 to 12"),
        (["3", "--at", "5"], "as of event 5 the log has 1 trial, 0"),
        (["3", "--at", "1"], "as of event 1 the log has 0 trials"),
        (["-1"], "-1"),
        (["x"], "'x' is not a valid trial number"),
        (["3", "--at", "0"], "0 lies outside the log, which has the events 1 ("),
        (["3", "--at", "175"], "175 lies outside the log, which has the events 1 ("),
        (["3", "--at", "yesterday"], "neither the seq of an event nor an ISO time"),
    ],
    ids=lambda case: " ".join(case) if isinstance(case, list) else "",
)
def test_what_is_not_there_is_a_usage_error(log: Path, words: list[str], said: str) -> None:
    result = call(log, *words)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stdout == ""


def test_a_number_that_does_not_reproduce_exits_1(log: Path, tmp_path: Path) -> None:
    rows = read(log).rows
    row = next(row for row in rows if isinstance(row.event, JobPruned))
    path = forged(tmp_path / "forged.db", rows, row.seq, lambda event: changed(event, iteration=5))
    assert invoke("verify", path).exit_code == 0, "the chain was made anew"
    result = call(path, row.event.trial)  # type: ignore[union-attr]
    assert result.exit_code == 1
    assert f"{row.seq:>6}  DIFFERS    at iteration 1: the record says iteration 5; its point 1 is at 1" in result.stdout
    assert call(path, row.event.trial, "--json").exit_code == 1  # type: ignore[union-attr]
    assert of_rows(rows, 0).differs == of_rows(read(path).rows, 0).differs == ()


def test_escape_sequences_in_what_a_job_said_are_not_passed_on_to_the_terminal(log: Path, tmp_path: Path) -> None:
    rows = read(log).rows
    row = next(row for row in rows if type(row.event).__name__ == "JobEnded")
    path = forged(tmp_path / "forged.db", rows, row.seq, lambda e: changed(e, why="\x1b[2Jgone\nand away"))
    shown = call(path, row.event.trial).stdout  # type: ignore[union-attr]
    assert "[2Jgone and away" in shown
    assert "\x1b" not in shown


# ---------------------------------------------------------------- the pages


def shown(page: Path) -> list[tuple[str, str]]:
    """Return each command on *page* that can be run here, and the output that stands behind it."""
    blocks = re.findall(
        r"^```text\n\$ (?:\.venv/bin/)?(eventhpo explain fixtures/[^\n]*)\n(.*?)^```", page.read_text(), re.M | re.S
    )
    return [(command, output) for command, output in blocks]


@pytest.mark.parametrize("page", [PAGE, README], ids=lambda p: p.name)
def test_the_output_on_the_page_is_what_the_command_prints(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    blocks = shown(page)
    assert blocks
    for command, output in blocks:
        printed = invoke(*command.split()[1:]).stdout.splitlines()
        left = iter(printed)
        for line in output.splitlines():  # in this order; "..." stands for lines that are left out
            assert line == "..." or line in left, f"{command}: {line}"
        assert "..." in output.splitlines() or output.splitlines() == printed


def test_every_word_of_a_line_is_on_the_page() -> None:
    named = set(re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| (`[^|]+) \|", PAGE.read_text(), re.M))))
    words = {
        line[8:17].strip()
        for log in sorted(GOLDEN.parent.glob("*.db"))
        for trial in range(8)
        for line in invoke("explain", log, trial).stdout.splitlines()[2:]
    }
    assert len(words) > 12
    assert words - {"note"} <= named
