"""Where two searches part, what each had seen, and what is no difference."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from eventhpo.core.fold.events import ClockTicked, JobPruned, JobsContinued, MetricObserved, Recorded, TrialSuggested
from eventhpo.core.search.spec import ComponentConfig, Search
from eventhpo.log.backup import backup
from eventhpo.log.create import create
from eventhpo.log.reader import read
from eventhpo.testing.searches import created, search, simulate
from eventhpo.testing.simulated import START, CutPoint, Script, Scripts
from replay.diff.report import Diff, diff
from replay.diff.text import render_diff
from tests.cli.harness import invoke
from tests.core.rules import OVER_ONE, each, line
from tests.crash.scenarios import SCENARIOS, plain
from tests.crash.test_crash_sweep import crashed, finish, left_alone

WELL = Script(points=line(0.9, 0.8, 0.7))
OTHER_ID = "0ddba11" * 4 + "0000"


def rows(
    folder: Path,
    name: str,
    what: Search,
    scripts: Scripts = plain,
    *,
    cut: CutPoint = lambda *_: 2,
    search_id: str = "",
) -> list[Recorded]:
    """Return the log of a search, by default one of an id of its own."""
    path = folder / f"{name}.db"
    create(path, created(what, search_id or (name.encode().hex() * 32)[:32]), START)
    simulate(path, what, scripts, cut=cut)
    return read(path).rows


def compared(a: Sequence[Recorded], b: Sequence[Recorded]) -> Diff:
    return diff(a, b, ("a.db", "b.db"), ([], []))


def last(found: Diff) -> str:
    return list(render_diff(found))[-1]


# ---------------------------------------------------------------- no difference


def test_two_searches_of_one_definition_are_alike_but_for_keys_ids_and_times(tmp_path: Path) -> None:
    a, b = (rows(tmp_path, name, search()) for name in "ab")
    found = compared(a, b)
    assert [x.hash for x in a] != [x.hash for x in b]
    assert (found.relation, found.parting, found.definitions) == ("two searches", None, [])
    assert found.inputs.same
    assert last(found) == f"verdict   no decision differs in the {found.alike} that both have made"


def test_how_curves_are_cut_into_polls_is_no_difference(tmp_path: Path) -> None:
    pruned = search(pruner=OVER_ONE, max_iteration_per_job=4)
    scripts = each(WELL, Script(points=line(0.9, 0.8, 1.5)), WELL)
    a = rows(tmp_path, "a", pruned, scripts)
    b = rows(tmp_path, "b", pruned, scripts, cut=lambda *_: 1)
    verdicts = [sum(isinstance(x.event, JobsContinued) for x in log) for log in (a, b)]
    assert verdicts[0] != verdicts[1]
    assert compared(a, b).parting is None
    assert compared(a, b).inputs.same


def test_a_kill_is_no_difference(tmp_path: Path) -> None:
    scenario = SCENARIOS["rungs, limit and late points"]()
    alone, points = left_alone(tmp_path, scenario)
    killed = tmp_path / "killed.db"
    assert crashed(killed, scenario, points // 2)
    finish(killed, scenario)
    found = compared(read(alone).rows, read(killed).rows)
    assert found.relation == "a fork"
    assert found.parting is None


@pytest.mark.parametrize("cut", [1, 9, 25])
def test_a_log_and_its_beginning_do_not_part(cut: int, tmp_path: Path) -> None:
    whole = rows(tmp_path, "a", search())
    forth, back = compared(whole[:cut], whole), compared(whole, whole[:cut])
    assert (forth.relation, back.relation) == ("A is the beginning of B", "B is the beginning of A")
    assert (forth.parting, back.parting, forth.common) == (None, None, cut)
    assert compared(whole, whole).relation == "the same log"


# ---------------------------------------------------------------- where they part


def test_another_value_is_named_as_what_was_seen_before_another_verdict(tmp_path: Path) -> None:
    """Trial 1 reports 1.5 in one of them, and is pruned for it."""
    what = search(pruner=OVER_ONE, max_iteration_per_job=3)
    a = rows(tmp_path, "a", what, each(WELL))
    b = rows(tmp_path, "b", what, each(WELL, Script(points=line(0.9, 1.5, 0.7)), WELL))
    found = compared(a, b)
    assert found.parting is not None
    pruned = next(x for x in b if isinstance(x.event, JobPruned))
    assert found.parting.b.seq == pruned.seq
    assert "does not prune trial 1 at its point 2" in found.parting.a.what
    assert "prunes trial 1 at its point 2" in found.parting.b.what
    (first, *_) = found.inputs.differences
    assert (first.how, first.a is not None and first.a.what) == (
        "value",
        "validation/loss = 0.8 at iteration 2 of trial 1",
    )
    assert "they had seen different things before it" in last(found)
    trials = found.by_trial
    assert (trials.first_other_parameters, trials.first_other_outcome) == (None, 1)
    assert trials.outcomes == ("completed with 0.7", "pruned at iteration 2")
    assert last(found).startswith("verdict   they part after")
    mirrored = compared(b, a)
    assert mirrored.parting is not None
    assert (mirrored.parting.a.seq, mirrored.parting.b.seq) == (found.parting.b.seq, found.parting.a.seq)


def test_a_prune_stands_against_the_verdict_that_went_over_the_same_point(tmp_path: Path) -> None:
    """One JobsContinued judges two points of trial 1; the other search prunes it at the first."""
    what = search(pruner=OVER_ONE, max_iteration_per_job=3)
    a = rows(tmp_path, "a", what, each(WELL))
    b = rows(tmp_path, "b", what, each(WELL, Script(points=line(1.5, 0.8, 0.7)), WELL))
    found = compared(a, b)
    assert found.parting is not None
    event = a[found.parting.a.seq - 1].event
    assert isinstance(event, JobsContinued)
    assert [(v.trial, v.judged) for v in event.verdicts] == [(1, 2)]
    assert "does not prune trial 1 at its point 1" in found.parting.a.what


def test_when_the_clock_ticked_is_no_difference(tmp_path: Path) -> None:
    a = rows(tmp_path, "a", search(wall_time_limit=1.0, total_max_jobs=None), each(Script(hangs=True)))
    assert any(isinstance(x.event, ClockTicked) for x in a)
    later = [
        msgspec.structs.replace(x, event=msgspec.structs.replace(x.event, clock=x.event.clock + 1, jobs_clock=9))
        if isinstance(x.event, ClockTicked)
        else x
        for x in a
    ]
    assert compared(a, later).inputs.same


def test_another_order_of_the_same_is_said_to_be_that(tmp_path: Path) -> None:
    """Each trial's points come two at a time in one search; trial 1 is read first, whole, in the other."""
    what = search(num_concurrent_workers=2, total_max_jobs=2)
    long = each(Script(points=line(0.9, 0.8, 0.7, 0.6)))
    a = rows(tmp_path, "a", what, long, cut=lambda trial, *_: 4 if trial else 2)
    b = rows(tmp_path, "b", what, long, cut=lambda trial, *_: 2 if trial else 4)
    found = compared(a, b)
    assert found.parting is not None
    assert "BudgetUpdated of trial 1" in found.parting.a.what
    assert "BudgetUpdated of trial 0" in found.parting.b.what
    assert not found.inputs.same
    assert last(found).endswith("the trials that both have are the same")


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"seed": 8}, "seed"),
        ({"sampler": ComponentConfig("TPESampler", {"n_startup_trials": 1})}, "sampler.name"),
        ({"total_max_jobs": 3}, "total_max_jobs"),
        ({"pruner": OVER_ONE}, "pruner.name"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_they_were_created_with_is_named_where_it_differs(
    changes: dict[str, object], key: str, tmp_path: Path
) -> None:
    a = rows(tmp_path, "a", search())
    b = rows(tmp_path, "b", search(**changes))  # type: ignore[arg-type]
    found = compared(a, b)
    assert key in [one.key for one in found.definitions]
    assert found.parting is not None
    if found.inputs.same:
        assert "they had seen the same; they were created otherwise" in last(found)


def test_a_decision_that_nothing_explains_is_called_that(tmp_path: Path) -> None:
    a = rows(tmp_path, "a", search())
    at = next(n for n, x in enumerate(a) if isinstance(x.event, TrialSuggested) and x.event.trial == 3)
    event = msgspec.structs.replace(a[at].event, params={"General/x": 0.125})
    b = [*a[:at], msgspec.structs.replace(a[at], event=event, hash="0" * 32), *a[at + 1 :]]
    b = [*b[: at + 1], *(msgspec.structs.replace(x, hash="f" * 32) for x in b[at + 1 :])]
    found = compared(a, b)
    assert (found.relation, found.common) == ("a fork", at)
    assert found.parting is not None
    assert found.parting.a.seq == found.parting.b.seq == at + 1
    assert "nothing explains it" in last(found)
    assert (found.by_trial.first_other_parameters, found.alike > 0) == (3, True)


def test_what_is_alike_in_six_digits_is_shown_in_all_of_them() -> None:
    logs = Path(__file__).parents[2] / "fixtures" / "logs"
    said = list(render_diff(compared(read(logs / "rungs.db").rows, read(logs / "must_fail" / "altered.db").rows)))
    assert "          alike in six digits; --json has all of them" in said
    (trials,) = (one for one in said if one.startswith("trials"))
    assert "0.42582222966959327" in trials
    assert "0.4258222296695933," not in trials
    assert trials.endswith("General/x=0.4258222296695933")


def test_an_end_by_the_clock_is_not_blamed_on_the_searches(tmp_path: Path) -> None:
    a = rows(tmp_path, "a", search(total_max_jobs=None, wall_time_limit=1.0), each(Script(hangs=True)))
    ending = next(n for n, x in enumerate(a) if type(x.event).__name__ == "SearchEnding")
    event = msgspec.structs.replace(a[ending].event, reason="compute_time_limit")
    b = [*a[:ending], msgspec.structs.replace(a[ending], event=event, hash="0" * 32)]
    found = compared(a, b)
    assert found.parting is not None
    assert found.parting.on_a_tick
    assert "tick of the clock" in last(found)


def test_a_point_that_only_one_has_seen_is_named(tmp_path: Path) -> None:
    a = rows(tmp_path, "a", search(), each(WELL))
    b = rows(tmp_path, "b", search(), each(WELL, Script(points=line(0.9, 0.8)), WELL))
    found = compared(a, b)
    assert [(d.how, d.a and d.a.what) for d in found.inputs.differences] == [
        ("only A", "validation/loss = 0.7 at iteration 3 of trial 1")
    ]
    observed = ((x.seq, x.event) for x in a if isinstance(x.event, MetricObserved))
    seq = next(seq for seq, event in observed if event.trial == 1 and 3 in event.iterations)
    assert found.inputs.differences[0].a is not None
    assert found.inputs.differences[0].a.seq == seq


# ---------------------------------------------------------------- the command


def test_the_exit_code_says_whether_they_part_and_the_verdict_stands_last(tmp_path: Path) -> None:
    rows(tmp_path, "a", search())
    rows(tmp_path, "b", search(seed=8))
    backup(tmp_path / "a.db", tmp_path / "copy.db")
    alike = invoke("diff", tmp_path / "a.db", tmp_path / "copy.db")
    parts = invoke("diff", tmp_path / "a.db", tmp_path / "b.db")
    assert (alike.exit_code, parts.exit_code) == (0, 1)
    assert alike.stdout.splitlines()[-1] == "verdict   no decision differs: they are the same, row for row"
    assert parts.stdout.splitlines()[-1].startswith("verdict   they part at once, ")
    as_json = invoke("diff", tmp_path / "a.db", tmp_path / "b.db", "--json")
    assert as_json.exit_code == 1
    assert set(json.loads(as_json.stdout)) == set(Diff.__struct_fields__)


@pytest.mark.parametrize("which", ["a", "b"])
def test_of_a_damaged_log_the_verified_part_is_compared_and_the_code_is_3(which: str, tmp_path: Path) -> None:
    for name in "ab":
        rows(tmp_path, name, search())
    with sqlite3.connect(tmp_path / f"{which}.db") as db:
        db.execute("DROP TRIGGER event_is_not_updated")
        db.execute("UPDATE event SET at = at + 1 WHERE seq = 21")
    db.close()
    result = invoke("diff", tmp_path / "a.db", tmp_path / "b.db")
    assert result.exit_code == 3
    assert f"damaged   {which.upper()}: " in result.stdout
    assert f"{which}.db: simulated" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("verdict   no decision differs")
    assert result.stderr.startswith("Error: ")


@pytest.mark.parametrize("command", ["postmortem", "diff"])
def test_a_file_that_is_no_log_is_refused_by_name(command: str, tmp_path: Path) -> None:
    nothing, junk = tmp_path / "nothing.db", tmp_path / "junk.db"
    junk.write_text("not a database, but longer than a header of one\n" * 100)
    for path, code in ((nothing, 2), (junk, 3)):
        result = invoke(command, *([path] if command == "postmortem" else [path, path]))
        assert result.exit_code == code, result.output
        assert path.name in result.stderr
        assert result.stdout == ""
