"""Jobs that a caller makes, launches, looks at and ends, beside the loop and within it.

Every log of these tests is walked when its test is over.
"""

from __future__ import annotations

import pytest
from clearml.automation import ClearmlJob, DiscreteParameterRange

from eventhpo import OptimizerOptuna
from eventhpo.core.fold.events import (
    AbortRequested,
    DrivenByHand,
    JobRequested,
    LaunchRequested,
    PointEnqueued,
    RequestLapsed,
    StopAsked,
    TrialFinished,
    TrialSuggested,
)
from eventhpo.errors import Usage
from eventhpo.log import lease
from tests.optimizer.harness import Place, Thread, forked, killed_when, processes_in, reported
from tests.waiting import eventually


def monitored(optimizer, job):
    """Look at a job by hand until it is over."""
    eventually(lambda: not optimizer.monitor_job(job), "the end of a job")


def sources(place: Place) -> list[str]:
    return [t.source for t in place.state().trials]


# ---------------------------------------------------------------- while nobody drives


def test_a_search_can_be_driven_wholly_by_hand(place):
    optimizer = place.optimizer()
    made = []
    while (job := optimizer.create_job()) is not None:
        made.append(job)
        assert job.status() == "created"
        assert job.is_pending()
        assert optimizer.get_running_jobs() == []
        assert job.launch("default")
        assert optimizer.get_running_jobs() == [job]
        monitored(optimizer, job)
        assert job.is_completed()
    assert len(made) == 4
    assert [e.by_hand for e in place.of(DrivenByHand)] == [True]
    assert len(place.of(LaunchRequested)) == 4
    assert len(place.of(RequestLapsed)) == 1


def test_it_makes_the_suggestions_that_start_makes(place, tmp_path):
    (tmp_path / "started").mkdir()
    started = Place((tmp_path / "started").resolve())
    sampler = {"name": "TPESampler", "n_startup_trials": 2}
    started.optimizer(optuna_sampler=sampler).start()
    optimizer = place.optimizer(optuna_sampler=sampler)
    while (job := optimizer.create_job()) is not None:
        job.launch()
        monitored(optimizer, job)
    assert place.params() == started.params()
    started.close()


def test_a_job_that_was_made_holds_its_slot_until_it_is_launched_and_over(place):
    optimizer = place.optimizer(num_concurrent_workers=2)
    first, second = optimizer.create_job(), optimizer.create_job()
    assert first is not None
    assert second is not None
    assert optimizer.create_job() is None
    assert [e.why for e in place.of(RequestLapsed)] == ["no slot is free"]
    assert place.launches() == {}
    for job in (first, second):
        assert job.launch()
    for job in (first, second):
        monitored(optimizer, job)
    assert optimizer.create_job() is not None


def test_a_second_launch_launches_nothing(place):
    optimizer = place.optimizer()
    job = optimizer.create_job()
    assert [job.launch(), job.launch()] == [True, True]
    monitored(optimizer, job)
    assert job.launch()
    assert len(place.of(LaunchRequested)) == 1
    assert len(place.launches()) == 1


def test_no_job_is_made_when_nothing_is_left_of_the_budget(place):
    optimizer = place.optimizer(total_max_jobs=1)
    job = optimizer.create_job()
    job.launch()
    monitored(optimizer, job)
    assert optimizer.create_job() is None
    assert len(place.of(RequestLapsed)) == 1


def test_no_job_is_made_once_stop_was_asked(place):
    optimizer = place.optimizer()
    assert optimizer.create_job() is not None
    optimizer.stop()
    assert optimizer.create_job() is None
    assert optimizer.helper_create_job("base", {"General/x": 0.5, "General/kind": "a"}) is None


