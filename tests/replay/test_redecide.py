"""`replay.decide.redecide`: one log, many logs, raise or collect, by one process or several."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import optuna
import pytest

import replay
from eventhpo.core.fold.events import (
    BudgetUpdated,
    ControllerStarted,
    Event,
    Head,
    Recorded,
    SearchCreated,
    TrialSuggested,
)
from eventhpo.core.search.spec import POLICY, ComponentConfig, UserClassConfig
from eventhpo.errors import DamagedLog, EventhpoError, Failed, Usage
from eventhpo.log.reader import read
from eventhpo.optuna_adapter.fingerprint import fingerprint
from eventhpo.testing.searches import search, simulate
from eventhpo.testing.simulated import Script
from replay import Diverged, redecide, redecide_many
from replay.decide import check_prefixes, divergence, render
from replay.decide.answers import Answers
from tests.replay.failing import FAILING, GOLDEN, altered, rewritten

RUNGS, OBJECTIVES, STOPPED = (GOLDEN / f"{name}.db" for name in ("rungs", "objectives", "stopped"))
MISSING, FUTURE, CUT = (FAILING / f"{name}.db" for name in ("missing", "future", "cut"))
ALTERED = altered()


# ---------------------------------------------------------------- one log


def test_a_log_that_is_decided_again_alike_is_ok() -> None:
    report = redecide(RUNGS)
    assert (report.verdict, report.divergences, report.undecided, report.damage) == ("ok", (), (), None)
    assert report.decisions == sum(checked.decision for checked in check_prefixes.check_prefixes(read(RUNGS).rows))
    assert (report.name, report.head) == ("simulated", read(RUNGS).head)


def test_it_needs_nothing_but_the_log(tmp_path: Path) -> None:
    """Only the .db, in an empty folder that is the current one, read-only, in a process of its own."""
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(RUNGS, alone / "search.db")
    (alone / "search.db").chmod(0o400)
    code = "from replay import redecide; print(redecide('search.db', processes=2).decisions)"
    env = os.environ | {"PYTHONPATH": str(GOLDEN.parents[1])}
    done = subprocess.run([sys.executable, "-c", code], cwd=alone, env=env, capture_output=True, text=True, check=True)
    assert int(done.stdout) == redecide(RUNGS).decisions
    assert [p.name for p in alone.iterdir()] == ["search.db"]


def test_a_divergence_is_raised_with_its_report_and_exit_code_1() -> None:
    with pytest.raises(Diverged, match=r"seq 64: recorded TrialSuggested.*params\.General/x") as caught:
        redecide(ALTERED)
    assert isinstance(caught.value, Failed)
    assert isinstance(caught.value, EventhpoError)
    assert caught.value.code == 1
    assert caught.value.report == redecide(ALTERED, raise_on_divergence=False)


def test_a_divergence_can_be_collected_instead() -> None:
    report = redecide(ALTERED, raise_on_divergence=False)
    assert report.verdict == "diverged"
    (found,) = report.divergences
    assert found.seq == 64
    assert isinstance(found.recorded, TrialSuggested)
    assert isinstance(found.decided, TrialSuggested)
    assert found.recorded.params["General/x"] != found.decided.params["General/x"]
    assert found.recorded_cause == found.decided_cause == 62


@pytest.mark.parametrize("log", [FUTURE, CUT], ids=lambda p: p.stem)
def test_damage_is_raised_or_collected(log: Path) -> None:
    with pytest.raises(DamagedLog):
        redecide(log)
    report = redecide(log, raise_on_divergence=False)
    assert (report.verdict, report.decisions, report.divergences) == ("damaged", 0, ())
    assert report.damage


def test_a_log_that_is_missing_is_a_usage_error_in_any_case(tmp_path: Path) -> None:
    for collect in (True, False):
        with pytest.raises(Usage, match="there is no log"):
            redecide(tmp_path / "none.db", raise_on_divergence=collect)


def test_all_goes_on_behind_a_divergence_and_takes_the_record_as_the_truth() -> None:
    first = redecide(MISSING, raise_on_divergence=False)
    every = redecide(MISSING, raise_on_divergence=False, all=True)
    assert len(first.divergences) == 1
    assert every.divergences[0] == first.divergences[0]
    assert len(every.divergences) > 1
    assert every.decisions > first.decisions


def test_one_altered_decision_is_one_divergence() -> None:
    assert [one.seq for one in redecide(ALTERED, raise_on_divergence=False, all=True).divergences] == [64]


def test_a_divergence_names_the_inputs_that_the_decision_saw() -> None:
    (found,) = redecide(MISSING, raise_on_divergence=False).divergences
    rows = read(MISSING).rows
    assert all(row == rows[row.seq - 1] and row.seq < found.seq for row in found.inputs)
    assert found.decided_cause == found.inputs[-1].seq
    assert {getattr(row.event, "trial", None) for row in found.inputs} == {10}  # whose prune is missing


def test_the_inputs_are_the_last_run_and_those_of_the_trials_concerned() -> None:
    """Seq 41 charges trial 0, whose job ended in the poll of seq 35 to 39; the poll told of others too."""
    rows = read(RUNGS).rows
    assert isinstance(rows[40].event, BudgetUpdated)
    found = divergence.seen(rows, 41, (rows[40].event, None))
    assert [row.seq for row in found][-5:] == [35, 36, 37, 38, 39]
    assert {getattr(row.event, "trial", None) for row in found[:-5]} == {0}
    assert [row.seq for row in found[:-5]] == [10, 13, 16, 21, 30]


# ---------------------------------------------------------------- fingerprints


def elsewhere(**changes: str) -> Callable[[Recorded], Event]:
    """Return the change of a log that was recorded where the fingerprint is ours but for *changes*."""

    def change(row: Recorded) -> Event:
        if isinstance(row.event, SearchCreated | ControllerStarted):
            return msgspec.structs.replace(row.event, fingerprint=fingerprint() | changes)
        return row.event

    return change


IN_ORDER = ["eventhpo", "policy", "optuna", "numpy", "machine", "simd", "blas", "cmaes"]


@pytest.mark.parametrize("name", IN_ORDER)
def test_the_first_difference_in_fingerprint_is_named_in_the_order_of_what_matters(tmp_path: Path, name: str) -> None:
    behind = dict.fromkeys(IN_ORDER[IN_ORDER.index(name) :], "another")
    report = redecide(rewritten(tmp_path / "log.db", MISSING, elsewhere(**behind)), raise_on_divergence=False)
    assert report.fingerprint is not None
    assert report.fingerprint.recorded == fingerprint() | behind
    assert report.fingerprint.here == fingerprint()
    first = report.fingerprint.first
    assert first is not None
    assert (first.name, first.recorded, first.here) == (name, "another", fingerprint().get(name))
    assert report.divergences[0].fingerprint == first
    assert [one.name for one in report.fingerprint.differences() if one.name in IN_ORDER] == list(behind)


def test_the_same_fingerprint_has_no_difference(tmp_path: Path) -> None:
    report = redecide(rewritten(tmp_path / "log.db", RUNGS, elsewhere()))
    assert report.fingerprint is not None
    assert report.fingerprint.first is None


def test_a_divergence_is_compared_with_the_controller_that_recorded_it(tmp_path: Path) -> None:
    """The search was made here, and carried on by a controller elsewhere."""

    def change(row: Recorded) -> Event:
        return elsewhere(**({"optuna": "4.9"} if row.seq > 1 else {}))(row)

    report = redecide(rewritten(tmp_path / "log.db", ALTERED, change), raise_on_divergence=False)
    assert report.fingerprint is not None
    assert report.fingerprint.seq == 3  # its ControllerStarted
    assert report.divergences[0].fingerprint is not None
    assert report.divergences[0].fingerprint.name == "optuna"


def test_another_fingerprint_alone_is_no_divergence(tmp_path: Path) -> None:
    log = rewritten(tmp_path / "log.db", RUNGS, elsewhere(simd="none"))
    assert redecide(log).verdict == "ok"


# ---------------------------------------------------------------- several processes


@pytest.mark.parametrize("go_on", [False, True], ids=["first", "all"])
@pytest.mark.parametrize("log", [ALTERED, MISSING, CUT], ids=lambda p: p.stem)
def test_the_report_is_the_same_whatever_the_number_of_processes(log: Path, go_on: bool) -> None:
    alone = redecide(log, raise_on_divergence=False, all=go_on)
    shared = redecide(log, raise_on_divergence=False, all=go_on, processes=3)
    assert shared == alone
    assert list(render.render_report(shared)) == list(render.render_report(alone))


@pytest.mark.parametrize("go_on", [False, True], ids=["first", "all"])
def test_divergences_of_several_processes_are_those_of_one_in_their_order(tmp_path: Path, go_on: bool) -> None:
    """Every charge of the log is wrong: each process finds some, and each a first one."""

    def change(row: Recorded) -> Event:
        wrong = isinstance(row.event, BudgetUpdated)
        return msgspec.structs.replace(row.event, late=99) if wrong else row.event

    log = rewritten(tmp_path / "log.db", RUNGS, change)
    charges = [row.seq for row in read(log).rows if isinstance(row.event, BudgetUpdated)]
    report = redecide(log, raise_on_divergence=False, all=go_on, processes=3)
    assert [one.seq for one in report.divergences] == (charges if go_on else charges[:1])
    assert report == redecide(log, raise_on_divergence=False, all=go_on)


@pytest.mark.parametrize("of", [1, 2, 3, 7, 50])
def test_the_shares_of_a_log_are_its_checks_each_once(of: int) -> None:
    rows = read(RUNGS).rows
    shares = [
        list(check_prefixes.check_prefixes(rows, share=check_prefixes.WalkShare(number, of))) for number in range(of)
    ]
    every = sorted((checked for share in shares for checked in share), key=lambda checked: checked.seq)
    assert every == list(check_prefixes.check_prefixes(rows))
    assert of == 1 or sum(bool(share) for share in shares) > 1


@pytest.mark.parametrize(
    ("processes", "rows", "useful"), [(1, 174, 1), (3, 174, 3), (1000, 174, 5), (7, 20, 1), (7, 1, 1)]
)
def test_no_process_is_started_that_would_have_no_share(processes: int, rows: int, useful: int) -> None:
    from replay.decide.parallel import useful as count

    assert count(read(RUNGS).rows[:rows], processes) == useful


def test_a_file_in_the_current_folder_hides_nothing(tmp_path: Path) -> None:
    for name in ("replay.py", "optuna.py", "msgspec.py"):
        (tmp_path / name).write_text("raise SystemExit(9)\n")
    code = f"from replay import redecide; redecide({str(RUNGS)!r}, processes=2)"
    env = os.environ | {"PYTHONPATH": str(GOLDEN.parents[1])}
    subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, env=env, check=True)


def test_a_log_that_grows_meanwhile_is_decided_up_to_where_it_was() -> None:
    from replay.decide.parallel import Question, asked

    rows = read(MISSING).rows[:143]
    question = Question(head=Head(143, rows[-1].hash), go_on=True)
    assert [checked.seq for checked in asked(MISSING, question, rows, 2)] == [143]


def test_a_log_that_is_replaced_meanwhile_is_damaged() -> None:
    from replay.decide.parallel import Question, asked

    with pytest.raises(DamagedLog, match="replaced"):
        asked(RUNGS, Question(head=Head(5, "0" * 32)), read(RUNGS).rows, 2)


# ---------------------------------------------------------------- many logs


def test_many_logs_are_one_report_each_in_their_order() -> None:
    with redecide_many([RUNGS, str(OBJECTIVES), STOPPED]) as reports:
        assert [Path(report.path).stem for report in reports] == ["rungs", "objectives", "stopped"]


def test_of_many_logs_the_first_that_diverges_is_raised_or_all_are_collected() -> None:
    seen = []
    with redecide_many([RUNGS, ALTERED, STOPPED]) as reports, pytest.raises(Diverged):
        seen += list(map(str, (next(reports).path, next(reports).path)))
    assert seen == []
    with redecide_many([RUNGS, ALTERED, CUT, STOPPED], raise_on_divergence=False) as reports:
        assert [report.verdict for report in reports] == ["ok", "diverged", "damaged", "ok"]


def test_many_logs_are_read_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each path is asked for when its report is, and of a log that is done no row is kept."""
    from eventhpo.log import verify

    kept: list[weakref.ref[Any]] = []
    examine = verify.examine

    class Rows(list[Recorded]):
        """A list that a weak reference can follow."""

    def followed(path: Path) -> verify.Verification:
        found = examine(path)
        rows = Rows(found.rows)
        kept.append(weakref.ref(rows))
        return msgspec.structs.replace(found, rows=rows)

    monkeypatch.setattr(verify, "examine", followed)
    asked = []

    def paths() -> Any:
        for log in (RUNGS, OBJECTIVES, STOPPED):
            asked.append(log.stem)
            yield log

    with redecide_many(paths()) as reports:
        for n, _ in enumerate(reports, 1):
            gc.collect()
            assert len(asked) == len(kept) == n
            assert [one() for one in kept] == [None] * n


