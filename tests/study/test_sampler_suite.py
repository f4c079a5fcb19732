"""Optuna's own suite for samplers, on studies of `eventhpo.create_study`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.testing import pytest_samplers as suite

import eventhpo
from eventhpo.study.recorded_study import RecordedStudy

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning", "ignore::UserWarning")


@pytest.fixture(autouse=True)
def _on_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the suite make its studies on logs."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    numbers, studies = itertools.count(), []

    def create_study(**arguments: Any) -> RecordedStudy:
        studies.append(eventhpo.create_study(tmp_path / f"{next(numbers)}.db", **arguments))
        return studies[-1]

    monkeypatch.setattr(optuna, "create_study", create_study)
    monkeypatch.setattr(optuna.study, "create_study", create_study)
    yield
    for study in studies:
        study.close()


class TestRandom(suite.BasicSamplerTestCase, suite.MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return optuna.samplers.RandomSampler


class TestTpe(suite.BasicSamplerTestCase, suite.RelativeSamplerTestCase, suite.MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: optuna.samplers.TPESampler(n_startup_trials=0, multivariate=True)


class TestNsga2(suite.BasicSamplerTestCase, suite.MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return optuna.samplers.NSGAIISampler


class TestNsga3(suite.BasicSamplerTestCase, suite.MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return optuna.samplers.NSGAIIISampler


class TestSobol(suite.BasicSamplerTestCase, suite.RelativeSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: optuna.samplers.QMCSampler(warn_independent_sampling=False)


class TestCmaEs(suite.BasicSamplerTestCase, suite.RelativeSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: optuna.samplers.CmaEsSampler(n_startup_trials=0, warn_independent_sampling=False)
