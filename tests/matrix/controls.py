"""Controllers that are wrong, each in a way in which a search on Optuna is usually written."""

from __future__ import annotations

from typing import Any
from unittest import mock

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from eventhpo.controller.controller import Controller
from eventhpo.core.scheduler import actions
from eventhpo.optuna_adapter import judge, state_view, suggest


class OneSampler(Controller):
    """Keeps one sampler for the whole run, as a script around `study.optimize` does."""

    def run(self) -> actions.Rest:
        kept: list[BaseSampler] = []
        build = suggest.build_sampler

        def one(*args: Any, **given: Any) -> BaseSampler:
            if not kept:
                kept.append(build(*args, **given))
            return kept[0]

        with mock.patch.object(suggest, "build_sampler", one):
            return super().run()


class _Twice(BasePruner):
    def __init__(self, pruner: BasePruner) -> None:
        self._pruner = pruner

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        self._pruner.prune(study, trial)
        return self._pruner.prune(study, study._storage.get_trial(trial._trial_id))


class AskedTwice(Controller):
    """Asks the pruner twice at each step and goes by the second answer."""

    def run(self) -> actions.Rest:
        build = judge.build_pruner
        with (
            mock.patch.object(judge, "build_pruner", lambda *args, **given: _Twice(build(*args, **given))),
            mock.patch.object(judge.SortedPruners, "rule", return_value=None),  # Optuna's own is asked
        ):
            return super().run()


class RungsNotRestored(Controller):
    """Shows Optuna the trials of before its start without the rungs that they had reached."""

    def run(self) -> actions.Rest:
        self._asked = False
        return super().run()

    def do(self, action: actions.Action) -> None:
        if self._asked or not isinstance(action, actions.Suggest | actions.Judge):
            return super().do(action)
        self._asked = True  # the view takes in all that stands in the log when it is asked for the first time
        restored = state_view.restored

        def without_rungs(attrs: dict[str, Any]) -> dict[str, Any]:
            return {n: v for n, v in restored(attrs).items() if not n.startswith("completed_rung")}

        with mock.patch.object(state_view, "restored", without_rungs):
            return super().do(action)