def test_leaving_the_block_ends_the_iterator() -> None:
    with redecide_many([RUNGS, STOPPED]) as reports:
        next(reports)
    assert list(reports) == []


# ---------------------------------------------------------------- whose sampler


ELSEWHERE = ComponentConfig("mine.Sampler", foreign=UserClassConfig("0" * 32, "0" * 32))


def described(rows: Sequence[Recorded], **parts: ComponentConfig) -> list[Recorded]:
    first = rows[0]
    assert isinstance(first.event, SearchCreated)
    other = msgspec.structs.replace(first.event, search=msgspec.structs.replace(first.event.search, **parts))
    return [msgspec.structs.replace(first, event=other), *rows[1:]]


def test_what_is_not_optunas_own_is_not_decided_again_and_counted() -> None:
    rows = described(read(RUNGS).rows, sampler=ELSEWHERE)
    checks = list(check_prefixes.check_prefixes(rows))
    skipped = [checked for checked in checks if checked.skipped]
    assert not [checked.divergence for checked in checks if checked.divergence]
    assert {checked.seq for checked in skipped} == {r.seq for r in rows if isinstance(r.event, TrialSuggested)}
    assert {checked.skipped for checked in skipped} == {"mine.Sampler is not Optuna's own"}


def test_a_suggestion_that_is_not_decided_again_can_still_be_missing() -> None:
    rows = described(read(RUNGS).rows, sampler=ELSEWHERE)
    at = [r.seq for r in rows if isinstance(r.event, TrialSuggested)][3]
    checks = check_prefixes.check_prefixes([*rows[: at - 1], msgspec.structs.replace(rows[at], seq=at)])
    found = next(checked.divergence for checked in checks if checked.divergence)
    assert (found.seq, found.due, found.decided) == (at, "Suggest", None)


