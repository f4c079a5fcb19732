"""What a search declares of its code and data: checked before it begins, kept once, and seen when it changes."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from eventhpo.core.fold.events import JobBound, TextStored
from eventhpo.log.reader import read
from tests.cli.harness import Place, data, invoke, strict


@pytest.fixture
def declared(place: Place) -> Place:
    """A search that declares a file as its data."""
    (place.folder / "train.csv").write_text("1,2\n")
    place.describe(more='data = ["train.csv"]')
    return place


def stored(log: Path) -> list[TextStored]:
    return [row.event for row in read(log).rows if isinstance(row.event, TextStored)]


def test_each_job_names_the_data_and_the_packages_and_the_log_has_each_text_once(declared: Place) -> None:
    assert declared.run().returncode == 0
    texts = {event.sha256: event for event in stored(declared.log)}
    assert Counter(event.kind for event in texts.values()) == {"packages": 1, "data": 1}
    assert len(stored(declared.log)) == 2
    bound = [row.event.provenance for row in read(declared.log).rows if isinstance(row.event, JobBound)]
    assert len(bound) == 4
    assert all(texts[found.data_sha256 or ""].text.endswith(" 4 train.csv\n") for found in bound)
    assert all(texts[found.packages_sha256 or ""].kind == "packages" for found in bound)


def test_a_controller_that_goes_on_keeps_no_text_again(declared: Place) -> None:
    child = declared.running()
    child.kill()
    child.wait()
    declared.hold.unlink()
    assert declared.call("resume", "search.db").returncode == 0
    assert len(stored(declared.log)) == 2
    assert invoke("verify", declared.log, "--decide").exit_code == 0


def test_other_data_in_mid_search_are_told_by_status_and_postmortem(declared: Place) -> None:
    child = declared.running()
    (declared.folder / "train.csv").write_text("3,4,5\n")
    declared.hold.unlink()
    assert child.wait() == 0
    for command in ("status", "postmortem"):
        (change,) = data(command, declared.log)["code_changes"]
        assert (change["data_changed"], change["script_changed"], change["what"]) == (
            True,
            False,
            "other data (train.csv)",
        )
    assert Counter(event.kind for event in stored(declared.log)) == {"packages": 1, "data": 2}
    assert "from trial 2, attempt 0 on: other data" in invoke("postmortem", declared.log).stdout
    ranked = {row["trial"] for row in data("top", declared.log, "-k", 100, "--same-code")}
    assert ranked in ({0, 1}, {2, 3})  # by which is the best


def test_another_search_file_in_mid_search_is_told(place: Place) -> None:
    child = place.running()
    place.describe(jobs=5)
    place.release()
    assert child.wait() == 0
    (change,) = data("status", place.log)["code_changes"]
    assert (change["search_file_changed"], change["what"]) == (True, "another search file")
    bound = [event.provenance.search_file_sha256 for event in place.of(JobBound)]
    assert bound[-1] == hashlib.sha256(place.file.read_bytes()).hexdigest() != bound[0]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('data = ["gone.csv"]', 'data[0]: found "gone.csv", expected a file, at '),
        ('data = ["."]', "expected a file, not a folder: name its files"),
        ('data = ["pipe"]', "expected a file, not a pipe, socket or device"),
        ('data = ["/dev/null"]', "expected a file, not a pipe, socket or device"),
        (f'data = ["train.py", "{"x" * 300}"]', "(File name too long)"),
        ('data = ["train.py", "a\\nb"]', "data[1]: "),
        ('data = ["a\\u0000b"]', "without line ends and other control characters"),
        ('data = "train.csv"', 'expected a list of files, as ["train.csv"]'),
        ('record_diff = "yes"', "record_diff"),
    ],
)
def test_what_cannot_be_declared_is_a_mistake_with_its_line(place: Place, line: str, told: str) -> None:
    os.mkfifo(place.folder / "pipe")
    place.describe(more=line)
    result = place.call("check", "search.toml")
    assert result.returncode == 2
    assert told in result.stderr
    assert "line 9" in result.stderr
    assert place.run().returncode == 2
    assert not place.log.exists()


def test_the_changes_to_the_commit_are_in_the_log_if_the_search_file_says_so(place: Place) -> None:
    def git(*words: str) -> None:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", str(place.folder), *identity, *words], check=True, capture_output=True)

    git("init", "-q")
    git("add", "train.py")
    git("commit", "-q", "-m", "first")
    place.script((place.folder / "train.py").read_text() + "# a change\n")
    place.describe(jobs=1, more="record_diff = true")
    assert place.run().returncode == 0
    (diff,) = [event for event in stored(place.log) if event.kind == "diff"]
    assert "+# a change" in diff.text


def test_diff_names_what_two_searches_ran_that_differs(declared: Place) -> None:
    assert declared.run().returncode == 0
    (declared.folder / "train.csv").write_text("3,4,5\n")
    assert declared.call("run", "search.toml", "--log", "other.db").returncode == 0
    compared = strict(invoke("diff", declared.log, declared.folder / "other.db", "--json").stdout)
    assert [entry["key"] for entry in compared["code"]] == ["data of trial 0"]
    assert "code" in invoke("diff", declared.log, declared.folder / "other.db").stdout
    assert data("diff", declared.log, declared.log)["code"] == []
