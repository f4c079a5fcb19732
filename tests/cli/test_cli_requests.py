"""The folder of requests: what is taken, what is refused, and that nothing in it can end a search."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import msgspec
import pytest

from eventhpo.cli import arguments
from eventhpo.controller.controller import opened
from eventhpo.controller.host import this_machine
from eventhpo.controller.request_files import BATCH, SIZE, FileRequests
from eventhpo.controller.requests import EnqueueRequest, LimitsRequest, StopRequest, accepted, encode, limit_kind, point
from eventhpo.controller.send_request import ask, ask_holder
from eventhpo.core.fold.events import ControllerStarted, LimitsChanged, PointEnqueued, RequestRefused, StopAsked
from eventhpo.core.fold.evolve import fold
from eventhpo.core.search.spec import (
    ComponentConfig,
    DiscreteParameterRange,
    LimitChanges,
    Objective,
    UniformIntegerParameterRange,
)
from eventhpo.errors import Usage
from eventhpo.log import lease, paths, reader
from eventhpo.log.create import create
from eventhpo.testing.searches import created
from eventhpo.testing.simulated import START, Script, SimulatedClock, SimulatedJobs
from tests.cli.harness import ended, scripted, small
from tests.waiting import eventually

POINT = EnqueueRequest(params={"General/lr": 0.5})


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The log of a search that has not begun."""
    path = tmp_path / "search.db"
    create(path, created(small()), START)
    return path


def put(log: Path, name: str, content: bytes) -> Path:
    folder = paths.requests(log)
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    return path


def request_id(n: int = 0) -> str:
    return f"{n:032x}"


def carried_on(log: Path, requests: FileRequests | None = None, script=scripted):
    """Run the search on simulated jobs, with the requests beside its log."""
    clock = SimulatedClock()

    def jobs_for(state):
        clock.attach(state)
        return SimulatedJobs(log.with_suffix(".ledger"), script, clock)

    with opened(log, jobs_for, clock, this_machine(), requests=requests or FileRequests(log)) as controller:
        controller.run()
        return controller.state


def of(log: Path, kind):
    return [row.event for row in reader.read(log).rows if isinstance(row.event, kind)]


# ---------------------------------------------------------------- the controller's side


def test_a_request_is_recorded_with_its_id_and_its_file_deleted(fresh):
    path = put(fresh, f"{request_id(7)}.json", encode(POINT))
    state = carried_on(fresh)
    [enqueued] = of(fresh, PointEnqueued)
    assert (enqueued.params, enqueued.request) == ({"General/lr": 0.5}, request_id(7))
    assert not path.exists()
    assert state.trials[1].params["General/lr"] == 0.5


def test_a_known_request_is_deleted_unread(fresh):
    put(fresh, f"{request_id()}.json", encode(POINT))
    state = carried_on(fresh)
    again = put(fresh, f"{request_id()}.json", encode(POINT))
    requests = FileRequests(fresh)
    assert list(requests.read(state)) == []
    assert not again.exists()


def test_a_stop_names_the_controller_that_it_is_for_and_any_other_deletes_it_unread(fresh):
    meant = put(fresh, f"{request_id(1)}.json", encode(StopRequest(epoch=2)))
    state = carried_on(fresh)
    assert state.finished.reason == "budget"
    assert not meant.exists()
    assert of(fresh, StopAsked) == of(fresh, RequestRefused) == []


def test_a_stop_for_this_controller_stops_the_search(fresh):
    put(fresh, f"{request_id(1)}.json", encode(StopRequest(epoch=1)))
    assert carried_on(fresh).finished.state == "stopped"


