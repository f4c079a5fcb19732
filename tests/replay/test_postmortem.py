"""What a post-mortem says of a search, and what it does not claim."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from eventhpo.core.fold.events import ControllerStarted, JobCreated, JobPruned, LimitsChanged, Recorded, StopAsked
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.projection import Projection, project
from eventhpo.core.fold.state import State
from eventhpo.core.search.spec import LimitChanges
from eventhpo.log import lease, paths
from eventhpo.log.backup import backup
from eventhpo.log.reader import read
from eventhpo.testing.searches import search, simulate
from eventhpo.testing.simulated import Script
from replay.diff.report import Diff
from replay.next_step import what_next
from replay.postmortem.files_on_disk import FilesOnDisk, look
from replay.postmortem.report import Postmortem, postmortem
from replay.postmortem.slots import SlotTime, idle_reason, use
from replay.postmortem.text import render_postmortem
from tests.cli.harness import data, ended, frozen, invoke
from tests.core.rules import OVER_ONE, Hand, each, line, observed
from tests.core.rules import ended as over
from tests.core.worlds import controlled, interrupted_at
from tests.crash.scenarios import SCENARIOS, plain
from tests.crash.test_crash_sweep import crashed, finish, left_alone
from tests.waiting import eventually

GOLDEN = Path(__file__).parents[2] / "fixtures" / "logs"
AT_REST = FilesOnDisk(holder=None, lock_file=True, wal=False, at_rest=True, free=1 << 40)


def made(path: Path, name: str) -> list[Recorded]:
    """Return the rows of a scenario that ran to its end."""
    finish(path, SCENARIOS[name]())
    return read(path).rows


def told(rows: Sequence[Recorded], scene: FilesOnDisk = AT_REST) -> str:
    return "\n".join(render_postmortem(*postmortem(rows, scene)))


def found(rows: Sequence[Recorded], scene: FilesOnDisk = AT_REST) -> Postmortem:
    return postmortem(rows, scene)[0]


def moved(rows: Sequence[Recorded], at: int, **fields: object) -> list[Recorded]:
    """Return *rows* with another event at index *at*; their hashes stay as they were."""
    event = msgspec.structs.replace(rows[at].event, **fields)
    return [*rows[:at], msgspec.structs.replace(rows[at], event=event), *rows[at + 1 :]]


# ---------------------------------------------------------------- what must be said of which search

SAID = {
    "rungs, limit and late points": ("ended       finished: budget", "after a prune", "after the iteration limit"),
    "failures and retries": ("retried     trial 1, attempt 1, after one that was failed",),
    "lost and back": (
        "lost        the job of trial 0: it lost; it came back",
        "lost        the job of trial 1, attempt 1",
        "more jobs than slots",
    ),
    "refused effects": (
        "failing     draft of 2 jobs failed 3 times, 1 in doubt, at most 2 in a row over 5.0 s, waits up to 2.0 s",
        "failing     poll of 1 job failed 2 times",
        "held, back-off",
    ),
    "several objectives": ("improving   not asked",),
    "all fail": ("ended       finished: failures", "improving   never", "a larger --max-failed-trials"),
    "space used up": ("ended       finished: space", "every point of the space has its trial"),
    "compute limit": ("ended       finished: compute_time_limit", "a larger --compute-time-limit"),
    "wall limit": ("ended       finished: wall_time_limit", "a larger --wall-time-limit"),
    "target": ("ended       finished: target_value", "another --target-value"),
    "patience": ("ended       finished: patience", "completed since without a gain", "a larger --patience"),
    "stopped in the middle": ("ended       stopped: stop", "--reopen takes it up again"),
    "a run stopped with its jobs": ("ended well, interrupted: a signal", "took up 3 jobs", "3 jobs unwatched"),
    "imported": ("5 imported",),
    "by hand": ("idle, by hand",),
    "a user's points": ("repeats", "1 trial whose point an earlier trial has"),
}


@pytest.mark.parametrize("name", SAID)
def test_what_happened_is_said(name: str, tmp_path: Path) -> None:
    said = told(made(tmp_path / "search.db", name))
    assert [part for part in SAID[name] if part not in said] == [], said


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_beginning_of_a_log_can_be_told_and_its_slot_time_adds_up(name: str, tmp_path: Path) -> None:
    rows = made(tmp_path / "search.db", name)
    for n in {*range(1, len(rows), 11), len(rows)}:
        one, state = postmortem(rows[:n], AT_REST)
        assert list(render_postmortem(one, state))
        slots = one.slots
        assert sum(slots.held.values()) + sum(slots.idle.values()) == slots.total + slots.beyond
        spent = one.spending.spent
        assert sum(share.iterations for share in spent.parts.values()) == spent.used


def test_the_point_of_an_aborted_trial_is_free_again_and_no_repeat(tmp_path: Path) -> None:
    rows = made(tmp_path / "search.db", "a run stopped with its jobs")
    assert found(rows).trials["aborted"]
    assert found(rows).spending.repeats.trials == []


# ---------------------------------------------------------------- how it ended


def test_a_record_that_stops_names_its_last_row_and_what_came_next_and_claims_no_cause(tmp_path: Path) -> None:
    rows = made(tmp_path / "search.db", "one worker")
    cut = next(n for n, row in enumerate(rows, 1) if isinstance(row.event, JobCreated))
    one = found(rows[:cut])
    assert one.end.how == "record stops"
    assert one.end.behind == f"seq {cut}, JobCreated of trial 0"
    assert one.end.before == one.next.what == "create the job of trial 0"
    assert "kill -9, a crash, a full disk and the loss of power" in one.end.unknown[0]
    assert any("whether what came next took place" in said for said in one.end.unknown)
    assert not any("took place" in said for said in found(rows[: cut - 1]).end.unknown)


def test_a_kill_is_placed_between_two_rows_and_the_next_controller_takes_the_jobs_up(tmp_path: Path) -> None:
    scenario = SCENARIOS["rungs, limit and late points"]()
    _, points = left_alone(tmp_path, scenario)
    path = tmp_path / "search.db"
    assert crashed(path, scenario, points // 2)
    dead = len(read(path).rows)
    killed = found(read(path).rows, look(path))
    assert killed.end.how == "record stops"
    assert "nobody closed it, as after kill -9" in killed.end.evidence[0]
    finish(path, scenario)
    first, second = found(read(path).rows, look(path)).controllers
    assert (first.how, first.last, second.first) == ("record stops", dead, dead + 1)
    assert first.came_next == killed.end.before != ""
    assert first.gap is not None
    assert second.took_up
    assert f"and seq {dead + 1}, the next ControllerStarted" in told(read(path).rows)


def test_a_controller_that_ended_itself_on_an_error_is_told_from_a_killed_one(tmp_path: Path) -> None:
    def broken(trial: int, attempt: int, params: object) -> Script:
        if trial == 2:
            raise OSError(28, "No space left on device")
        return Script(points=line(1.0, 0.5))

    path = tmp_path / "search.db"
    with pytest.raises(OSError, match="No space"):
        simulate(path, search(), broken)
    one = found(read(path).rows, look(path))
    assert one.end.how == "record stops"
    assert "ends itself on an error" in one.end.evidence[0]


def test_a_copy_without_its_write_ahead_log_may_lack_rows_and_says_so(tmp_path: Path) -> None:
    scenario = SCENARIOS["one worker"]()
    _, points = left_alone(tmp_path, scenario)
    path, copy = tmp_path / "search.db", tmp_path / "copy.db"
    assert crashed(path, scenario, points // 2)
    shutil.copy(path, copy)
    one = found(read(copy).rows, look(copy))
    assert len(read(copy).rows) < len(read(path).rows)
    assert "copied without its write-ahead log" in one.end.evidence[0]


def test_of_a_copy_it_cannot_be_told_whether_its_controller_still_runs(tmp_path: Path) -> None:
    path, copy = tmp_path / "search.db", tmp_path / "copy.db"
    scenario = SCENARIOS["one worker"]()
    assert crashed(path, scenario, 12)
    backup(path, copy)
    one = found(read(copy).rows, look(copy))
    assert "one quiet file" in one.end.evidence[0]
    assert any("whether it still runs elsewhere" in said for said in one.end.unknown)
    assert not any("whether it still runs" in said for said in found(read(path).rows, look(path)).end.unknown)


def test_a_full_disk_is_named_where_the_log_lies_on_one(tmp_path: Path) -> None:
    rows = made(tmp_path / "search.db", "one worker")
    full = msgspec.structs.replace(AT_REST, free=0)
    assert any("full now" in said for said in found(rows[:20], full).end.evidence)
    assert not found(rows, full).end.evidence, "a search that is over needed no more room"


@pytest.mark.parametrize("jobs", ["leave", "abort"])
def test_an_interrupted_run_ended_well_and_says_what_the_next_one_does(jobs: str, tmp_path: Path) -> None:
    stop = StopAsked(scope="run", jobs="abort" if jobs == "abort" else "leave", why="SIGTERM")
    log = controlled(tmp_path / "search.db", search(), plain, make=interrupted_at(12, stop))
    one = found(log.rows)
    assert one.end.how == "interrupted"
    assert "SIGTERM" in told(log.rows)
    assert one.next.action != "Rest"
    assert one.next.way_on.startswith("eventhpo resume")


def test_a_run_that_was_to_abort_its_jobs_and_died_in_it_did_not_end_well(tmp_path: Path) -> None:
    stop = StopAsked(scope="run", jobs="abort", why="stop()")
    log = controlled(tmp_path / "search.db", search(), plain, make=interrupted_at(12, stop))
    (asked,) = log.rows_of(StopAsked)
    assert found(log.rows[: asked.seq]).end.how == "record stops"


def test_a_lost_lease_is_told_from_a_record_that_stops(tmp_path: Path) -> None:
    stop = StopAsked(scope="run", jobs="leave", why="SIGTERM")
    controlled(tmp_path / "search.db", search(), plain, make=interrupted_at(12, stop))
    rows = controlled(tmp_path / "search.db", search(), plain).rows
    second = next(n for n, row in enumerate(rows) if isinstance(row.event, ControllerStarted) and row.epoch == 2)
    assert found(rows).controllers[0].how == "interrupted"
    taken = found(moved(rows, second, took_over=True, pid=77))
    assert taken.controllers[0].how == "lease lost"
    assert taken.controllers[0].why == "taken over by controller 77 on simulated"
    assert taken.controllers[1].took_over


@pytest.mark.parametrize("gap", [True, False], ids=["in a gap", "watched"])
def test_a_prune_that_came_too_late_because_its_job_ended_in_a_gap_is_counted(gap: bool) -> None:
    """The rule is the same in both: what the job has really reached counts. Only the gap cost the prune."""
    hand = Hand(search(pruner=OVER_ONE, num_concurrent_workers=2, total_max_jobs=2, max_iteration_per_job=9))
    hand.poll(observed(0, 0, line(0.5)), observed(1, 0, line(0.5)))
    if gap:
        hand.start()
    late = line(2.0, 2.0, start=2)  # the pruner objects to both
    hand.poll(observed(0, 0, late, start=1), over(0), observed(1, 0, late, start=1))
    assert [e.trial for e in hand.log().of(JobPruned)] == [1]
    assert hand.log().ends()[0][0] == "completed"
    said = found(hand.rows)
    assert [one.gap.prunes_lost for one in said.controllers if one.gap is not None] == ([1] if gap else [])
    assert ("1 job ended in it, too early for a prune" in told(hand.rows)) == gap


def test_a_prune_at_the_limit_is_too_late_in_any_case_and_no_gap_cost_it() -> None:
    hand = Hand(search(pruner=OVER_ONE, num_concurrent_workers=1, total_max_jobs=2, max_iteration_per_job=2))
    hand.poll(observed(0, 0, line(0.5)))
    hand.start()
    hand.poll(observed(0, 0, line(2.0, start=2), start=1), over(0))
    assert [one.gap.prunes_lost for one in found(hand.rows).controllers if one.gap is not None] == [0]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"boot": "another"}, "the machine was restarted meanwhile"),
        ({"host": "gpu-7", "boot": "another"}, "then on another host, gpu-7"),
    ],
    ids=["restart", "another host"],
)
def test_a_gap_says_whether_the_machine_was_another_or_restarted(
    fields: dict[str, str], says: str, tmp_path: Path
) -> None:
    stop = StopAsked(scope="run", jobs="leave", why="SIGTERM")
    controlled(tmp_path / "search.db", search(), plain, make=interrupted_at(12, stop))
    rows = controlled(tmp_path / "search.db", search(), plain).rows
    second = next(n for n, row in enumerate(rows) if isinstance(row.event, ControllerStarted) and row.epoch == 2)
    assert says in told(moved(rows, second, **fields))
    assert "restarted" not in told(rows)
    assert "another host" not in told(rows)


def test_an_epoch_that_only_wrote_a_request_is_no_controller_that_died(tmp_path: Path) -> None:
    stop = StopAsked(scope="run", jobs="leave", why="SIGTERM")
    path = tmp_path / "search.db"
    asks = LimitsChanged(changes=LimitChanges(total_max_jobs=7), request="r1")
    left = controlled(path, search(), plain, make=interrupted_at(6, stop))
    assert any(attempt.live for trial in left.state.trials for attempt in trial.attempts)
    from eventhpo.log.writer import open_writer

    started = ControllerStarted(host="here", pid=2, boot="boot", clock=0, fingerprint={})
    writer, rows = open_writer(path, started, rows_at(path))
    writer.record(asks, None, rows[-1].at)
    writer.commit()
    writer.close()
    one = found(read(path).rows)
    assert [c.how for c in one.controllers] == ["interrupted", "request"]
    assert one.controllers[-1].took_up == []
    assert one.end.how == "interrupted"


def rows_at(path: Path) -> int:
    return read(path).rows[-1].at


# ---------------------------------------------------------------- improving


@pytest.mark.parametrize(
    ("ends", "last", "since", "lately"),
    [
        ((5, 4, 3, 2, 1, 0), 5, 0, True),
        ((0, 1, 2, 3, 4, 5), 0, 5, False),
        ((5, 1, 2, 3, 4, 0), 5, 0, True),
        ((5, 4, 3, 3, 3, 3), 2, 3, False),
    ],
    ids=["always", "never again", "at the end", "a plateau"],
)
def test_whether_it_was_still_improving(
    ends: tuple[int, ...], last: int, since: int, lately: bool, tmp_path: Path
) -> None:
    scripts = each(*(Script(points=line(9.0, end)) for end in ends))
    simulate(tmp_path / "search.db", search(max_iteration_per_job=2), scripts)
    progress = found(read(tmp_path / "search.db").rows).progress
    assert progress is not None
    assert (progress.gains[-1].trial, progress.since, progress.in_last_third) == (last, since, lately)


# ---------------------------------------------------------------- the command


def test_of_a_damaged_log_the_verified_part_is_told_and_the_code_is_3(tmp_path: Path) -> None:
    path = tmp_path / "search.db"
    rows = made(path, "one worker")
    with sqlite3.connect(path) as db:
        db.execute("DROP TRIGGER event_is_not_updated")
        db.execute("UPDATE event SET at = at + 1 WHERE seq = 21")
    db.close()
    result = invoke("postmortem", path)
    assert result.exit_code == 3
    lines = result.stdout.splitlines()
    assert lines[0].startswith("damaged ")
    assert "the hash of seq 21" in result.stdout
    assert "all below is about the verified part, 20 rows" in result.stdout
    assert f"\n            after seq 20, {type(rows[19].event).__name__}" in result.stdout
    assert "\nended       not known" in result.stdout
    assert len(result.stderr.splitlines()) == 1


def test_a_file_that_lost_no_row_is_told_to_its_end_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "search.db"
    made(path, "one worker")
    with sqlite3.connect(path) as db:
        db.execute("DROP TRIGGER event_is_not_updated")
    db.close()
    result = invoke("postmortem", path)
    assert result.exit_code == 3
    assert result.stdout.startswith("damaged     file: missing: event_is_not_updated")
    assert "\nended       finished: budget" in result.stdout


def test_who_takes_the_log_up_just_now_is_named(tmp_path: Path) -> None:
    rows = made(tmp_path / "search.db", "one worker")
    starting = msgspec.structs.replace(AT_REST, holder=lease.Holder("gpu-7", 4121, None))
    one = found(rows[:20], starting)
    assert one.end.how == "record stops"
    assert one.end.evidence[0] == "controller 4121 on gpu-7 (starting) is taking it up just now"


def test_a_tail_that_was_cut_off_is_said(tmp_path: Path) -> None:
    path = tmp_path / "search.db"
    made(path, "one worker")
    with sqlite3.connect(path) as db:
        db.execute("DROP TRIGGER event_is_not_deleted")
        db.execute("DELETE FROM event WHERE seq > 30")
    db.close()
    result = invoke("postmortem", path, "--json")
    assert result.exit_code == 3
    assert '"how": "cut off"' in result.stdout
    assert "lost its tail" in result.stdout


@pytest.mark.parametrize("log", sorted(GOLDEN.glob("*.db")), ids=lambda p: p.stem)
def test_golden_logs_are_told_in_json_too_and_nothing_is_left_beside_them(log: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(log, tmp_path))
    said = data("postmortem", copy)
    assert said["end"]["how"] in ("finished", "stopped")
    assert set(said) == set(Postmortem.__struct_fields__)
    assert invoke("postmortem", copy).exit_code == 0
    assert [p.name for p in tmp_path.iterdir()] == [copy.name]


@pytest.mark.parametrize(("command", "shown"), [("postmortem", Postmortem), ("diff", Diff)])
def test_every_field_of_the_json_is_documented(command: str, shown: type[msgspec.Struct]) -> None:
    from tests.cli.test_cli_docs import SECTIONS

    named = set(re.findall(r"`(\w+)`", SECTIONS[command]))
    assert set(shown.__struct_fields__) - named == set()


def test_neither_command_loads_optuna(tmp_path: Path) -> None:
    import subprocess
    import sys

    log = str(GOLDEN / "rungs.db")
    code = (
        "import sys\nfrom eventhpo.cli import main\n"
        f"for words in (['postmortem', {log!r}], ['diff', {log!r}, {log!r}]):\n"
        "    main(words, standalone_mode=False)\n"
        "assert not {'optuna', 'clearml'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_a_live_controller_is_not_dead_and_a_frozen_one_loses_its_lease(place) -> None:  # type: ignore[no-untyped-def]
    child = place.running()
    live = data("postmortem", place.log)
    assert live["end"]["how"] == "running"
    assert live["controllers"][-1]["pid"] == child.pid
    frozen(child)
    other = place.start("resume", "search.db", "--take-over")
    eventually(lambda: len(place.of(ControllerStarted)) == 2, "the take-over")
    place.release()
    ended(other)
    eventually(lambda: lease.holder(place.log) is None, "the end of the search")
    said = data("postmortem", place.log)
    assert [one["how"] for one in said["controllers"]] == ["lease lost", "finished"]
    assert said["controllers"][0]["why"].startswith(f"taken over by controller {other.pid}")
    assert paths.lock(place.log).exists()


# ---------------------------------------------------------------- a clock that was set


def test_a_clock_that_was_set_between_two_controllers_makes_no_gap(tmp_path: Path) -> None:
    path, hour = tmp_path / "search.db", 3_600_000_000
    stop = StopAsked(scope="run", jobs="leave", request="r1")
    what, jobs = search(total_max_jobs=3), lambda *_: Script(points=((1, 0.5), (2, 0.4)))
    steps = simulate(path, what, jobs, asks=[(9, stop)], set_by=lambda steps: 0).steps
    simulate(path, what, jobs, set_by=lambda now: hour if now >= steps else 0)
    first, second = found(read(path).rows).controllers
    assert first.gap is not None
    assert second.began - first.ended >= hour
    assert 0 <= first.gap.microseconds < hour


def test_failures_in_a_row_last_as_long_as_they_last_whatever_the_clock_is_set_to(tmp_path: Path) -> None:
    what = search(total_max_jobs=1)
    script = Script(points=((1, 0.5),), refusals={"draft": 3})
    lasting = []
    for name, set_by in (("still", lambda steps: 0), ("set", lambda steps: 3_600_000_000 * (steps % 2))):
        simulate(tmp_path / f"{name}.db", what, lambda *_: script, set_by=set_by)
        (failures,) = found(read(tmp_path / f"{name}.db").rows).trouble.failures
        lasting.append(failures.lasting)
    assert lasting[0] == lasting[1] > 0


@pytest.mark.parametrize(
    ("limits", "options"),
    [
        ({"total_max_jobs": 9, "max_trials": 3}, "a larger --max-trials"),
        ({"total_max_jobs": 3}, "a larger --total-max-jobs"),
        ({"total_max_jobs": 3, "max_trials": 3}, "a larger --total-max-jobs and a larger --max-trials"),
    ],
)
def test_the_way_on_names_the_limits_that_still_hold(limits: dict[str, int], options: str, tmp_path: Path) -> None:
    what = search(num_concurrent_workers=1, **limits)
    simulate(tmp_path / "s.db", what, lambda *_: Script(points=((1, 0.5),)))
    assert what_next(fold(read(tmp_path / "s.db").rows)).way_on == f"eventhpo resume: {options} reopens it"


ROOT = Path(__file__).parents[2]


class SlotTimeByItsDefinition(Projection):
    """Slot time added up from all live jobs at each row."""

    def __init__(self) -> None:
        self.held: Counter[str] = Counter()
        self.idle: Counter[str] = Counter()
        self.by_slot: Counter[int] = Counter()
        self.total = 0

    def before(self, state: State, row: Recorded) -> None:
        time = row.at - state.last_at
        if state.epoch == 0 or time <= 0 or state.finished is not None:
            return
        gap = isinstance(row.event, ControllerStarted)
        live = [a for t in state.active.values() for a in t.attempts if a.live]
        workers = state.limits.num_concurrent_workers
        self.total += workers * time
        for attempt in live:
            self.held["unwatched" if gap else use(attempt)] += time
        for slot in {attempt.slot for attempt in live}:
            self.by_slot[slot] += time
        if workers > len(live):
            returned = any(attempt.returned for attempt in live)
            reason = "no controller" if gap else idle_reason(state, row.event, returned=returned)
            self.idle[reason] += (workers - len(live)) * time


@pytest.mark.parametrize("log", sorted((ROOT / "fixtures" / "logs").glob("*.db")), ids=lambda log: log.stem)
def test_slot_time_is_that_of_its_definition_on_each_golden_log(log: Path) -> None:
    counted, defined = SlotTime(), SlotTimeByItsDefinition()
    project(read(log).rows, counted, defined)
    slots = counted.close()
    assert slots.total == defined.total
    assert slots.held == {name: time for name, time in defined.held.items() if time}
    assert slots.idle == {name: time for name, time in defined.idle.items() if time}
    assert slots.by_slot == {slot: time for slot, time in defined.by_slot.items() if time}
