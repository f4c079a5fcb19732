"""This machine as another one: numpy and OpenBLAS kept from this processor's instructions, in a process of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from numpy._core import _multiarray_umath

from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.evolve import fold
from eventhpo.optuna_adapter.fingerprint import fingerprint
from replay.decide import rounding
from tests.cli.harness import COMMAND

# The golden logs whose samplers add up floats and choose by the sums: elsewhere a choice may flip.
CHOOSES = {"cmaes", "nsga3", "tpe"}


def rounds_otherwise(rows: Sequence[Recorded]) -> bool:
    """Whether floats may round otherwise here than where a log was made."""
    return rounding.because(fold(rows).fingerprint, fingerprint()) != ()


def may_flip(log: Path, rows: Sequence[Recorded]) -> bool:
    """Whether a suggestion of a golden log may be another one here."""
    return log.stem in CHOOSES and rounds_otherwise(rows)


def surroundings(kernel: str) -> dict[str, str]:
    """Return the environment of a process with no more instructions than OpenBLAS's *kernel*, Haswell or Nehalem."""
    found: dict[str, bool] = _multiarray_umath.__cpu_features__
    left = {"Haswell": {"X86_V3", "AVX2", "FMA3"}, "Nehalem": set[str]()}[kernel]
    # numpy refuses to leave what this processor, or this numpy, does not have.
    without = [name for name in _multiarray_umath.__cpu_dispatch__ if found.get(name) and name not in left]
    return os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(without), "OPENBLAS_CORETYPE": kernel}


def called(kernel: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Return what a command comes to there."""
    env = surroundings(kernel) | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run([*COMMAND, *map(str, words)], env=env, capture_output=True, text=True, check=False)


def replayed(kernel: str, log: Path, *words: object) -> dict[str, Any]:
    """Return the report of `eventhpo replay --all --json` there."""
    done = called(kernel, "replay", log, "--all", "--json", *words)
    assert done.returncode in (0, 1), done.stderr
    (found,) = msgspec.json.decode(done.stdout)["logs"]
    return dict(found, code=done.returncode)
