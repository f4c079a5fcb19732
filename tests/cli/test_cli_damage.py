"""What reading commands, and those that would write, say of a file that is no whole log."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from eventhpo.log import paths, reader
from tests.cli.harness import data, invoke, simulated, small

READING = [
    ("status",),
    ("status", "--json"),
    ("top",),
    ("top", "--json"),
    ("events",),
    ("events", "--json"),
    ("postmortem",),
    ("postmortem", "--json"),
    ("explain", "0"),
    ("verify",),
]
WRITING = [("resume",), ("stop",), ("enqueue", "General/lr=0.1")]


def call(words, path):
    return invoke(words[0], path, *words[1:])


@pytest.mark.parametrize("words", READING + WRITING, ids=" ".join)
def test_a_log_that_is_missing_is_a_usage_error(tmp_path, words):
    result = call(words, tmp_path / "search.db")
    assert result.exit_code == 2
    assert "there is no log" in result.stderr
    assert list(tmp_path.iterdir()) == []


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("not a database, but longer than a header of one\n" * 100)


def folder(path):
    path.mkdir()


def foreign(path):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE event(seq)")
    db.close()


@pytest.mark.parametrize("make", [empty, text, folder, foreign])
@pytest.mark.parametrize("words", READING + WRITING, ids=" ".join)
def test_a_file_that_is_no_log_exits_3_and_is_left_as_it_is(tmp_path, words, make):
    path = tmp_path / "search.db"
    make(path)
    before = path.is_file() and path.read_bytes()
    result = call(words, path)
    assert result.exit_code == 3, result.output
    assert "Traceback" not in result.output
    assert (path.is_file() and path.read_bytes()) == before
    assert [p.name for p in tmp_path.iterdir()] == ["search.db"]


@pytest.fixture
def cut(log, tmp_path):
    """A log that is whole in itself, whose last rows are gone: only its head file knows."""
    rows = reader.read(log).rows
    other = tmp_path / "other"
    other.mkdir()
    path = other / "search.db"
    from eventhpo.core.fold.codec import GENESIS
    from eventhpo.core.fold.events import Head
    from eventhpo.log.chain import row_of
    from eventhpo.log.create import write_log

    end, kept = GENESIS, []
    for row in rows[:-3]:
        kept.append(row_of(row.event, end, row.at, row.epoch, row.cause))
        end = Head(kept[-1][0], kept[-1][7])
    write_log(path, kept, 1)
    shutil.copy(paths.head(log), paths.head(path))
    return path


@pytest.mark.parametrize("words", READING + WRITING, ids=" ".join)
def test_a_log_that_lost_its_tail_exits_3(cut, words):
    result = call(words, cut)
    assert result.exit_code == 3, result.output
    assert "lost its tail" in result.output


def test_a_copy_of_a_log_that_lost_its_tail_says_what_is_missing(cut, tmp_path):
    """Its rows are chained without a fault: only the head file knows."""
    result = invoke("salvage", cut, tmp_path / "saved.db")
    assert result.exit_code == 0, result.output
    assert "what follows is lost: the log has lost its tail" in result.stderr
    assert invoke("verify", tmp_path / "saved.db").exit_code == 0


def test_what_is_left_of_a_log_that_lost_its_tail_is_still_printed(cut):
    result = invoke("status", cut, "--json")
    assert '"search_id"' in result.stdout
    assert "lost its tail" in result.stdout
    assert len(invoke("events", cut).stdout.splitlines()) == len(reader.read(cut).rows)


def spoiled(log, seq, column, value):
    db = sqlite3.connect(log)
    db.execute("DROP TRIGGER event_is_not_updated")
    db.execute(f"UPDATE event SET {column} = ? WHERE seq = ?", (value, seq))  # noqa: S608  our own names
    db.commit()
    db.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [("body", "{"), ("body", "{}"), ("body", '{"trial":"x"}'), ("type", "JobEaten"), ("v", 99)],
    ids=str,
)
def test_a_row_that_cannot_be_decoded_is_named(log, column, value):
    seq = next(row.seq for row in reader.read(log).rows if type(row.event).__name__ == "JobCreated")
    spoiled(log, seq, column, value)
    for words in (("status",), ("top",), ("events",), ("verify",), ("resume",), ("enqueue", "General/lr=0.1")):
        result = call(words, log)
        assert result.exit_code == 3
        assert f"seq {seq}" in result.output


def test_a_row_that_does_not_fit_those_before_it_is_found_by_the_fold(log):
    """It decodes, so that only the fold can see it."""
    seq = next(row.seq for row in reader.read(log).rows if type(row.event).__name__ == "JobCreated")
    spoiled(log, seq, "body", '{"attempt":5,"key":"k","slot":0,"trial":0}')
    for words in (("status",), ("top",), ("verify",)):
        assert call(words, log).exit_code == 3
    checks = {check.split()[0]: check.split()[1] for check in invoke("verify", log).stdout.splitlines()}
    assert checks["chain"] == "WRONG"
    assert checks["verdict"] == "damaged"


@pytest.mark.parametrize("words", [*READING, *WRITING, ("resume", "--total-max-jobs", "20")], ids=" ".join)
def test_a_changed_value_is_shown_by_nobody_as_the_truth(log, words):
    seq = next(row.seq for row in reader.read(log).rows if type(row.event).__name__ == "MetricObserved")
    body = reader.consult(log, lambda db: db.execute("SELECT body FROM event WHERE seq = ?", (seq,)).fetchone()[0])
    assert "0." in body
    forged = body.replace("0.", "0.9", 1)
    spoiled(log, seq, "body", forged)
    result = call(words, log)
    assert result.exit_code == 3, result.output
    assert f"seq {seq}" in result.output or f"up to seq {seq - 1}" in result.output
    if words == ("verify",):
        assert "verified up to" in result.stdout.splitlines()[-1]
    if words[0] in ("status", "top", "events"):
        assert result.stdout == ""


def test_events_that_are_followed_are_checked_against_what_was_read_before(log):
    seq = next(row.seq for row in reader.read(log).rows if type(row.event).__name__ == "MetricObserved")
    spoiled(log, seq, "at", 1)
    result = invoke("events", log, "--after", seq - 1, "--follow")
    assert result.exit_code == 3
    assert f"seq {seq}" in result.stderr


def test_verify_does_not_decide_again_what_is_damaged(log):
    spoiled(log, 3, "body", "{")
    result = invoke("verify", log, "--decide")
    assert result.exit_code == 3
    assert "not looked at" in result.stdout


def test_a_file_cut_in_the_middle_exits_3(log):
    size = log.stat().st_size
    with log.open("r+b") as file:
        file.truncate(size // 2 + 100)
    for words in READING:
        result = call(words, log)
        assert result.exit_code == 3, (words, result.output)


def test_what_ends_a_terminal_line_never_reaches_the_terminal(tmp_path):
    """A reason that a job or a server gave may hold escape sequences."""
    from eventhpo.testing.searches import simulate
    from eventhpo.testing.simulated import Script

    log = tmp_path / "search.db"
    what = small(total_max_jobs=3)
    simulate(log, what, lambda *_: Script(points=((1, 1.0),), others=("\x1b[2J\nnew line",)))
    for words in (("status",), ("top", "--all-metrics"), ("events",)):
        shown = call(words, log).stdout
        assert "\x1b" not in shown
    assert data("top", log, "--all-metrics")


def test_every_error_is_one_message_without_a_traceback(tmp_path):
    log = tmp_path / "search.db"
    simulated(log)
    spoiled(log, 1, "body", "[]")
    for words in READING[:-1] + WRITING:
        result = call(words, log)
        assert result.exit_code == 3
        assert result.stderr.startswith("Error: ")
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("pages", [1, 3, 8])
def test_a_log_that_was_cut_short_is_salvaged_up_to_where_it_was_cut(tmp_path: Path, pages: int) -> None:
    """SQLite itself refuses a file that is shorter than its header says."""
    whole = Path(__file__).parents[2] / "fixtures" / "logs" / "tpe.db"
    cut = tmp_path / "cut.db"
    content = whole.read_bytes()
    cut.write_bytes(content[: len(content) - 4096 * pages + 100])
    before = cut.read_bytes()
    result = invoke("salvage", cut, tmp_path / "saved.db")
    assert result.exit_code == 0, result.output
    assert "the file was cut" in result.stderr
    saved = reader.read(tmp_path / "saved.db").rows
    assert 0 < len(saved) < 287
    assert saved == reader.read(whole).rows[: len(saved)]
    assert cut.read_bytes() == before
