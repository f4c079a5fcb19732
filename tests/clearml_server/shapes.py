"""The shape of an answer: keys and types, recursively; what a recording fixes and what may vary."""

from __future__ import annotations

from typing import Any

# Under these the keys are names and ids, not part of the shape: every value has the shape of the recorded ones.
MAPS = frozenset(
    {"last_metrics", "metric_stats", "event_stats_by_type", "hyperparams", "configuration", "runtime", "variants"}
)


def differences(recorded: Any, answered: Any, path: str = "", *, named: int = 0) -> list[str]:
    """What is wrong with *answered*; *named* levels of a map are keyed by names that do not count."""
    if isinstance(recorded, dict) and isinstance(answered, dict):
        return _of_dicts(recorded, answered, path, named)
    if isinstance(recorded, list) and isinstance(answered, list):
        return _of_lists(recorded, answered, path)
    if type(recorded) is not type(answered):
        return [f"{path}: {type(answered).__name__} instead of {type(recorded).__name__}"]
    return []


def _of_dicts(recorded: dict[str, Any], answered: dict[str, Any], path: str, named: int) -> list[str]:
    if named:
        if bool(recorded) != bool(answered):
            return [f"{path}: {len(answered)} entries instead of {len(recorded)}"]
        return [
            wrong for key, value in answered.items() for wrong in _like_one(recorded, value, f"{path}.{key}", named)
        ]
    wrong = [f"{path}: {key} is missing" for key in recorded if key not in answered]
    wrong += [f"{path}: {key} is not recorded" for key in answered if key not in recorded]
    for key in recorded.keys() & answered.keys():
        depth = 2 if key in ("last_metrics", "hyperparams") else 1 if key in MAPS else 0
        wrong += differences(recorded[key], answered[key], f"{path}.{key}", named=depth)
    return wrong


def _of_lists(recorded: list[Any], answered: list[Any], path: str) -> list[str]:
    """Each of the answered is like one of the recorded; a list that was recorded full is not answered empty."""
    if recorded and not answered:
        return [f"{path}: empty"]
    wrong = []
    for at, value in enumerate(answered):
        tries = [differences(one, value, f"{path}[{at}]") for one in recorded]
        if not recorded or all(tries):
            wrong += tries[0] if tries else [f"{path}[{at}]: nothing of it was recorded"]
    return wrong


def _like_one(recorded: dict[str, Any], value: Any, path: str, named: int) -> list[str]:
    """Below a name: like what was recorded below any."""
    tries = [differences(one, value, path, named=named - 1) for one in recorded.values()]
    return tries[0] if tries and all(tries) else []
