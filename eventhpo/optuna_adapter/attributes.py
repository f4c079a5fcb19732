"""The attributes that samplers and pruners write on trials and studies, as JSON for the log."""

from __future__ import annotations

from typing import Any

from eventhpo.core.search.spec import to_num

QMC_COUNTER = "qmc:"  # prefix of QMCSampler's counters among the study's attributes


def to_log(attrs: dict[str, Any]) -> dict[str, Any]:
    """Return attributes as JSON: NaN and infinities as names, tuples as lists."""
    return {name: value_to_log(value) for name, value in attrs.items()}


def value_to_log(value: Any) -> Any:
    """Return one attribute's value as JSON.

    Raises:
        TypeError: JSON has no form for it.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return to_num(float(value))
    if isinstance(value, (list, tuple)):
        return [value_to_log(v) for v in value]
    if isinstance(value, dict):
        return {str(k): value_to_log(v) for k, v in value.items()}
    raise TypeError(f"an attribute of type {type(value).__name__} cannot be recorded: {value!r}")


def kept_over_tries(study_attrs: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes that the next try gets from a refused one: without its counter QMC repeats the point."""
    return {name: value for name, value in study_attrs.items() if name.startswith(QMC_COUNTER)}
