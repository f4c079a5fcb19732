"""What a decision depends on besides the log: versions, processor, libraries.

A decision repeats to the bit on one platform only. Other vector instructions or another
BLAS kernel round a sum differently, and then a sampler can take another branch. The log
records the fingerprint, so that a replay that differs can name a possible cause.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core import _multiarray_umath  # type: ignore[attr-defined]  # where numpy keeps what it dispatches on

from eventhpo.core.search.spec import POLICY

_PACKAGES = ("eventhpo", "optuna", "numpy", "scipy", "cmaes", "torch")
# How the OpenBLAS in numpy's wheels names its function; the suffix is that of 64-bit integers.
_CORE_NAMES = ("scipy_openblas_get_corename64_", "scipy_openblas_get_corename", "openblas_get_corename")


def fingerprint() -> dict[str, str]:
    """Return versions, platform, vector instructions and BLAS as text; equal in two calls of a process.

    A package that is not installed has no entry. Only numpy is imported, and no process is started.
    """
    versions = {name: text for name in _PACKAGES if (text := _version(name)) is not None}
    return versions | {
        "policy": str(POLICY),
        "python": f"{sys.implementation.name} {platform.python_version()}",
        "system": platform.system(),
        "machine": platform.machine(),
        "libc": _libc(),
        "simd": _simd(),
        "blas": _blas(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _libc() -> str:
    """Return the C library, whose exp, log and pow the samplers use."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "unknown"
    except (AttributeError, ValueError, OSError):  # no glibc, no such name
        return "unknown"


def _simd() -> str:
    """Return the vector instructions that numpy uses on this processor.

    Those that NPY_DISABLE_CPU_FEATURES switches off are left out.
    """
    features = getattr(_multiarray_umath, "__cpu_features__", {})
    dispatched = [name for name in getattr(_multiarray_umath, "__cpu_dispatch__", []) if features.get(name)]
    return " ".join([*getattr(_multiarray_umath, "__cpu_baseline__", []), *dispatched]) or "unknown"


def _blas() -> str:
    config: Any = np.show_config(mode="dicts")
    blas = (config or {}).get("Build Dependencies", {}).get("blas", {})
    return f"{blas.get('name', 'unknown')} {blas.get('version', '')} {_core_type()}".strip()


def _core_type() -> str:
    """Return the kernel that numpy's own OpenBLAS chose for this processor; "" if numpy has another BLAS."""
    for library in sorted(Path(np.__file__).parent.parent.glob("numpy.libs/*openblas*")):
        try:
            loaded = ctypes.CDLL(str(library))  # numpy has it open already: this is a second reference
        except OSError:
            continue
        for name in _CORE_NAMES:
            if (ask := getattr(loaded, name, None)) is not None:
                ask.restype = ctypes.c_char_p
                return str(ask().decode("ascii", "replace"))
    return ""
