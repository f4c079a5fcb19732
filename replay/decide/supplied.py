"""Samplers and pruners that a caller passes in: an instance, or where it stands as `module:attribute`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventhpo.errors import Usage

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


def sampler(given: BaseSampler | str | None) -> BaseSampler | None:
    """Return *given*, or the sampler that stands at `module:attribute`.

    The name is the caller's, never one that a log holds. Modules in the current folder
    are found too.

    Raises:
        Usage: there is no such module or attribute, or it is no instance of Optuna's `BaseSampler`.
    """
    if given is None:
        return None
    from optuna.samplers import BaseSampler  # noqa: PLC0415  half a second, which most logs do without

    instance: BaseSampler = _loaded("sampler", given) if isinstance(given, str) else given
    _require("sampler", instance, BaseSampler)
    return instance


def pruner(given: BasePruner | str | None) -> BasePruner | None:
    """Return *given*, or the pruner that stands at `module:attribute`; see `sampler`."""
    if given is None:
        return None
    from optuna.pruners import BasePruner  # noqa: PLC0415

    instance: BasePruner = _loaded("pruner", given) if isinstance(given, str) else given
    _require("pruner", instance, BasePruner)
    return instance


def _require(role: str, instance: object, kind: type) -> None:
    if not isinstance(instance, kind):
        what = f"the class {instance.__name__}" if isinstance(instance, type) else f"a {type(instance).__name__}"
        raise Usage(f"the {role} that was passed in is {what}, no instance of {kind.__name__}; pass an instance")


def _loaded(role: str, given: str) -> Any:
    module, colon, attribute = given.partition(":")
    if not colon or not module or not attribute:
        raise Usage(f"{role} {given}: expected module:attribute, such as mine:SAMPLER")
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)  # after all others: what lies there shall hide nothing
    try:
        imported = importlib.import_module(module)
    except Exception as error:  # whatever the caller's own module raises
        kind = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
        raise Usage(f"{role} {given}: the module cannot be imported: {kind}{error}") from error
    try:
        return getattr(imported, attribute)
    except AttributeError as error:
        raise Usage(f"{role} {given}: {error}") from error