def test_a_stop_ends_a_job_that_was_made_by_hand_and_takes_nothing_new(place):
    place.hold.touch()
    optimizer = place.optimizer(num_concurrent_workers=3)
    running, draft = optimizer.create_job(), optimizer.create_job()
    running.launch()
    eventually(lambda: optimizer.monitor_job(running) and running.iterations() == 3)
    optimizer.stop()
    eventually(lambda: not processes_in(place.folder), "the end of the job")
    assert lease.holder(place.log) is None
    assert optimizer.get_running_jobs() == []
    before = place.rows()
    assert optimizer.create_job() is None
    assert not draft.launch()
    assert running.launch()  # it was
    assert [optimizer.monitor_job(job) for job in (running, draft)] == [False, False]
    assert place.rows() == before
    place.hold.unlink()
    assert not optimizer.process_step()
    optimizer.start()
    assert [e.state for e in place.of(TrialFinished)][:2] == ["aborted", "aborted"]
    assert len(place.launches()) == len(place.state().trials) - 1


def test_a_stop_leaves_a_job_that_was_made_by_hand_if_it_is_to(place):
    place.hold.touch()
    optimizer = place.optimizer(on_stop="leave", total_max_jobs=1)
    job = optimizer.create_job()
    job.launch()
    optimizer.stop()
    assert lease.holder(place.log) is None
    assert optimizer.get_running_jobs() == [job]
    assert not optimizer.monitor_job(job)
    job.abort(why="not needed any more")
    eventually(lambda: not processes_in(place.folder), "the end of the job")
    assert lease.holder(place.log) is None
    assert not optimizer.process_step()
    optimizer.start()
    assert [e.why for e in place.of(TrialFinished)] == ["not needed any more"]


def test_a_stop_from_another_thread_answers_one_that_asks_for_a_job(place):
    optimizer = place.optimizer(num_concurrent_workers=4, total_max_jobs=None)

    def make() -> int:
        made = 0
        while optimizer.create_job() is not None:
            made += 1
        return made

    threads = [Thread(make) for _ in range(3)]
    eventually(optimizer.get_created_jobs_ids)
    optimizer.stop()
    for thread in threads:
        thread.ended()
    assert lease.holder(place.log) is None
    assert all(a.ended or a.stop for t in place.state().trials for a in t.attempts)
    assert place.launches() == {}


def test_a_draft_that_is_aborted_never_runs(place):
    optimizer = place.optimizer()
    job = optimizer.create_job()
    job.abort()
    monitored(optimizer, job)
    assert not job.launch()
    assert job.is_aborted()
    assert place.launches() == {}


def test_a_job_that_runs_is_aborted_by_its_handle(place):
    place.hold.touch()
    optimizer = place.optimizer()
    job = optimizer.create_job()
    job.launch()
    eventually(lambda: optimizer.monitor_job(job) and job.iterations() == 3)
    job.abort()
    assert not optimizer.monitor_job(job)
    eventually(lambda: optimizer.monitor_job(job) or job.is_stopped())
    assert job.is_aborted()
    assert [(e.state, e.why) for e in place.of(TrialFinished)] == [("aborted", "aborted by request")]
    assert job.status_message() == "aborted by request"


def test_the_reason_that_is_given_to_an_abort_is_that_of_the_trials_end(place):
    place.hold.touch()
    optimizer = place.optimizer()
    job = optimizer.create_job()
    job.launch()
    job.abort(why="it diverges")
    monitored(optimizer, job)
    eventually(lambda: optimizer.monitor_job(job) or job.is_stopped())
    assert [(e.state, e.why) for e in place.of(TrialFinished)] == [("aborted", "it diverges")]
    assert job.status_message() == "it diverges"


def test_aborting_twice_or_what_is_over_says_nothing(place):
    optimizer = place.optimizer()
    job = optimizer.create_job()
    job.launch()
    monitored(optimizer, job)
    job.abort()
    job.abort()
    assert job.is_completed()
    assert place.of(AbortRequested) == []


def test_the_budget_is_kept_by_looking_at_a_job(place):
    optimizer = place.optimizer(max_iteration_per_job=4, total_max_jobs=2)
    job = optimizer.create_job()
    assert optimizer.budget.iterations.current == {}
    job.launch()
    monitored(optimizer, job)
    assert optimizer.budget.iterations.current == {job.task_id(): 4.0}
    assert not optimizer.update_budget_per_job(job) or job.is_stopped()


def test_two_threads_make_jobs_at_once(place):
    optimizer = place.optimizer(num_concurrent_workers=4)
    threads = [Thread(optimizer.create_job) for _ in range(4)]
    made = [thread.ended() for thread in threads]
    assert None not in made
    assert len(set(made)) == 4
    launched = [Thread(job.launch) for job in made]
    assert [thread.ended() for thread in launched] == [True] * 4
    for job in made:
        monitored(optimizer, job)
    assert len(place.launches()) == 4


