"""What a training script imports: its parameters, its reports, its checkpoints.

A script that is searched::

    from eventhpo import job

    params = job.connect({"lr": 0.1, "layers": 2}, name="General")
    for epoch in range(20):
        ...
        job.report_scalar("validation", "accuracy", value, epoch)

Everything works without a controller too: parameters keep their defaults and
reports go nowhere. In a script that runs as a ClearML task both go through the SDK.
Standard library only otherwise, and hardly any of that is loaded before it is needed.

Attributes, read from the environment when they are asked for::

    active          whether a controller started this process
    trial           number of the trial, 0 without a controller
    attempt         0, or how many attempts of this trial came before this one
    slot            number of the worker slot, 0 to workers - 1: to pick a GPU
    checkpoint_dir  folder that all attempts of the trial share, made when first asked
                    for; `checkpoints` in the current folder without a controller
    predecessor     job id of the attempt before this one (on ClearML its task's id),
                    None in a first attempt
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # typing need not be loaded for this
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any, SupportsFloat, SupportsIndex

active: bool
trial: int
attempt: int
slot: int
checkpoint_dir: Path
predecessor: str | None

_NUMBERS = {"trial": "EVENTHPO_TRIAL", "attempt": "EVENTHPO_ATTEMPT", "slot": "EVENTHPO_SLOT"}
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_BIGGEST = 2**63 - 1  # what a log can hold
_NAME = 1_000  # characters that a log takes as a title or series

_said: dict[str, bool] = {}  # what this process has reported already: "report", "resume"
_opened: tuple[int, int] | None = None  # descriptor of the reports, and the process that opened it


def __getattr__(name: str) -> Any:
    """Return an attribute of the job as the environment has it now."""
    if name in _NUMBERS:
        return _number(name)
    if name == "active":
        return "EVENTHPO_REPORTS" in os.environ or _is_task()
    if name == "checkpoint_dir":
        return _checkpoint_dir()
    if name == "predecessor":
        return _predecessor()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _is_task() -> bool:
    """Whether this runs as a ClearML task: no controller started it here, but an agent or `Task.init` did."""
    if "EVENTHPO_REPORTS" in os.environ:
        return False
    import sys  # noqa: PLC0415

    if not ("clearml" in sys.modules or os.environ.get("CLEARML_TASK_ID") or os.environ.get("TRAINS_TASK_ID")):
        return False
    from eventhpo.jobs.clearml.reporting import is_task  # noqa: PLC0415

    return is_task()


def _number(name: str) -> int:
    if name != "slot" and _is_task():
        from eventhpo.jobs.clearml.reporting import names  # noqa: PLC0415

        return names()[name == "attempt"]
    return int(os.environ.get(_NUMBERS[name], "0"))


def connect(params: dict[str, Any], name: str = "General") -> dict[str, Any]:
    """Replace each default in *params* by the value of `name/key`, in the default's type; return *params*.

    A key that the search does not vary keeps its default. A default of another type
    than bool, int, float or str takes the value as it is, and None stays None. A dict
    inside is filled from `name/key/...`.

    Raises:
        ValueError: a value that the default's type can't hold.
    """
    if _is_task():
        from eventhpo.jobs.clearml import reporting  # noqa: PLC0415

        reporting.declare(params, name)
        _fill(params, name, reporting.texts())
    else:
        _fill(params, name, _values())
    return params


def report_scalar(title: str, series: str, value: SupportsFloat, iteration: SupportsIndex) -> None:
    """Report *value* of a metric at *iteration*; NaN and infinities are kept.

    One line in one write, so reports of several processes never mix.

    Raises:
        ValueError, TypeError: no report could look like this.
        OSError: the report could not be written; it is not in the search.
    """
    names, at, number = (_name(title, "title"), _name(series, "series")), _iteration(iteration), float(value)
    _said["report"] = True
    if _is_task():
        from eventhpo.jobs.clearml.reporting import report  # noqa: PLC0415

        report(*names, number, at)
    else:
        _write({"title": names[0], "series": names[1], "iteration": at, "value": _json_number(number)})


def resume_from(iteration: SupportsIndex) -> None:
    """Say that this attempt goes on after *iteration* of the attempt before it, and inherits its points.

    To be said once, before the first report. Without an attempt before this one, or
    without a controller, it has no effect.

    Raises:
        RuntimeError: something was reported already, or this was said before.
    """
    claim = _iteration(iteration)
    if "report" in _said:
        raise RuntimeError("resume_from() must come before the first report_scalar()")
    if "resume" in _said:
        raise RuntimeError("resume_from() was called before; an attempt goes on from one place")
    _said["resume"] = True
    if _is_task():
        from eventhpo.jobs.clearml import reporting  # noqa: PLC0415

        if reporting.names()[1]:
            reporting.resume_from(claim)
    elif "EVENTHPO_PREDECESSOR" in os.environ:
        _write({"resume_from": claim})


# ---------------------------------------------------------------- parameters


def _values() -> dict[str, Any]:
    """Return what the search gives this job."""
    path = os.environ.get("EVENTHPO_PARAMS")
    if path is None:
        return {}
    import json  # noqa: PLC0415

    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib takes longer to load than this file
        return dict(json.load(file))


def _fill(params: dict[str, Any], prefix: str, values: dict[str, Any]) -> None:
    for key, default in params.items():
        name = f"{prefix}/{key}"
        if name in values:
            params[key] = _like(default, values[name], name)
        elif isinstance(default, dict):
            _fill(default, name, values)


def _like(default: object, value: Any, name: str) -> Any:
    """Return *value* in the type of *default*.

    Raises:
        ValueError: it doesn't fit.
    """
    if value is None or not isinstance(default, bool | int | float | str):
        return value
    try:
        return _CONVERT[_kind(default)](value)
    except (ValueError, TypeError, KeyError, OverflowError):
        kind = _kind(default).__name__
        raise ValueError(
            f"parameter {name}: the search gives {value!r}, which is no {kind} as its default {default!r} is; "
            f"change the default or the search space"
        ) from None


def _kind(default: bool | float | str) -> type:
    return next(kind for kind in (bool, int, float, str) if isinstance(default, kind))


def _bool(value: Any) -> bool:
    return _TRUTH[str(value).strip().lower()]


def _int(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError(value)
    number = int(value)
    if not isinstance(value, str) and number != value:
        raise ValueError(value)
    return number


def _float(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError(value)
    return float(value)


_CONVERT: dict[type, Any] = {bool: _bool, int: _int, float: _float, str: str}


# ---------------------------------------------------------------- reports


def _name(name: str, what: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a string, not {name!r}")
    if len(name) > _NAME:
        raise ValueError(f"{what} is longer than {_NAME} characters")
    name.encode("utf-8")  # half a character can't be written into a log: it raises here, where it was made
    return name


def _iteration(iteration: SupportsIndex) -> int:
    try:
        number = iteration.__index__()
    except AttributeError:
        raise TypeError(f"iteration must be an integer, not {iteration!r}") from None
    if not 0 <= number <= _BIGGEST:
        raise ValueError(f"iteration must be 0 to 2**63 - 1, not {number}")
    return number


def _json_number(value: float) -> float | str:
    """Return *value* as JSON can carry it: NaN and the infinities by name."""
    if value != value:  # noqa: PLR0124 - math is not loaded for this
        return "nan"
    return str(value) if value in (float("inf"), float("-inf")) else value


def _write(report: dict[str, Any]) -> None:
    """Append *report* as a line, after a newline that ends a torn line before it."""
    path = os.environ.get("EVENTHPO_REPORTS")
    if path is None:
        return
    import json  # noqa: PLC0415

    line = b"\n" + json.dumps(report).encode("ascii") + b"\n"
    try:
        written = os.write(_descriptor(path), line)
    except OSError as error:
        raise OSError(error.errno, f"cannot write a report: {error.strerror}", path) from error
    if written < len(line):
        raise OSError(f"cannot write a report: only {written} of {len(line)} bytes of it fit into {path}")


def _descriptor(path: str) -> int:
    """Return a descriptor of this process at the end of *path*; a fork opens its own."""
    global _opened  # noqa: PLW0603 - one descriptor a process is the point
    if _opened is None or _opened[1] != os.getpid():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        _opened = (descriptor, os.getpid())
    return _opened[0]


def _predecessor() -> str | None:
    if _is_task():
        from eventhpo.jobs.clearml.reporting import predecessor  # noqa: PLC0415

        return predecessor()
    return os.environ.get("EVENTHPO_PREDECESSOR")


def _checkpoint_dir() -> Path:
    from pathlib import Path  # noqa: PLC0415

    folder = Path(os.environ.get("EVENTHPO_CHECKPOINT_DIR", "checkpoints"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
