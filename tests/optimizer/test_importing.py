"""Trials of another study: they come first, the sampler sees them, and they cost nothing."""

from __future__ import annotations

import optuna
import pytest
from clearml.automation import DiscreteParameterRange, Objective, UniformIntegerParameterRange
from clearml.automation.optimization import MultiObjective
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from eventhpo.core.fold.events import TrialsImported, TrialSuggested
from eventhpo.errors import Usage
from eventhpo.optuna_adapter.state_view import STUDY, StateView
from tests.optimizer.harness import Thread

DISTRIBUTIONS = {"General/x": FloatDistribution(0.0, 1.0), "General/kind": CategoricalDistribution(["a", "b"])}
TPE = {"name": "TPESampler", "n_startup_trials": 4}


def storage_of(kind, folder):
    match kind:
        case "memory":
            return optuna.storages.InMemoryStorage()
        case "journal":
            backend = optuna.storages.journal.JournalFileBackend(str(folder / "journal.log"))
            return optuna.storages.JournalStorage(backend)
    return optuna.storages.RDBStorage(f"sqlite:///{folder / 'study.sqlite'}")


def study_in(storage, *, direction="maximize", prefix="General/"):
    """Return a study of six completed trials, a pruned, a failed and a running one."""
    study = optuna.create_study(storage=storage, direction=direction, study_name="before")
    names = {f"{prefix}{n.removeprefix('General/')}": d for n, d in DISTRIBUTIONS.items()}
    for n in range(8):
        state = {6: TrialState.PRUNED, 7: TrialState.FAIL}.get(n, TrialState.COMPLETE)
        study.add_trial(
            create_trial(
                params=dict(zip(names, (n / 8, "ab"[n % 2]), strict=True)),
                distributions=names,
                state=state,
                value=n / 8 if state == TrialState.COMPLETE else None,
                intermediate_values={1: n / 16, 2: n / 8},
            )
        )
    study.ask(names)
    return study


def seen(place):
    """Return what the sampler sees."""
    view = StateView(place.state())
    view.refresh()
    return view.get_all_trials(STUDY)


@pytest.mark.parametrize("kind", ["memory", "journal", "sqlite"])
def test_completed_and_pruned_trials_come_first_whatever_they_were_stored_in(place, kind):
    study = study_in(storage_of(kind, place.folder))
    optimizer = place.optimizer(continue_previous_study=study, total_max_jobs=2)
    optimizer.start()
    (event,) = place.of(TrialsImported)
    assert event.study == "before"
    assert [(t.number, t.state) for t in event.trials] == [(n, "completed") for n in range(6)] + [(6, "pruned")]
    rows = place.rows()
    assert next(r.seq for r in rows if isinstance(r.event, TrialsImported)) < min(
        r.seq for r in rows if isinstance(r.event, TrialSuggested)
    )
    assert [t.source for t in place.state().trials] == ["imported"] * 7 + ["sampler"] * 2


def test_the_sampler_sees_them_with_their_values_and_curves(place):
    place.optimizer(continue_previous_study=study_in(None), total_max_jobs=1).start()
    found = seen(place)
    assert [t.state for t in found[:7]] == [TrialState.COMPLETE] * 6 + [TrialState.PRUNED]
    assert [t.value for t in found[:6]] == [n / 8 for n in range(6)]
    assert found[3].params == {"General/x": 3 / 8, "General/kind": "b"}
    assert found[3].intermediate_values == {1: 3 / 16, 2: 3 / 8}


def test_the_samplers_start_is_over_when_there_are_enough_of_them(place):
    def first(startup: int) -> dict[str, object]:
        log = place.folder / f"{startup}.db"
        sampler = {"name": "TPESampler", "n_startup_trials": startup}
        optimizer = place.optimizer(
            continue_previous_study=study_in(None), total_max_jobs=1, optuna_sampler=sampler, log=log
        )
        optimizer.start()
        (found,) = optimizer.get_created_jobs_ids().values()
        return found

    assert first(8) == first(99) != first(7)


def test_no_budget_is_charged_for_them_and_no_job_is_made(place):
    optimizer = place.optimizer(
        continue_previous_study=study_in(None), total_max_jobs=2, max_iteration_per_job=4, num_concurrent_workers=2
    )
    optimizer.start()
    assert len(place.launches()) == 2
    assert len(optimizer.get_created_jobs_ids()) == 2
    assert len(optimizer.get_top_experiments(99, include_failed=True)) == 2
    assert place.state().totals.charged == 8


def test_a_point_of_theirs_is_a_duplicate(place):
    study = optuna.create_study(direction="maximize")
    for n in (1, 2):
        study.add_trial(
            create_trial(
                params={"x": n}, distributions={"x": optuna.distributions.IntDistribution(1, 4)}, value=float(n)
            )
        )
    optimizer = place.optimizer(
        continue_previous_study=study,
        hyper_parameters=[UniformIntegerParameterRange("General/x", 1, 4)],
        total_max_jobs=None,
    )
    optimizer.start()
    assert sorted(p["General/x"] for p in optimizer.get_created_jobs_ids().values()) == [3, 4]
    assert place.state().finished.reason == "space"


def test_parameters_without_a_section_are_those_of_general(place):
    place.optimizer(continue_previous_study=study_in(None, prefix=""), total_max_jobs=1).start()
    assert seen(place)[3].params == {"General/x": 3 / 8, "General/kind": "b"}