# ---------------------------------------------------------------- drafts that were never launched


def test_a_step_launches_a_draft_that_was_made_before(place):
    optimizer = place.optimizer()
    job = optimizer.create_job()
    while optimizer.process_step():
        pass
    assert job.is_completed()
    assert len(place.launches()) == 4
    assert [e.by_hand for e in place.of(DrivenByHand)] == [True, False]


def test_start_launches_a_draft_of_a_process_that_is_gone(place):
    def make() -> None:
        place.optimizer().create_job()
        eventually(lambda: False)

    def bound() -> bool:
        return place.log.exists() and any(a.job_id for t in place.state().trials for a in t.attempts)

    assert killed_when(forked(make), bound)
    place.optimizer().start()
    assert len(place.launches()) == 4


# ---------------------------------------------------------------- helper_create_job


def test_a_job_of_ones_own_parameters_is_in_every_list_and_in_the_budget(place):
    optimizer = place.optimizer(total_max_jobs=2)
    job = optimizer.helper_create_job("base", {"General/x": 0.25, "kind": "b"}, tags=["mine"], parent="somebody")
    assert job.task_parameter_override == {"General/x": 0.25, "General/kind": "b"}
    job.launch()
    monitored(optimizer, job)
    optimizer.start()
    assert sources(place) == ["caller", "sampler"]
    assert len(place.launches()) == 2
    found = next(d for d in optimizer.get_top_experiments_details(9) if d["task_id"] == job.task_id())
    assert found["hyper_parameters"] == {"General/x": "0.25", "General/kind": "b"}
    assert found["metrics"]["validation/accuracy"]["value"] == 0.25
    (request,) = place.of(JobRequested)
    assert request.extras.tags == ("mine",)
    assert request.extras.parent == "somebody"


def test_parameters_outside_the_space_are_taken_as_they_are(place):
    place.script(
        """
        from eventhpo import job
        params = job.connect({"x": 0.0, "other": 1})
        job.report_scalar("validation", "accuracy", params["x"] + params["other"], 1)
        """
    )
    optimizer = place.optimizer(total_max_jobs=2)
    job = optimizer.helper_create_job("base", {"General/x": 7.0, "General/other": 30})
    job.launch()
    monitored(optimizer, job)
    (best,) = optimizer.get_top_experiments_details(1, all_hyper_parameters=True)
    assert best["metrics"]["validation/accuracy"]["value"] == 37.0
    assert best["hyper_parameters"] == {"General/x": "7.0", "General/other": "30"}
    optimizer.start()
    assert place.state().finished is not None


def test_the_sampler_sees_what_the_caller_tried(place):
    optimizer = place.optimizer(optuna_sampler={"name": "TPESampler", "n_startup_trials": 1})
    optimizer.helper_create_job("base", {"General/x": 0.25, "General/kind": "b"}).launch()
    optimizer.start()
    state = place.state()
    assert state.trials[0].point == {"General/x": 0.25, "General/kind": "b"}
    assert state.trials[0].finished.values == (0.25,)


# ---------------------------------------------------------------- in the middle of start


@pytest.fixture
def held(place):
    """An optimizer with three workers, one of whose jobs holds while `start` runs in another thread."""
    place.hold.touch()
    optimizer = place.optimizer(num_concurrent_workers=3, total_max_jobs=8)
    running = Thread(optimizer.start)
    reported(optimizer, 3)
    yield optimizer
    place.hold.unlink(missing_ok=True)
    running.ended()
    assert place.state().finished is not None
    assert place.of(DrivenByHand) == []


def test_a_request_for_a_job_lapses_while_all_workers_are_busy(held, place):
    assert held.create_job() is None
    assert held.helper_create_job("base", {"General/x": 0.5, "General/kind": "a"}) is None
    assert [e.why for e in place.of(RequestLapsed)] == ["no slot is free"] * 2


