"""`eventhpo report` and `eventhpo plot`: what they write, refuse and load."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from replay.cli import plot as plot_command
from replay.report.charts import Kind
from tests.cli.harness import invoke
from tests.report import logs

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "fixtures" / "logs"
SHOWING = [("report", ()), ("plot", ("history",))]


def written(command: str, log: Path, kind: tuple[str, ...], target: Path) -> object:
    return invoke(command, log, *kind, "-o", target)


def test_the_kinds_of_the_command_are_those_of_the_charts() -> None:
    assert get_args(Kind) == plot_command.KINDS


@pytest.mark.parametrize("kind", plot_command.KINDS)
def test_every_kind_is_drawn_as_svg_and_as_png(search_log: Path, tmp_path: Path, kind: str) -> None:
    log = logs.several_objectives(tmp_path / "two.db") if kind == "pareto" else search_log
    for form, begins in (("svg", b"<svg"), ("png", b"\x89PNG")):
        target = tmp_path / f"{kind}.{form}"
        result = invoke("plot", log, kind, "-o", target)
        assert result.exit_code == 0, result.output
        assert result.stdout == f"{target}\n"
        assert target.read_bytes().startswith(begins)


def test_a_larger_scale_gives_more_pixels(search_log: Path, tmp_path: Path) -> None:
    sizes = {}
    for scale in (1, 2):
        target = tmp_path / f"{scale}.png"
        assert invoke("plot", search_log, "budget", "-o", target, "--scale", scale).exit_code == 0
        sizes[scale] = int.from_bytes(target.read_bytes()[16:20], "big")
    assert sizes[2] == 2 * sizes[1]


@pytest.mark.parametrize("make", logs.ODD)
@pytest.mark.parametrize("kind", plot_command.KINDS)
def test_of_an_odd_log_a_picture_is_drawn_or_the_command_says_why_not(make, kind: str, tmp_path: Path) -> None:
    log = make(tmp_path / "search.db")
    result = invoke("plot", log, kind, "-o", tmp_path / "x.svg")
    if result.exit_code:
        assert result.exit_code == 2
        assert "there is nothing to draw of search.db: " in result.stderr
        assert not (tmp_path / "x.svg").exists()
    assert "Traceback" not in result.output


def test_names_of_a_log_stay_text_in_a_picture(tmp_path: Path) -> None:
    log = logs.hostile(tmp_path / "search.db")
    for kind in ("history", "slice", "parallel"):
        assert invoke("plot", log, kind, "-o", tmp_path / "x.svg").exit_code == 0
        drawn = (tmp_path / "x.svg").read_text()
        assert "<script" not in drawn
        assert "<img" not in drawn
        assert "\x1b" not in drawn


@pytest.mark.parametrize(("command", "kind"), SHOWING)
def test_the_same_log_gives_the_same_file(
    command: str, kind: tuple[str, ...], search_log: Path, tmp_path: Path
) -> None:
    targets = [tmp_path / f"{n}.svg" for n in (1, 2)]
    for target in targets:
        assert written(command, search_log, kind, target).exit_code == 0  # type: ignore[attr-defined]
    assert targets[0].read_bytes() == targets[1].read_bytes()


@pytest.mark.parametrize(("command", "kind"), SHOWING)
def test_a_damaged_log_is_shown_as_far_as_it_is_verified_with_exit_code_3(
    command: str, kind: tuple[str, ...], tmp_path: Path
) -> None:
    for name in ("cut.db", "cut.db.head"):
        (tmp_path / name).write_bytes((GOLDEN / "must_fail" / name).read_bytes())
    result = invoke(command, tmp_path / "cut.db", *kind, "-o", tmp_path / "x.svg")
    assert result.exit_code == 3
    assert (tmp_path / "x.svg").exists()


@pytest.mark.parametrize(("command", "kind"), SHOWING)
def test_a_log_that_is_missing_or_none_leaves_no_file(command: str, kind: tuple[str, ...], tmp_path: Path) -> None:
    none = tmp_path / "none.db"
    none.write_text("not a log" * 1000)
    assert invoke(command, none, *kind, "-o", tmp_path / "x.svg").exit_code == 3
    assert invoke(command, tmp_path / "missing.db", *kind, "-o", tmp_path / "x.svg").exit_code == 2
    assert list(tmp_path.iterdir()) == [none]


@pytest.mark.parametrize(("command", "kind"), SHOWING)
def test_the_log_itself_is_never_written_over(command: str, kind: tuple[str, ...], tmp_path: Path) -> None:
    log = logs.one_trial(tmp_path / "search.svg")
    link = tmp_path / "link.svg"
    os.link(log, link)
    before = log.read_bytes()
    for target in (log, tmp_path / "." / "search.svg", link):
        result = invoke(command, log, *kind, "-o", target)
        assert result.exit_code == 2
        assert "belongs to the log" in result.stderr
    assert log.read_bytes() == before


def test_a_target_that_cannot_be_written_is_said_to_be_so(search_log: Path, tmp_path: Path) -> None:
    for target, says in ((tmp_path, "is a folder"), (tmp_path / "no" / "x.html", "there is no folder")):
        result = invoke("report", search_log, "-o", target)
        assert result.exit_code == 2
        assert says in result.stderr
    result = invoke("plot", search_log, "history", "-o", tmp_path / "x.pdf")
    assert result.exit_code == 2
    assert "ends with .svg or .png" in result.stderr


def test_without_a_name_the_page_has_the_name_of_the_log(search_log: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("report", search_log)
    assert result.exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["search.html"]
    assert (tmp_path / "search.html").stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize(("command", "kind"), SHOWING)
def test_without_the_extra_the_command_says_what_to_install(
    command: str, kind: tuple[str, ...], search_log: Path, tmp_path: Path, monkeypatch
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "altair" else there(name, *a))
    result = invoke(command, search_log, *kind, "-o", tmp_path / "x.svg")
    assert result.exit_code == 2
    assert "pip install 'eventhpo[report]'" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["--help"], ["report", "--help"], ["plot", "--help"], ["status", "--help"]])
def test_the_help_loads_nothing_that_only_a_picture_needs(words: list[str]) -> None:
    code = (
        "import sys; from eventhpo.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print(sorted({'altair', 'vl_convert', 'optuna', 'pandas', 'playwright'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"
