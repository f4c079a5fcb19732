"""A recorded search under other rules: what its curves tell about it, and what stays unknown."""

from __future__ import annotations

from replay.whatif.answer import AtIteration, Best, Correlation, Regret, Row, Searched, Spread, Totals, TrialRow, WhatIf
from replay.whatif.evaluate import whatif

__all__ = [
    "AtIteration",
    "Best",
    "Correlation",
    "Regret",
    "Row",
    "Searched",
    "Spread",
    "Totals",
    "TrialRow",
    "WhatIf",
    "whatif",
]