BAD = {
    "no JSON": b"{",
    "another type": b'{"type":"delete"}',
    "no type": b'{"epoch":1}',
    "a field too many": b'{"type":"stop","epoch":1,"really":true}',
    "a wrong type": b'{"type":"stop","epoch":"1"}',
    "not UTF-8": b'{"type":"enqueue","params":{"General/lr":"\xff"}}',
    "half a character": b'{"type":"enqueue","params":{"General/lr":"\\ud800"}}',
    "deep": b"[" * 50_000,
    "large": b" " * (SIZE + 1),
    "empty": b"",
    "a number without end": b'{"type":"enqueue","params":{"General/lr":' + b"9" * 400 + b"}}",
    "NaN": b'{"type":"enqueue","params":{"General/lr":NaN}}',
    "out of range": encode(EnqueueRequest(params={"General/lr": 5.0})),
    "no parameter": encode(EnqueueRequest(params={})),
    "a limit that cannot be": encode(LimitsRequest(changes=LimitChanges(total_max_jobs=-1))),
    "no limit": encode(LimitsRequest(changes=LimitChanges())),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_a_request_that_cannot_be_taken_is_refused_deleted_and_ends_nothing(fresh, content):
    path = put(fresh, f"{request_id()}.json", content)
    state = carried_on(fresh)
    assert state.finished.reason == "budget"
    assert [event.request for event in of(fresh, RequestRefused)] == [request_id()]
    assert of(fresh, RequestRefused)[0].why
    assert not path.exists()


def test_what_is_no_file_of_ours_ends_nothing(fresh, tmp_path):
    folder = paths.requests(fresh)
    folder.mkdir()
    (folder / "folder.json").mkdir()
    os.mkfifo(folder / f"{request_id(1)}.json")
    (folder / f"{request_id(2)}.json").symlink_to(tmp_path / "elsewhere")
    (folder / "notes.txt").write_text("mine")
    os.close(os.open(bytes(folder) + b"/\xff.json", os.O_CREAT))
    state = carried_on(fresh)
    assert state.finished.reason == "budget"
    assert sorted(p.name for p in folder.iterdir()) == ["folder.json", "notes.txt"]
    assert len(of(fresh, RequestRefused)) == 4


def test_a_file_that_cannot_be_deleted_is_looked_at_once(fresh):
    folder = paths.requests(fresh)
    (folder / "stuck.json").mkdir(parents=True)
    requests = FileRequests(fresh)
    assert requests.any()
    carried_on(fresh, requests)
    assert not requests.any()
    assert len(of(fresh, RequestRefused)) == 1


def test_without_a_folder_there_is_no_request(fresh):
    requests = FileRequests(fresh)
    assert not requests.any()
    assert list(requests.read(fold(reader.read(fresh).rows))) == []


def test_requests_are_taken_in_the_order_in_which_they_were_made(fresh):
    for n, lr in enumerate((0.3, 0.1, 0.2)):
        path = put(fresh, f"{request_id(9 - n)}.json", encode(EnqueueRequest(params={"lr": lr})))
        os.utime(path, ns=(0, 1_000_000 * n))
    carried_on(fresh)
    assert [event.params["General/lr"] for event in of(fresh, PointEnqueued)] == [0.3, 0.1, 0.2]


def test_a_flood_of_requests_is_taken_in_batches(fresh):
    state = fold(reader.read(fresh).rows)
    for n in range(BATCH + 5):
        put(fresh, f"{request_id(n)}.json", encode(POINT))
    requests = FileRequests(fresh)
    taken = list(requests.read(state))
    assert len(taken) == BATCH
    for _, done in taken:
        done()
    assert len(list(requests.read(state))) == 5


def test_a_point_for_a_search_that_used_up_its_space_reopens_it_whoever_takes_it(tmp_path):
    for how in ("by who asks", "by a controller"):
        log = tmp_path / f"{how}.db"
        space = (DiscreteParameterRange(name="General/k", values=(1, 2)),)
        create(log, created(small(space=space, total_max_jobs=9)), START)

        def script(trial, attempt, params):
            return Script(points=((1, 0.5),))

        assert carried_on(log, script=script).finished.reason == "space"
        request = EnqueueRequest(params={"k": 2})
        if how == "by who asks":
            assert isinstance(ask(log, request).event, PointEnqueued)
        else:
            put(log, f"{request_id(3)}.json", encode(request))
        assert [t.params["General/k"] for t in carried_on(log, script=script).trials][2:] == [2]
        assert [type(r.event).__name__ for r in reader.read(log, verify=True).rows].count("SearchReopened") == 1
        assert not list(paths.requests(log).glob("*.json"))


# ---------------------------------------------------------------- what fits


def test_a_point_is_named_and_typed_as_its_job_gets_it():
    what = small(
        space=(
            UniformIntegerParameterRange(name="General/n", min_value=1, max_value=9),
            DiscreteParameterRange(name="Opt/kind", values=("1", 2, True)),
        )
    )
    assert point(what, {"n": 3, "Opt/kind": "1"}) == {"General/n": 3, "Opt/kind": "1"}
    with pytest.raises(Usage, match="whole number"):
        point(what, {"n": True})
    with pytest.raises(Usage, match="Opt/kind"):
        point(what, {"Opt/kind": 1})


def test_all_that_is_wrong_with_a_point_is_said_at_once():
    with pytest.raises(Usage) as caught:
        point(small(), {"General/lrr": 1, "kind": "z", "lr": 7})
    assert all(name in str(caught.value) for name in ("General/lrr", "kind", "lr"))


def test_a_grid_adds_nothing_to_a_point():
    grid = ComponentConfig("GridSampler", {"search_space": {"General/lr": [0.1], "General/kind": ["a"]}})
    with pytest.raises(Usage, match="a value for General/kind too"):
        point(small(sampler=grid), {"lr": 0.1})


def test_limits_of_a_single_objective_are_refused_with_several(tmp_path):
    what = small(objectives=(Objective("a", "b", "min"), Objective("c", "d", "min")))
    path = tmp_path / "search.db"
    create(path, created(what), START)
    state = fold(reader.read(path).rows)
    with pytest.raises(Usage, match="several objectives"):
        accepted(state, LimitsRequest(changes=LimitChanges(patience=3)), None)


def test_only_limits_that_may_be_missing_are_lifted_by_none():
    for name in LimitChanges.__struct_fields__:
        lifted = name not in (
            "num_concurrent_workers",
            "pool_period_min",
            "max_failures_per_trial",
            "max_lost_per_trial",
        )
        if lifted:
            assert limit_kind(name).read(None) is None
        else:
            with pytest.raises(ValueError, match="number"):
                limit_kind(name).read(None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.01", 0.01),
        ("1e-3", 0.001),
        ("3", 3),
        ("true", True),
        ('"3"', "3"),
        ("adam", "adam"),
        ("[1, 2]", "[1, 2]"),
        ("1979-05-27", "1979-05-27"),
        ("a = 1", "a = 1"),
        ("1\nb = 2", "1\nb = 2"),
        ("", ""),
    ],
)
def test_a_value_is_read_as_in_a_search_file_else_as_text(text, value):
    assert arguments.scalar(text) == value
    assert type(arguments.scalar(text)) is type(value)


