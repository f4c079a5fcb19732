"""What a decision depends on beside the log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest
from numpy._core import _multiarray_umath

from eventhpo.core.search.spec import POLICY
from eventhpo.optuna_adapter.fingerprint import fingerprint

KEYS = {"eventhpo", "optuna", "numpy", "policy", "python", "system", "machine", "libc", "simd", "blas"}


def in_a_process(**environment: str) -> dict[str, str]:
    code = "import json; from eventhpo.optuna_adapter.fingerprint import fingerprint; print(json.dumps(fingerprint()))"
    ran = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, check=True, capture_output=True, timeout=60
    )
    found: dict[str, str] = json.loads(ran.stdout)
    return found


def test_it_names_versions_platform_vector_instructions_and_blas() -> None:
    found = fingerprint()
    assert found.keys() >= KEYS
    assert all(found.values())
    assert found["optuna"] == version("optuna")
    assert found["policy"] == str(POLICY)


def test_two_processes_of_one_machine_have_the_same() -> None:
    assert in_a_process(PYTHONHASHSEED="1") == in_a_process(PYTHONHASHSEED="2") == fingerprint()


def test_vector_instructions_that_numpy_was_told_to_leave_are_not_named() -> None:
    last = fingerprint()["simd"].split()[-1]
    if last in _multiarray_umath.__cpu_baseline__:
        pytest.skip("numpy dispatches to nothing beyond its baseline on this processor")
    assert last not in in_a_process(NPY_DISABLE_CPU_FEATURES=last)["simd"].split()


def test_optuna_is_not_imported_for_it() -> None:
    code = "import sys; from eventhpo.optuna_adapter import fingerprint as f; f.fingerprint()"
    code += "; sys.exit('optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