def test_a_sampler_is_not_passed_in_where_the_log_names_its_own() -> None:
    with pytest.raises(Usage, match="the log names its sampler, RandomSampler"):
        redecide(RUNGS, sampler=optuna.samplers.RandomSampler())
    with pytest.raises(Usage, match="the log names its pruner, SuccessiveHalvingPruner"):
        redecide(RUNGS, pruner=optuna.pruners.NopPruner())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("mine", "expected module:attribute"),
        ("no_such_module:SAMPLER", "cannot be imported"),
        ("math:SAMPLER", "has no attribute"),
        ("math:pi", "is a float, no instance of BaseSampler"),
        (3, "is a int, no instance of BaseSampler"),
    ],
)
def test_what_is_no_sampler_is_refused(given: Any, said: str) -> None:
    with pytest.raises(Usage, match=said):
        redecide(RUNGS, sampler=given)


def test_an_instance_stays_in_its_process() -> None:
    with pytest.raises(Usage, match="module:attribute"):
        redecide(RUNGS, sampler=optuna.samplers.RandomSampler(), processes=2)


def test_an_error_in_another_process_is_the_same_error_here() -> None:
    with pytest.raises(Usage, match="no_such_module"):
        redecide(RUNGS, sampler="no_such_module:SAMPLER", processes=2)