def test_a_category_is_matched_by_its_type():
    def given(*categories, text):
        what = small(space=(DiscreteParameterRange(name="General/k", values=categories),))
        return arguments.point(what, [f"k={text}"])["General/k"]

    assert given("1", "2", text="1") == "1"
    assert given(1, "1", text="1") == 1
    assert given(1, "1", text='"1"') == "1"
    assert given("true", "false", text="true") == "true"
    assert given(True, False, text="true") is True


# ---------------------------------------------------------------- the asking side


def test_without_a_controller_the_log_is_written_by_who_asks(fresh):
    row = ask(fresh, POINT)
    assert isinstance(row.event, PointEnqueued)
    assert reader.read(fresh, verify=True).rows[-1] == row
    assert lease.holder(fresh) is None
    assert not paths.requests(fresh).exists()


def test_what_cannot_be_leaves_no_trace(fresh):
    before = fresh.read_bytes()
    with pytest.raises(Usage, match="General/lr"):
        ask(fresh, EnqueueRequest(params={"General/lr": 9.0}))
    assert fresh.read_bytes() == before


def test_a_request_that_a_controller_took_before_it_died_is_not_taken_twice(place):
    """The answer is in the log although nobody deleted the file: the asker finds it by its id."""
    child = place.running()
    rows: list = []
    asking = threading.Thread(target=lambda: rows.append(ask(place.log, POINT)))
    asking.start()
    eventually(lambda: place.of(PointEnqueued), "the answer")
    child.kill()
    asking.join(60)
    assert len(place.of(PointEnqueued)) == 1
    assert rows[0].event == place.of(PointEnqueued)[0]


def test_a_controller_that_dies_before_it_answers_leaves_the_asker_to_write(place):
    from tests.cli.harness import frozen

    child = place.running()
    frozen(child)
    rows: list = []
    asking = threading.Thread(target=lambda: rows.append(ask(place.log, POINT)))
    asking.start()
    eventually(lambda: list(paths.requests(place.log).glob("*.json")), "the request")
    child.kill()
    asking.join(60)
    assert len(place.of(PointEnqueued)) == 1
    assert rows[0].event.request == place.of(PointEnqueued)[0].request
    assert list(paths.requests(place.log).iterdir()) == []


def test_nobody_to_ask_is_no_answer(fresh):
    assert ask_holder(fresh, lambda epoch: StopRequest(epoch=epoch)) is None


def test_a_live_controller_says_why_it_refuses(place):
    """The asker's own look comes first; here the search ends between the two."""
    child = place.running()
    with pytest.raises(Usage, match="a number from"):
        ask_holder(place.log, lambda _: EnqueueRequest(params={"lr": 44.0}))
    assert len(place.of(RequestRefused)) == 1
    place.release()
    assert ended(child)[0] == 0


def test_every_request_comes_back_from_its_file():
    for request in (StopRequest(epoch=3), POINT, LimitsRequest(changes=LimitChanges(total_max_jobs=None, patience=4))):
        assert msgspec.json.decode(encode(request), type=StopRequest | EnqueueRequest | LimitsRequest) == request


def test_a_limit_that_is_lifted_is_not_one_that_is_left(fresh):
    changes = LimitChanges(total_max_jobs=None, max_failed_trials=2)
    row = ask(fresh, LimitsRequest(changes=changes))
    assert isinstance(row.event, LimitsChanged)
    assert row.event.changes == changes
    limits = fold(reader.read(fresh).rows).limits
    assert (limits.total_max_jobs, limits.max_failed_trials, limits.num_concurrent_workers) == (None, 2, 1)


def test_asking_opens_an_epoch_of_its_own(fresh):
    ask(fresh, POINT)
    ask(fresh, POINT)
    assert len(of(fresh, ControllerStarted)) == 2


def test_many_askers_at_once_are_all_answered(place):
    child = place.running()
    askers = [place.start("enqueue", "search.db", f"lr=0.{n}") for n in range(1, 6)]
    for asker in askers:
        code, _, err = ended(asker)
        assert code == 0, err
    assert sorted(event.params["General/lr"] for event in place.of(PointEnqueued)) == [0.1, 0.2, 0.3, 0.4, 0.5]
    place.release()
    assert ended(child)[0] == 0