def test_what_the_space_does_not_hold_is_kept_and_shown_to_no_sampler(place):
    study = optuna.create_study(direction="maximize")
    for value in ("a", "c"):
        study.add_trial(
            create_trial(
                params={"General/kind": value, "General/old": 3.0},
                distributions={
                    "General/kind": CategoricalDistribution(["a", "c"]),
                    "General/old": FloatDistribution(0, 9),
                },
                value=0.5,
            )
        )
    place.optimizer(continue_previous_study=study, total_max_jobs=1, optuna_sampler=TPE).start()
    assert [t.params for t in place.state().trials[:2]] == [
        {"General/kind": "a", "General/old": 3.0},
        {"General/kind": "c", "General/old": 3.0},
    ]
    assert [t.params for t in seen(place)[:2]] == [{"General/kind": "a"}, {}]


@pytest.mark.parametrize("direction", ["minimize"])
def test_another_direction_is_refused_with_both_and_leaves_no_log(place, direction):
    optimizer = place.optimizer(continue_previous_study=study_in(None, direction=direction))
    with pytest.raises(Usage, match=r"MINIMIZE.*MAXIMIZE"):
        optimizer.start()
    assert not place.log.exists()


def test_a_study_of_several_objectives_needs_as_many(place):
    study = optuna.create_study(directions=["maximize", "minimize"])
    with pytest.raises(Usage, match="directions"):
        place.optimizer(continue_previous_study=study).start()


def test_several_objectives_are_imported_with_all_their_values(place):
    place.script(
        'from eventhpo import job\njob.report_scalar("t", "a", 1, 1)\njob.report_scalar("t", "b", job.trial, 1)\n'
    )
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.add_trial(
        create_trial(params={"x": 0.5}, distributions={"x": FloatDistribution(0.0, 1.0)}, values=[0.25, 0.75])
    )
    both = MultiObjective(title=["t", "t"], series=["a", "b"], order=["max", "min"], extremum=[False, False])
    place.optimizer(objective_metric=both, optuna_pruner=None, continue_previous_study=study, total_max_jobs=1).start()
    assert seen(place)[0].values == [0.25, 0.75]


@pytest.mark.parametrize("wrong", ["before", 7])
def test_what_is_no_study_is_refused(place, wrong):
    with pytest.raises(Usage, match=r"expected an optuna\.Study"):
        place.optimizer(continue_previous_study=wrong).start()


def test_they_are_imported_once(place):
    study = study_in(None)
    place.optimizer(continue_previous_study=study, total_max_jobs=1).start()
    place.optimizer(continue_previous_study=study, total_max_jobs=2).start()
    assert len(place.of(TrialsImported)) == 1
    assert len(place.launches()) == 2


def test_a_study_that_goes_on_meanwhile_is_read_as_it_was(place):
    study = study_in(None)
    place.hold.touch()
    optimizer = place.optimizer(continue_previous_study=study, total_max_jobs=1)
    running = Thread(optimizer.start)
    study.add_trial(
        create_trial(params={"General/x": 1.0}, distributions={"General/x": FloatDistribution(0, 1)}, value=1.0)
    )
    place.hold.unlink()
    running.ended()
    assert len(place.of(TrialsImported)[0].trials) >= 7


def test_the_objective_is_that_of_the_search(place):
    study = study_in(None, direction="minimize")
    optimizer = place.optimizer(
        continue_previous_study=study,
        objective_metric=Objective("validation", "accuracy", order="min"),
        hyper_parameters=[DiscreteParameterRange("General/kind", ["a", "b"])],
        total_max_jobs=1,
    )
    optimizer.start()
    assert seen(place)[0].value == 0.0


# ---------------------------------------------------------------- on resume


def test_the_same_study_or_none_is_fine_on_resume_also_where_it_has_grown(place):
    study = study_in(None)
    place.optimizer(continue_previous_study=study, total_max_jobs=1).start()
    study.add_trial(
        create_trial(params={"General/x": 0.9}, distributions={"General/x": DISTRIBUTIONS["General/x"]}, value=1.0)
    )
    for jobs, again in ((2, study), (3, None)):
        place.optimizer(continue_previous_study=again, total_max_jobs=jobs).start()
    assert len(place.of(TrialsImported)) == 1
    assert len(place.launches()) == 3


def test_a_study_in_memory_that_a_script_makes_anew_is_the_same_by_its_trials(place):
    def anew():
        study = optuna.create_study(direction="maximize")  # its name is drawn
        study.add_trials(study_in(None).get_trials()[:3])
        return study

    place.optimizer(continue_previous_study=anew(), total_max_jobs=1).start()
    place.optimizer(continue_previous_study=anew(), total_max_jobs=2).start()
    assert len(place.launches()) == 2


def test_another_study_is_refused_on_resume_with_both_sides(place):
    place.optimizer(continue_previous_study=study_in(None), total_max_jobs=1).start()
    other = optuna.create_study(direction="maximize", study_name="another")
    with pytest.raises(Usage, match=r"recorded before \(7 trials\), now another \(0 trials\)"):
        place.optimizer(continue_previous_study=other, total_max_jobs=2).start()
    assert len(place.launches()) == 1


def test_a_study_for_a_log_that_began_without_one_is_refused(place):
    place.optimizer(total_max_jobs=1).start()
    with pytest.raises(Usage, match=r"recorded nothing, now before \(7 trials\): a study is put into a new log only"):
        place.optimizer(continue_previous_study=study_in(None), total_max_jobs=2).start()
