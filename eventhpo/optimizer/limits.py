"""The class's arguments, checked before anything else looks at them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from eventhpo.controller.requests import limit_kind
from eventhpo.core.search.spec import Limits
from eventhpo.core.validation.validators import Validator, Wrong, choice, number, text
from eventhpo.errors import Usage
from eventhpo.optimizer.conversion import _plain
from eventhpo.optimizer.jobs_argument import ClearmlQueue, LocalJobs


def known_arguments(constructor: Callable[..., None]) -> list[str]:
    """Return the names of the arguments that *constructor* spells out."""
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [n for n, p in inspect.signature(constructor).parameters.items() if n != "self" and p.kind not in kinds]


# what is no limit that may change, and what it may be
_KINDS: dict[str, Validator[str]] = {
    "base_task_id": text(),
    "nan_policy": choice("fail", "worst"),
    "on_stop": choice("abort", "leave"),
}


def checked(limits: Limits, **others: object) -> Limits:
    """Return *limits*, numpy's numbers as Python's, if they and *others* are what they may be.

    Raises:
        Usage: naming every one that is out of range, the value found and what was expected.
    """
    given = {name: getattr(limits, name) for name in limits.__struct_fields__}
    read: dict[str, Any] = {}
    wrong = []
    for name, value in (given | others).items():
        kind: Validator[Any] = limit_kind(name) if name in given else _KINDS[name]
        try:
            read[name] = kind.read(_plain(value))
        except Wrong:
            wrong.append(f"{name} is {value!r}, expected {kind.expected}")
    if wrong:
        raise Usage("\n".join(wrong))
    return Limits(**{name: read[name] for name in given})


def minutes_of(name: str, value: object) -> float | None:
    """Return *value* as minutes, None as it is.

    Raises:
        Usage: it is no number above 0.
    """
    try:
        return None if value is None else float(number(above=0.0).read(_plain(value)))
    except Wrong as error:
        raise Usage(f"{name} is {value!r}, expected minutes, above 0") from error


def one_of(first: str, a: object, second: str, b: object) -> object:
    """Return the one of two arguments for the same thing that was given.

    Raises:
        Usage: both were.
    """
    if a is not None and b is not None:
        raise Usage(f"{first}= and {second}= are the same thing: give one of them")
    return a if a is not None else b


def backend_of(
    jobs: Any, base_task_id: str, execution_queue: Any, new_parameters: Sequence[str] = (), workers: int = 1
) -> LocalJobs | ClearmlQueue:
    """Return where the jobs run.

    Raises:
        Usage: it is no such place, names no queue, or has devices for another number of *workers*.
    """
    if isinstance(jobs, LocalJobs):
        if len(jobs.gpus) not in (0, workers):
            raise Usage(
                f"num_concurrent_workers is {workers}, and gpus of LocalJobs has {len(jobs.gpus)} entries; expected a "
                "worker for each entry"
            )
        return jobs
    if jobs is not None:
        raise Usage(f"jobs is {jobs!r}; expected None, for a ClearML server, or LocalJobs(command=[...])")
    if not isinstance(execution_queue, str) or not execution_queue.strip():
        raise Usage(f"execution_queue is {execution_queue!r}, expected the name or the id of a queue")
    return ClearmlQueue(base_task_id, execution_queue, new_parameters)