def test_no_process_at_all_is_refused() -> None:
    with pytest.raises(Usage, match="at least one"):
        redecide(RUNGS, processes=0)


def test_a_sampler_that_fails_today_is_a_divergence_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when another Optuna refuses what a log names: the record goes on to be the truth."""
    first, asked = Answers.first, []

    def failing(self: Answers, action: Any) -> Event | None:
        asked.append(action)
        if len(asked) == 2:
            raise ValueError("no longer supported")
        return first(self, action)

    monkeypatch.setattr(Answers, "first", failing)
    report = redecide(RUNGS, raise_on_divergence=False, all=True)
    (found,) = report.divergences
    assert (found.failed, found.decided) == ("ValueError: no longer supported", None)
    assert "it failed: ValueError: no longer supported" in "\n".join(render.render_report(report))


# ---------------------------------------------------------------- live, and by name


def test_an_unfinished_log_is_decided_again_as_far_as_it_goes(tmp_path: Path) -> None:
    log = tmp_path / "search.db"
    what = search(sampler=ComponentConfig("TPESampler", {"n_startup_trials": 2}), total_max_jobs=5)
    simulate(log, what, lambda trial, *_: Script(points=((1, 0.1 * trial),)))
    assert redecide(log).decisions > 10


def test_a_function_is_its_package_s_name_also_when_its_module_was_imported_first() -> None:
    code = """
import replay.decide.redecide, replay.rebuild
from replay import redecide, rebuild
print(redecide.__name__, rebuild.__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["redecide", "rebuild"]


def test_a_name_that_replay_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'undecide'"):
        _ = replay.undecide  # type: ignore[attr-defined]
    assert all(callable(getattr(replay, name)) for name in replay.__all__)


def test_a_changed_budget_shows_the_field(tmp_path: Path) -> None:
    seqs = []

    def change(row: Recorded) -> Event:
        if isinstance(row.event, BudgetUpdated) and not seqs:
            seqs.append(row.seq)
            return msgspec.structs.replace(row.event, iterations=99)
        return row.event

    log = rewritten(tmp_path / "log.db", RUNGS, change)
    report = redecide(log, raise_on_divergence=False)
    assert report.divergences[0].seq == seqs[0]
    assert "  differs    iterations: recorded 99, decided 3" in list(render.render_report(report))


def test_an_older_number_of_the_rules_is_no_difference_and_a_later_one_is(tmp_path: Path) -> None:
    """A log is decided by the rules that it was created with, so an older number says nothing of this platform."""
    for number, first in ((str(POLICY - 1), None), (str(POLICY), None), (str(POLICY + 1), "policy")):
        report = redecide(rewritten(tmp_path / f"{number}.db", RUNGS, elsewhere(policy=number)))
        assert report.fingerprint is not None
        assert (report.fingerprint.first and report.fingerprint.first.name) == first