def test_an_abort_from_another_thread_ends_one_job_and_the_search_goes_on(held, place):
    job = held.get_running_jobs()[1]
    job.abort()
    eventually(job.is_stopped, "the end of the job")
    assert job.is_aborted()
    (request,) = place.of(AbortRequested)
    assert request.trial == 1
    eventually(lambda: len(held.get_created_jobs_ids()) == 4, "the job that takes the slot")


def test_an_abort_of_what_is_over_comes_back_at_once(held):
    job = held.get_running_jobs()[0]
    job.abort()
    eventually(job.is_stopped, "the end of the job")
    job.abort()


def test_a_launch_of_what_runs_comes_back_at_once(held):
    assert all(job.launch() for job in held.get_running_jobs())


def test_looking_at_a_job_says_what_the_log_says(held):
    assert all(held.monitor_job(job) for job in held.get_running_jobs())


def test_a_point_of_ones_own_is_tried_next(held, place):
    held.enqueue_trial({"x": 0.75, "kind": "b"})
    assert [e.params for e in place.of(PointEnqueued)] == [{"General/x": 0.75, "General/kind": "b"}]
    place.hold.unlink()
    eventually(lambda: len(held.get_created_jobs_ids()) == 8)
    assert held.get_created_jobs_ids() is not None
    assert list(held.get_created_jobs_ids().values())[3] == {"General/x": 0.75, "General/kind": "b"}


def test_a_point_that_does_not_fit_is_refused_to_its_caller_and_ends_nobody(held):
    with pytest.raises(Usage, match=r"found 7\.0, expected a number from 0\.0 to 1\.0"):
        held.enqueue_trial({"x": 7.0})
    assert len(held.get_running_jobs()) == 3


def test_a_job_of_ones_own_takes_a_slot_that_the_sampler_has_no_point_for(place):
    place.hold.touch()
    space = [DiscreteParameterRange("General/kind", ["a", "b"])]
    optimizer = place.optimizer(num_concurrent_workers=3, total_max_jobs=5, hyper_parameters=space)
    running = Thread(optimizer.start)
    reported(optimizer, 2)
    assert optimizer.create_job() is None
    made = optimizer.helper_create_job("base", {"General/kind": "c"})
    assert made.launch()
    eventually(lambda: made.iterations() == 3, "its reports")
    assert len(optimizer.get_running_jobs()) == 3
    place.hold.unlink()
    running.ended()
    assert sources(place) == ["sampler", "sampler", "caller"]
    assert place.of(DrivenByHand) == place.of(LaunchRequested) == []
    assert place.state().finished.reason == "space"


def test_a_request_is_answered_when_start_has_returned_meanwhile(place):
    optimizer = place.optimizer(total_max_jobs=12)
    running = Thread(optimizer.start)
    answers = []
    while running.is_alive():
        answers.append(optimizer.create_job())
        for job in list(optimizer.get_running_jobs()):
            job.launch()
    running.ended()
    assert sources(place) == ["sampler"] * len(place.state().trials)


# ---------------------------------------------------------------- enqueue_trial while nobody drives


def test_a_point_that_was_enqueued_before_the_start_comes_first(place):
    optimizer = place.optimizer()
    optimizer.enqueue_trial({"General/x": 0.5})
    optimizer.start()
    assert sources(place) == ["user", "sampler", "sampler", "sampler"]
    assert place.params()[0]["General/x"] == 0.5


def test_a_point_for_a_search_that_is_over_is_refused_with_the_way_on(place):
    optimizer = place.optimizer(total_max_jobs=1)
    optimizer.start()
    with pytest.raises(Usage, match="has finished"):
        optimizer.enqueue_trial({"General/x": 0.5})
    assert place.of(PointEnqueued) == []


def test_a_point_for_a_search_whose_space_is_used_up_lets_it_go_on(place):
    space = [DiscreteParameterRange("General/kind", ["a", "b"])]
    optimizer = place.optimizer(total_max_jobs=9, hyper_parameters=space)
    optimizer.start()
    assert place.state().finished.reason == "space"
    optimizer.enqueue_trial({"General/kind": "b"})
    optimizer.start()
    assert sources(place) == ["sampler", "sampler", "user"]
    assert place.state().finished.reason == "space"


# ---------------------------------------------------------------- subclasses


