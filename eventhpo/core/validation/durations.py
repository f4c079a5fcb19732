"""Times as people write them: `8h`, `90m`, `45s`, `1h30m`."""

from __future__ import annotations

import re

from eventhpo.core.validation.validators import Validator, Wrong

_UNITS = (  # seconds, and how people write the unit; the larger ones come first
    (86_400, r"d|days?"),
    (3_600, r"h|hrs?|hours?"),
    (60, r"m|mins?|minutes?"),
    (1, r"s|secs?|seconds?"),
)
_NUMBER = r"\d+(?:\.\d+)?"
_TIME = re.compile(
    r"\s*".join(rf"(?:({_NUMBER})\s*(?:{unit})(?![a-z]))?" for _, unit in _UNITS), re.ASCII | re.IGNORECASE
)


def seconds(text: str) -> float | None:
    """Return the seconds that *text* names, None if it names none: each unit once, the larger ones first."""
    time = _TIME.fullmatch(text.strip())
    if time is None or not any(time.groups()):
        return None
    return sum(float(count) * unit for count, (unit, _) in zip(time.groups(), _UNITS, strict=True) if count)


def duration(unit: int, name: str, most: float) -> Validator[float]:
    """Return the kind of times above 0, up to *most*: a number of *name* (*unit* seconds each), or a text as `8h`.

    What it reads is a number of that unit.
    """
    expected = f"{name}, a finite number above 0, or a time as 8h, 90m, 45s or 1h30m"

    def read(value: object) -> float:
        if isinstance(value, str):
            named = seconds(value)
            value = None if named is None else named / unit
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Wrong(expected)
        try:
            number = float(value)
        except OverflowError:
            raise Wrong(expected) from None
        if not number <= most:
            raise Wrong(f"{expected}, and at most {most:.0f} {name}")
        if not number > 0:
            raise Wrong(expected)
        return number

    return Validator(expected, read)
