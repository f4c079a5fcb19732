"""Optuna's classes by the names of the catalogue; a log names none but these."""

from __future__ import annotations

from typing import Any

from optuna import pruners, samplers
from optuna.samplers import nsgaii

from eventhpo.optuna_adapter.catalogue import Role

CLASSES: dict[Role, dict[str, type[Any]]] = {
    "sampler": {
        "BruteForceSampler": samplers.BruteForceSampler,
        "CmaEsSampler": samplers.CmaEsSampler,
        "GPSampler": samplers.GPSampler,
        "GridSampler": samplers.GridSampler,
        "NSGAIIISampler": samplers.NSGAIIISampler,
        "NSGAIISampler": samplers.NSGAIISampler,
        "PartialFixedSampler": samplers.PartialFixedSampler,
        "QMCSampler": samplers.QMCSampler,
        "RandomSampler": samplers.RandomSampler,
        "TPESampler": samplers.TPESampler,
    },
    "pruner": {
        "HyperbandPruner": pruners.HyperbandPruner,
        "MedianPruner": pruners.MedianPruner,
        "NopPruner": pruners.NopPruner,
        "PatientPruner": pruners.PatientPruner,
        "PercentilePruner": pruners.PercentilePruner,
        "SuccessiveHalvingPruner": pruners.SuccessiveHalvingPruner,
        "ThresholdPruner": pruners.ThresholdPruner,
        "WilcoxonPruner": pruners.WilcoxonPruner,
    },
    "crossover": {
        "BLXAlphaCrossover": nsgaii.BLXAlphaCrossover,
        "SBXCrossover": nsgaii.SBXCrossover,
        "SPXCrossover": nsgaii.SPXCrossover,
        "UNDXCrossover": nsgaii.UNDXCrossover,
        "UniformCrossover": nsgaii.UniformCrossover,
        "VSBXCrossover": nsgaii.VSBXCrossover,
    },
    "mutation": {"PolynomialMutation": nsgaii.PolynomialMutation},
}