class Watching(OptimizerOptuna):
    """Ends the second job, and notes which jobs it was asked about."""

    asked = ()

    def monitor_job(self, job):
        self.asked += (job.task_id(),)
        going = super().monitor_job(job)
        return going and job.task_id() != self.unwanted

    @property
    def unwanted(self):
        ids = list(self.get_created_jobs_ids())
        return ids[1] if len(ids) > 1 else None


@pytest.mark.parametrize("how", ["start", "steps"])
def test_a_live_job_that_a_subclass_has_no_use_for_is_aborted(place, how):
    (place.folder / "hold-1").touch()
    optimizer = place.optimizer(Watching)
    if how == "start":
        optimizer.start()
    else:
        while optimizer.process_step():
            pass
    assert optimizer.asked.count(optimizer.unwanted) == 1  # it was told to end: no running job any more
    assert [e.state for e in place.of(TrialFinished)] == ["completed", "aborted", "completed", "completed"]
    assert [(e.trial, e.attempt, e.why) for e in place.of(AbortRequested)] == [(1, 0, "monitor_job returned False")]
    assert place.of(JobRequested) == []


class Making(OptimizerOptuna):
    """Makes every second job itself."""

    made = 0

    def create_job(self):
        self.made += 1
        if self.made % 2:
            return super().create_job()
        return self.helper_create_job(self._base_task_id, {"General/x": self.made / 100, "General/kind": "a"})


@pytest.mark.parametrize("workers", [1, 2])
def test_a_subclass_that_makes_its_jobs_itself_is_asked_for_each(place, workers):
    optimizer = place.optimizer(Making, num_concurrent_workers=workers)
    optimizer.start()
    assert sources(place) == ["sampler", "caller", "sampler", "caller"]
    assert len(place.launches()) == 4
    assert [t.finished.state for t in place.state().trials] == ["completed"] * 4


def test_a_subclass_whose_process_was_killed_between_a_job_and_its_launch_goes_on(place):
    class Dying(Making):
        def create_job(self):
            found = super().create_job()
            eventually(lambda: self.made < 2)  # it waits here to be killed
            return found

    def bound() -> bool:
        return place.log.exists() and sum(bool(t.attempts and t.attempts[0].job_id) for t in place.state().trials) == 2

    assert killed_when(forked(lambda: place.optimizer(Dying).start()), bound)
    place.optimizer(Making).start()
    assert len(place.state().trials) == 4
    assert len(place.launches()) == 4


class Few(OptimizerOptuna):
    """Makes one job and no more."""

    def create_job(self):
        return None if self.get_created_jobs_ids() else super().create_job()


def test_a_subclass_that_makes_no_more_jobs_ends_the_run(place):
    place.optimizer(Few).start()
    assert len(place.launches()) == 1


class Counting(OptimizerOptuna):
    steps = 0

    def process_step(self):
        self.steps += 1
        return super().process_step()


def test_steps_of_a_subclass_are_the_ones_that_start_takes(place):
    optimizer = place.optimizer(Counting)
    optimizer.start()
    assert optimizer.steps > 4
    assert len(place.launches()) == 4


def test_stop_ends_the_steps_of_a_subclass(place):
    place.hold.touch()
    optimizer = place.optimizer(Counting)
    running = Thread(optimizer.start)
    reported(optimizer, 1)
    optimizer.stop()
    running.ended()
    assert len(place.of(StopAsked)) == 1
    assert len(place.of(TrialSuggested)) == 1


# ---------------------------------------------------------------- a class of ones own


def test_a_job_class_needs_the_door_to_clearml_and_the_text_says_so(place):
    with pytest.raises(Usage, match="LocalJobs"):
        place.optimizer().set_job_class(type("Mine", (ClearmlJob,), {}))
    with pytest.raises(Usage, match="no subclass"):
        place.optimizer().set_job_class(type("Mine", (), {}))


def test_a_job_of_another_search_is_none_of_this_one(place):
    class Foreign:
        def task_id(self):
            return "somebody-elses"

    for given in (Foreign(), "somebody-elses"):
        with pytest.raises(Usage, match="somebody-elses is no job of this search"):
            place.optimizer().monitor_job(given)
