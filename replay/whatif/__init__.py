"""The same curves under other rules: what is known of it, and what is not."""

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
