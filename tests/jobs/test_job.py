"""What a training script imports: alone, and under a controller."""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eventhpo import job
from eventhpo.jobs.local.reports import read
from tests.jobs.harness import ACCURACY, FOREVER, ROOT, Place, changed, key_and_value, points
from tests.waiting import eventually


@pytest.fixture(autouse=True)
def _as_new(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """As a process sees the module that has just been started, in an empty folder."""
    for name in [name for name in os.environ if name.startswith("EVENTHPO_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job, "_said", {})
    monkeypatch.setattr(job, "_opened", None)
    yield
    if job._opened is not None:
        os.close(job._opened[0])


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Parameters that a controller gives; a test fills them in before it connects."""
    values: dict[str, Any] = {}
    path = tmp_path / "params.json"
    monkeypatch.setenv("EVENTHPO_PARAMS", str(path))
    monkeypatch.setattr(job, "_values", lambda: values)
    return values


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "reports.jsonl"
    monkeypatch.setenv("EVENTHPO_REPORTS", str(path))
    return path


def run(code: str, **environment: str) -> str:
    """Return what a new interpreter prints that runs *code*."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("EVENTHPO_")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**ours, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


# ---------------------------------------------------------------- alone


def test_without_a_controller_everything_works_and_nothing_is_written(tmp_path: Path) -> None:
    params = {"lr": 0.1}
    job.resume_from(3)
    job.report_scalar("validation", "accuracy", 0.5, 1)
    assert job.connect(params) == {"lr": 0.1}
    assert (job.active, job.trial, job.attempt, job.slot) == (False, 0, 0, 0)
    assert list(tmp_path.iterdir()) == []


def test_without_a_controller_checkpoints_go_into_the_current_folder() -> None:
    assert not Path("checkpoints").exists()
    assert job.checkpoint_dir == Path("checkpoints")
    assert Path("checkpoints").is_dir()


def test_an_attribute_that_is_none_is_an_error() -> None:
    with pytest.raises(AttributeError, match="colour"):
        _ = job.colour


def test_importing_loads_no_module_that_an_interpreter_has_not_loaded_anyway() -> None:
    code = """
        import sys
        before = set(sys.modules)
        from eventhpo import job
        print(*sorted(set(sys.modules) - before))
    """
    assert run(code).split() == ["eventhpo", "eventhpo.job"]


def test_a_whole_job_needs_the_standard_library_only(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text('{"General/lr": 0.5}')
    code = """
        import sys
        from eventhpo import job
        job.connect({"lr": 1.0})
        job.report_scalar("a", "b", 0.5, 1)
        job.checkpoint_dir
        names = {name.partition(".")[0] for name in sys.modules}
        print(*sorted(names - sys.stdlib_module_names - {"__main__"}))
    """
    files = {"EVENTHPO_PARAMS": str(tmp_path / "params.json"), "EVENTHPO_REPORTS": str(tmp_path / "reports.jsonl")}
    added = set(run(code, **files).split()) - set(run("import sys; print(*sys.modules)").replace(".", " ").split())
    assert added == {"eventhpo"}


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("default", "value", "expected"),
    [
        (1.0, 0.5, 0.5),
        (1.0, 2, 2.0),
        (1.0, "0.25", 0.25),
        (1, 3, 3),
        (1, 3.0, 3),
        (1, "4", 4),
        (True, False, False),
        (False, "true", True),
        (True, "False", False),
        (False, 1, True),
        ("adam", "sgd", "sgd"),
        ("adam", 3, "3"),
        (None, "anything", "anything"),
        (None, 3, 3),
        ([1, 2], "3", "3"),
        (1.0, None, None),
    ],
)
def test_a_value_comes_in_the_type_of_its_default(
    given: dict[str, Any], default: object, value: object, expected: object
) -> None:
    given["General/x"] = value
    found = job.connect({"x": default})["x"]
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("default", "value"),
    [(1, 0.5), (1, "x"), (1, True), (1.0, "x"), (1.0, False), (True, "maybe"), (True, 2), (1, math.inf)],
)
def test_a_value_that_does_not_fit_its_default_is_named(given: dict[str, Any], default: object, value: object) -> None:
    given["General/x"] = value
    with pytest.raises(ValueError, match=r"parameter General/x: the search gives .* change the default"):
        job.connect({"x": default})


def test_a_key_that_the_search_does_not_vary_keeps_its_default(given: dict[str, Any]) -> None:
    given |= {"General/lr": 0.5, "Model/layers": 3, "General/unknown": 1}
    params = {"lr": 1.0, "layers": 2, "name": "x"}
    assert job.connect(params) is params
    assert params == {"lr": 0.5, "layers": 2, "name": "x"}
    assert job.connect({"layers": 2}, name="Model") == {"layers": 3}


def test_a_dict_inside_is_filled_by_its_path(given: dict[str, Any]) -> None:
    given["General/optimizer/lr"] = 0.5
    assert job.connect({"optimizer": {"lr": 1.0, "name": "sgd"}}) == {"optimizer": {"lr": 0.5, "name": "sgd"}}


# ---------------------------------------------------------------- reports


class Tensor:
    """As a scalar of numpy or a tensor without dimensions."""

    def __float__(self) -> float:
        return 0.25

    def __index__(self) -> int:
        return 7


def test_a_report_is_read_as_it_was_made(reported: Path) -> None:
    job.report_scalar("validation", "accuracy", 0.1 + 0.2, 3)
    job.report_scalar(title="validation", series="accuracy", value=math.inf, iteration=4)
    job.report_scalar("validation", "accuracy", -math.inf, 5)
    job.report_scalar("validation", "accuracy", Tensor(), Tensor())
    [curve] = read(reported, 0, [ACCURACY], fresh=True, final=False).curves
    assert curve.iterations == (3, 4, 5, 7)
    assert curve.values == (0.1 + 0.2, math.inf, -math.inf, 0.25)


def test_nan_is_kept(reported: Path) -> None:
    job.report_scalar("validation", "accuracy", math.nan, 3)
    [curve] = read(reported, 0, [ACCURACY], fresh=True, final=False).curves
    assert math.isnan(curve.values[0])


@pytest.mark.parametrize(
    ("title", "value", "iteration", "error"),
    [
        ("t", 0.5, -1, ValueError),
        ("t", 0.5, 2**63, ValueError),
        ("t", 0.5, 1.5, TypeError),
        ("t", "high", 1, ValueError),
        ("t", None, 1, TypeError),
        ("t" * 1001, 0.5, 1, ValueError),
        ("\ud800", 0.5, 1, ValueError),
        (3, 0.5, 1, TypeError),
    ],
)
def test_a_report_that_could_not_be_read_is_not_written(
    reported: Path, title: Any, value: Any, iteration: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        job.report_scalar(title, "s", value, iteration)
    assert not reported.exists()


def test_a_report_behind_a_torn_line_is_not_swallowed(reported: Path) -> None:
    reported.write_bytes(b'{"title": "valida')
    job.report_scalar("validation", "accuracy", 0.5, 3)
    batch = read(reported, 0, [ACCURACY], fresh=True, final=False)
    assert batch.curves[0].iterations == (3,)
    assert len(batch.bad) == 1


def test_reports_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "reports.jsonl"
    code = """
        import os, sys
        from eventhpo import job
        children = [os.fork() for _ in range(2)]
        for step in range(300):
            job.report_scalar("validation", "accuracy", 0.5, step)
            job.report_scalar("x" * 1000, str(os.getpid()), 0.5, step)
        for child in filter(None, children):
            os.waitpid(child, 0)
    """
    run(code, EVENTHPO_REPORTS=str(path))
    batch = read(path, 0, [ACCURACY], fresh=True, final=False)
    assert batch.bad == ()
    assert len(batch.curves[0].iterations) == 4 * 300
    assert len(batch.others) == 4


def test_a_fork_reports_on_a_descriptor_of_its_own(reported: Path) -> None:
    job.report_scalar("validation", "accuracy", 0.5, 1)
    first = job._opened
    assert first is not None
    child = os.fork()
    if child == 0:
        job.report_scalar("validation", "accuracy", 0.5, 2)
        os._exit(0 if job._opened not in (None, first) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert job._opened == first


def test_the_descriptor_is_not_handed_to_programs(reported: Path) -> None:
    job.report_scalar("validation", "accuracy", 0.5, 1)
    assert job._opened is not None
    assert not os.get_inheritable(job._opened[0])


def test_a_report_that_does_not_fit_on_the_disk_is_an_error(reported: Path) -> None:
    code = """
        import resource, signal
        from eventhpo import job
        job.report_scalar("t", "s", 0.5, 1)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        for step in (2, 3):
            try:
                job.report_scalar("t", "s", 0.5, step)
            except OSError as error:
                print(error)
    """
    assert resource.RLIMIT_FSIZE
    partly, not_at_all = run(code, EVENTHPO_REPORTS=str(reported)).splitlines()
    assert partly.startswith("cannot write a report: only ")
    assert "cannot write a report: File too large" in not_at_all


# ---------------------------------------------------------------- going on from a checkpoint


def test_resume_from_must_come_before_the_first_report() -> None:
    job.report_scalar("validation", "accuracy", 0.5, 1)
    with pytest.raises(RuntimeError, match="before the first"):
        job.resume_from(3)


def test_resume_from_is_said_once() -> None:
    job.resume_from(3)
    with pytest.raises(RuntimeError, match="called before"):
        job.resume_from(4)


def test_resume_from_in_a_first_attempt_has_no_effect(reported: Path) -> None:
    job.resume_from(3)
    assert not reported.exists()


def test_resume_from_in_a_retry_is_claimed(reported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert job.predecessor is None
    monkeypatch.setenv("EVENTHPO_PREDECESSOR", "some_job")
    assert job.predecessor == "some_job"
    job.resume_from(3)
    assert read(reported, 0, [ACCURACY], fresh=True, final=False).inherits == 3


# ---------------------------------------------------------------- under a controller

TELLS_ALL = """
import json, os
from pathlib import Path
from eventhpo import job
params = job.connect({"lr": 1.0, "layers": 2})
if (job.checkpoint_dir / "step").exists():
    job.resume_from(int((job.checkpoint_dir / "step").read_text()))
(job.checkpoint_dir / "step").write_text("4")
job.report_scalar("validation", "accuracy", params["lr"], 5)
told = {name: value for name, value in os.environ.items() if name.startswith("EVENTHPO_")}
facts = [job.active, job.trial, job.attempt, job.slot, params, told, str(job.checkpoint_dir)]
Path(f"told-{job.attempt}.tmp").write_text(json.dumps(facts))
Path(f"told-{job.attempt}.tmp").rename(f"told-{job.attempt}")
"""


def test_a_job_is_told_who_it_is(place: Place) -> None:
    place.script(TELLS_ALL)
    one = place.started(trial=2, params={"General/lr": 0.5})
    sight, ended = place.watched(one)
    assert ended.how == "completed"
    assert points(sight) == [(5, 0.5)]
    active, trial, attempt, slot, params, told, checkpoints = json.loads(place.says("told-0"))
    assert (active, trial, attempt, slot) == (True, 2, 0, 3)
    assert params == {"lr": 0.5, "layers": 2}
    folder = place.attempt(one).path
    assert checkpoints == str(place.jobs_folder / "checkpoints" / "2")
    assert told == {
        "EVENTHPO_KEY": one.key,
        "EVENTHPO_TRIAL": "2",
        "EVENTHPO_ATTEMPT": "0",
        "EVENTHPO_SLOT": "3",
        "EVENTHPO_LOCK": "{0.st_dev}:{0.st_ino}".format((folder / "job.lock").stat()),
        "EVENTHPO_PARAMS": str(folder / "params.json"),
        "EVENTHPO_REPORTS": str(folder / "reports.jsonl"),
        "EVENTHPO_CHECKPOINT_DIR": checkpoints,
    }


def test_a_retry_finds_the_checkpoint_of_the_attempt_before_it_and_claims_its_points(place: Place) -> None:
    place.script(TELLS_ALL)
    first = place.started(attempt=0)
    place.ended(first)
    sight, _ = place.watched(place.started(attempt=1))
    assert [seen.inherits for seen in sight if seen.inherits is not None] == [4]
    told = json.loads(place.says("told-1"))[5]
    assert told["EVENTHPO_PREDECESSOR"] == first.job_id


def test_an_outer_searchs_predecessor_is_not_inherited(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENTHPO_PREDECESSOR", "outer")
    place.script(TELLS_ALL)
    place.ended(place.started())
    assert "EVENTHPO_PREDECESSOR" not in json.loads(place.says("told-0"))[5]


def test_our_interpreter_comes_first_on_the_path_of_a_job(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    place.script("import sys; from pathlib import Path; Path('exe').write_text(sys.executable)")
    place.ended(place.started())
    assert Path(place.says("exe")).parent == Path(sys.executable).parent


def test_the_words_of_a_command_are_replaced_once_and_other_braces_stay(place: Place) -> None:
    place.command = ("python", "train.py", "--lr={General/lr}", "{slot}", "{x} {General/y} {}", "{General/name}")
    place.script(
        "import sys; from pathlib import Path; Path('tmp').write_text(repr(sys.argv[1:])); Path('tmp').rename('a')"
    )
    place.started(params={"General/lr": 0.5, "General/name": "{slot}"})
    assert place.says("a") == "['--lr=0.5', '3', '{x} {General/y} {}', '{slot}']"


def test_nothing_of_the_environment_is_stored(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "s3cret-value")
    place.script("import os; open('seen', 'w').write(os.environ['MY_TOKEN'])")
    job_ = place.started()
    place.ended(job_)
    assert place.says("seen") == "s3cret-value"
    assert not any(b"s3cret" in path.read_bytes() for path in place.attempt(job_).path.iterdir())


def test_a_shell_script_can_report(place: Place) -> None:
    place.command = ("sh", "report.sh")
    place.script(
        """
        for i in 1 2 3; do
            printf '\\n{"title": "validation", "series": "accuracy", "iteration": %d, "value": 0.%d}\\n' $i $i \\
                >> "$EVENTHPO_REPORTS"
        done
        """,
        name="report.sh",
    )
    sight, ended = place.watched(place.started())
    assert ended.how == "completed"
    assert points(sight) == [(1, 0.1), (2, 0.2), (3, 0.3)]


def test_reports_of_a_running_job_are_seen_before_its_end(place: Place) -> None:
    place.script("from eventhpo import job\njob.report_scalar('validation', 'accuracy', 0.5, 1)" + FOREVER)
    one = place.started()
    backend = place.backend()
    seen = eventually(lambda: next(iter(key_and_value(backend, one)), None))
    assert seen == (1, 0.5)
    assert place.ended(place.stop(changed(one, points=0))).how == "stopped"
