"""`eventhpo.load`: a log as Python objects and data frames says what the commands say."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

import eventhpo
from eventhpo.core.fold.events import JobPruned, MetricObserved
from eventhpo.core.fold.study_events import PointJudged
from eventhpo.errors import DamagedLog, Usage
from eventhpo.log import reader
from replay.query.decisions import NOT_COMPARED
from tests.cli.harness import data
from tests.query.conftest import GOLDEN_LOGS
from tests.report import logs


def golden_log(name: str) -> Path:
    return next(path for path in GOLDEN_LOGS if path.stem == name)


golden = pytest.mark.parametrize("log", GOLDEN_LOGS, ids=lambda log: log.stem)


@golden
def test_the_trials_are_those_of_top_in_its_order_with_its_values(log: Path) -> None:
    search = eventhpo.load(log)
    ranked = data("top", log, "-k", 1000)
    assert [trial.number for trial in search.top()] == [row["trial"] for row in ranked]
    for place, row in enumerate(ranked, 1):
        trial = search.trials[row["trial"]]
        assert (trial.rank, trial.status) == (place, row["status"])
        told = [row["metrics"].get(objective.name, {}).get("value") for objective in search.objectives]
        assert len(trial.values) == len(told)


@golden
def test_counts_are_those_of_status(log: Path) -> None:
    search, shown = eventhpo.load(log), data("status", log)
    assert search.name == shown["name"]
    assert (search.seq, search.head) == (shown["head"]["seq"], shown["head"]["hash"])
    for status, count in shown["trials"].items():
        if status != "imported":
            assert sum(t.status == status and not t.imported for t in search.trials) == count
    for status, count in shown["jobs"].items():
        assert sum(attempt.status == status for attempt in search.attempts) == count


@golden
def test_each_point_of_a_curve_has_the_event_that_brought_it(log: Path) -> None:
    rows = reader.read(log).rows
    for attempt in eventhpo.load(log).attempts:
        for curve in attempt.curves:
            for iteration, value, seq in zip(curve.iterations, curve.values, curve.seqs, strict=True):
                event = rows[seq - 1].event
                if isinstance(event, MetricObserved):
                    pairs = [(i, float(v)) for i, v in zip(event.iterations, event.values, strict=True)]
                    assert any(i == iteration and (v == value or math.isnan(v)) for i, v in pairs)
                elif isinstance(event, PointJudged):
                    assert (event.step, event.value) == (iteration, value)


def test_parameters_have_their_own_types(search_log: Path) -> None:
    types = {type(trial.params["General/activation"]) for trial in eventhpo.load(search_log).trials}
    assert types == {str, type(None), int, float}


def test_at_is_the_search_of_that_event_or_time(search_log: Path) -> None:
    search = eventhpo.load(search_log)
    for seq in (1, search.seq // 2, search.seq):
        earlier = search.at(seq)
        assert earlier.seq == seq
        assert len(earlier.trials) == sum(trial.seq <= seq for trial in search.trials)
    assert search.at(search.at(50).recorded).seq >= 50
    assert search.at(search.recorded.isoformat()).seq == search.seq
    with pytest.raises(Usage, match="lies outside the log"):
        search.at(search.seq + 1)


def test_a_prune_has_the_value_that_it_needed_and_by_how_much_it_missed_it(search_log: Path) -> None:
    search = eventhpo.load(search_log)
    pruned = [verdict for verdict in search.verdicts if verdict.verdict == "prune"]
    rows = reader.read(search_log).rows
    assert [v.seq for v in pruned] == [row.seq for row in rows if isinstance(row.event, JobPruned)]
    for verdict in pruned:
        assert isinstance(verdict.needed, float)
        assert isinstance(verdict.margin, float)
        assert verdict.margin < 0
        assert "MedianPruner" in verdict.reason


@golden
def test_every_verdict_of_the_log_has_a_row_and_none_differs(log: Path) -> None:
    verdicts = eventhpo.load(log).verdicts
    rows = reader.read(log).rows
    prunes = sum(
        isinstance(row.event, JobPruned) or (isinstance(row.event, PointJudged) and row.event.prune is True)
        for row in rows
    )
    assert sum(verdict.verdict == "prune" for verdict in verdicts) == prunes
    assert [verdict.reason for verdict in verdicts if "DIFFERS" in verdict.reason] == []


def test_verdicts_are_compared_up_to_a_number_of_trials_and_prunes_always(
    search_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = eventhpo.load(search_log).verdicts
    monkeypatch.setattr("replay.query.decisions.MOST_COMPARED", 10)
    after = eventhpo.load(search_log).verdicts
    assert [v for v in after if v.verdict == "prune"] == [v for v in before if v.verdict == "prune"]
    assert any(v.reason == NOT_COMPARED for v in after)
    assert all(v.verdict == "go on" for v in after if v.reason == NOT_COMPARED)


def test_trials_of_another_study_are_marked_and_have_their_curve() -> None:
    search = eventhpo.load(golden_log("by_hand"))
    imported = [trial for trial in search.trials if trial.imported]
    assert imported
    assert all(trial.rank is None and not trial.attempts for trial in imported)
    assert any(trial.curve is not None for trial in imported)


def test_a_damaged_log_is_refused(search_log: Path, tmp_path: Path) -> None:
    log = tmp_path / "cut.db"
    shutil.copy(search_log, log)
    log.write_bytes(log.read_bytes()[:-8192])
    with pytest.raises(DamagedLog):
        eventhpo.load(log)
    with pytest.raises(Usage, match="there is no log"):
        eventhpo.load(tmp_path / "none.db")


# ---------------------------------------------------------------- data frames


@golden
def test_each_data_frame_has_a_row_for_each_object(log: Path) -> None:
    search = eventhpo.load(log)
    points = sum(len(curve.values) for attempt in search.attempts for curve in attempt.curves)
    lengths = {
        "trials": len(search.trials),
        "attempts": len(search.attempts),
        "curves": points,
        "decisions": len(search.decisions),
    }
    assert {kind: len(search.to_dataframe(kind)) for kind in lengths} == lengths  # type: ignore[arg-type]


def test_columns_have_the_types_of_their_values(search_log: Path) -> None:
    frame = eventhpo.load(search_log).to_dataframe()
    assert frame["params_General/lr"].dtype == "float64"
    assert frame["params_General/width"].dtype == "int64"
    assert frame["value"].dtype == "float64"
    assert frame["rank"].dtype == "int64"
    assert frame["suggested"].dtype == "datetime64[us, UTC]"
    assert list(frame.columns[:4]) == ["number", "status", "rank", "value"]


def test_whole_numbers_stay_whole_where_some_are_missing() -> None:
    assert eventhpo.load(golden_log("decided")).to_dataframe()["params_depth"].dtype == pd.Int64Dtype()
    assert eventhpo.load(golden_log("aborted")).to_dataframe()["rank"].dtype == pd.Int64Dtype()


def test_several_objectives_have_a_column_each(tmp_path: Path) -> None:
    search = eventhpo.load(logs.several_objectives(tmp_path / "two.db"))
    frame = search.to_dataframe()
    assert [f"values_{o.name}" for o in search.objectives] == [c for c in frame.columns if c.startswith("values_")]
    assert "value" not in frame.columns


def test_an_unknown_data_frame_is_refused(search_log: Path) -> None:
    with pytest.raises(Usage, match="there are trials, attempts, curves, decisions"):
        eventhpo.load(search_log).to_dataframe("trial")  # type: ignore[arg-type]


def test_without_pandas_the_message_says_what_to_install(search_log: Path) -> None:
    code = (
        "import sys; sys.modules['pandas'] = None\n"
        "import eventhpo\n"
        f"search = eventhpo.load({str(search_log)!r})\n"
        "print(len(search.trials))\n"
        "try: search.to_dataframe()\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "24",
        "to_dataframe needs pandas, which is not installed: pip install 'eventhpo[pandas]', in a clone "
        "pip install -e '.[pandas]'",
    ]


# ---------------------------------------------------------------- notebooks


def test_a_notebook_shows_the_best_trials_and_the_history(search_log: Path) -> None:
    search = eventhpo.load(search_log)
    html = search._repr_html_()
    best = search.best
    assert best is not None
    assert f"<td>{best.number}</td>" in html
    assert html.count("<tr>") == 11
    assert "<svg" in html


def test_names_of_a_log_stay_text_in_a_notebook(tmp_path: Path) -> None:
    search = eventhpo.load(logs.hostile(tmp_path / "search.db"))
    for shown in (search._repr_html_(), repr(search)):
        assert "\x1b" not in shown
    assert "<script" not in search._repr_html_()
    assert "<img" not in search._repr_html_()


@pytest.mark.parametrize("make", logs.ODD)
def test_an_odd_log_can_be_loaded_and_shown(make, tmp_path: Path) -> None:
    search = eventhpo.load(make(tmp_path / "search.db"))
    assert repr(search).startswith("<")
    assert search._repr_html_().startswith("<p>")
    assert len(search.to_dataframe()) == len(search.trials)


def test_times_are_utc(search_log: Path) -> None:
    search = eventhpo.load(search_log)
    assert search.recorded.tzinfo is UTC
    assert search.trials[0].suggested <= search.recorded
    assert isinstance(search.attempts[0].started, datetime)
