"""The package `replay` that comes with eventhpo, told from others of that name."""

from __future__ import annotations

import importlib
from types import ModuleType

_PACKAGE, _PROJECT = "replay", "eventhpo"


def sister(name: str) -> ModuleType:
    """Return the module *name* of the package `replay` that came with eventhpo.

    It is loaded by its name: nothing in eventhpo imports it.

    Raises:
        Usage: another package of that name stands in its place, as that of replay-rec does.
    """
    from eventhpo.errors import Usage  # noqa: PLC0415  starting pytest does without

    try:
        package = importlib.import_module(_PACKAGE)
    except ImportError as error:
        raise Usage(f"the package `{_PACKAGE}` cannot be imported ({error}); {_REMEDY}") from error
    if getattr(package, "PROJECT", None) != _PROJECT:
        where = getattr(package, "__file__", None) or list(getattr(package, "__path__", [])) or ["nowhere"]
        raise Usage(
            f"the package `{_PACKAGE}` that Python finds here ({where}) is not eventhpo's: another one has that name, "
            f"as replay-rec from PyPI does; {_REMEDY}"
        )
    return importlib.import_module(name)


_REMEDY = (
    "install eventhpo in an environment of its own, or uninstall the other one and then eventhpo, and install eventhpo "
    "again"
)
