"""Decide again: what only a log of decisions can give.

    from replay import redecide, redecide_many, rebuild, explain, whatif

Each name is loaded when it is first asked for: `rebuild` needs no Optuna.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from replay.decide.divergence import Divergence
    from replay.decide.redecide import redecide, redecide_many
    from replay.decide.report import Diverged, Report
    from replay.explain import explain
    from replay.rebuild import rebuild
    from replay.whatif import whatif

PROJECT = "eventhpo"  # whose package this is: PyPI has another one that is called replay

_EXPORTS = {
    "Diverged": "replay.decide.report",
    "Divergence": "replay.decide.divergence",
    "Report": "replay.decide.report",
    "explain": "replay.explain",
    "rebuild": "replay.rebuild",
    "redecide": "replay.decide.redecide",
    "redecide_many": "replay.decide.redecide",
    "whatif": "replay.whatif",
}

__all__ = ["Diverged", "Divergence", "Report", "explain", "rebuild", "redecide", "redecide_many", "whatif"]


class _Package(ModuleType):
    """A package whose functions keep their names: importing `replay.rebuild` would put the module in its place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _EXPORTS and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    """Return the public names, loaded or not, with what else is here."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'replay' has no attribute {name!r}")
    value = getattr(importlib.import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value
