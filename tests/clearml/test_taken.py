"""What the script of a base task can take: compared with what ClearML's own `connect` makes of the same text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from eventhpo.core.search.spec import (
    DiscreteParameterRange,
    LogUniformParameterRange,
    ParameterChoice,
    ParameterSet,
    Scalar,
    UniformIntegerParameterRange,
    UniformParameterRange,
)
from eventhpo.errors import Usage
from eventhpo.jobs.clearml.backend_choice import ClearmlChoice
from eventhpo.jobs.clearml.taken import takes
from tests.clearml.harness import Hours, begin, falling, our_tasks, run, search, unhurried
from tests.clearml_server import ClearmlServer

BASE = {"lr": 0.1, "n": 8, "flag": True, "name": "adam", "none": None, "layers": [1, 2]}


def options(name: str, *values: Scalar) -> Any:
    return DiscreteParameterRange(name=f"General/{name}", values=values)


def described(server: ClearmlServer, *space: Any, **more: Any) -> tuple[str, ...]:
    base = server.make_task("base", hyperparams={"General": BASE})
    return ClearmlChoice().described(search(base, space=space, **more))[1]


REFUSED = [
    (options("flag", "perLevel", "perParent"), "General/flag", "'perLevel', 'perParent'", "bool (True)"),
    (options("flag", 0.5), "General/flag", "0.5", "bool (True)"),
    (options("n", 1.5, 2.5), "General/n", "1.5, 2.5", "int (8)"),
    (options("n", 4, 8.0), "General/n", "8.0", "int (8)"),
    (options("n", True), "General/n", "True", "int (8)"),
    (options("n", "many"), "General/n", "'many'", "int (8)"),
    (UniformParameterRange(name="General/n", min_value=0.5, max_value=2.5), "General/n", "0.5, 2.5", "int (8)"),
    (
        UniformParameterRange(name="General/n", min_value=1, max_value=4, step_size=1),
        "General/n",
        "1.0, 4.0",
        "int (8)",
    ),
    (LogUniformParameterRange(name="General/n", min_value=0, max_value=2), "General/n", "0.0, 2.0", "int (8)"),
    (options("lr", "fast"), "General/lr", "'fast'", "float (0.1)"),
    (options("lr", False), "General/lr", "False", "float (0.1)"),
    (options("layers", "none"), "General/layers", "'none'", "list"),
    (
        ParameterSet(name="General/kind", sets=(ParameterChoice(values={"General/n": 0.5}),)),
        "General/n",
        "0.5",
        "int (8)",
    ),
]


@pytest.mark.parametrize(("space", "name", "values", "kind"), REFUSED)
def test_a_value_that_the_base_task_cannot_take_is_refused_with_both_sides(
    server: ClearmlServer, space: Any, name: str, values: str, kind: str
) -> None:
    with pytest.raises(Usage) as told:
        described(server, space)
    for part in (f"{name}: the space has {values}, and on the base task it is of type {kind}", "new_parameters"):
        assert part in str(told.value)


TAKEN = [
    options("flag", True, False),
    options("flag", 0, 1),
    options("flag", "true", "False"),
    options("n", 1, 2),
    options("n", "3"),
    UniformIntegerParameterRange(name="General/n", min_value=1, max_value=9),
    options("lr", 1, 0.5),
    options("name", "sgd", 3, True),
    options("none", 1.5, "x", None),
    options("layers", "[3, 4]"),
    options("n", None, 1),
]


@pytest.mark.parametrize("space", TAKEN)
def test_what_it_can_take_is_taken(server: ClearmlServer, space: Any) -> None:
    assert not [told for told in described(server, space) if "None" in told]


def test_none_for_a_text_or_a_bool_is_told(server: ClearmlServer) -> None:
    """A script that uses `eventhpo.job` gets None; ClearML's connect makes another value of it."""
    told = described(server, options("name", None, "sgd"), options("flag", None, True))
    assert (
        "where the search says None, ClearML's connect gives a script False or '': General/flag, General/name" in told
    )


def test_a_person_may_insist(server: ClearmlServer) -> None:
    base = server.make_task("base", hyperparams={"General": BASE})
    what = search(base, space=(options("n", 1.5),))
    insisted = msgspec.structs.replace(what.jobs, new_parameters=("General/n",))
    ClearmlChoice().described(msgspec.structs.replace(what, jobs=insisted))


@pytest.mark.parametrize("value", [1.5, 3, "x", True])
def test_what_is_none_on_the_base_task_has_the_type_of_its_value(
    server: ClearmlServer, path: Path, value: Scalar
) -> None:
    """As stock does; without a type the script gets text."""
    base = server.make_task("base", hyperparams={"General": {"lr": 0.1, "none": None}})
    server.script(falling(server))
    space = (UniformParameterRange(name="General/lr", min_value=0.0, max_value=1.0), options("none", value))
    begin(path, unhurried(base, 1, space=space, total_max_jobs=1))
    run(path, clock=Hours(server))
    [task] = our_tasks(server)
    stored = task["hyperparams"]["General"]["none"]
    assert (stored["value"], stored["type"]) == (str(value), type(value).__name__)


VALUES: list[Scalar] = ["perLevel", "true", "0", "2", "1.5", 0, 1, 3, 2.0, 1.5, True, False, "[1]", "x"]


@pytest.mark.parametrize("default", [True, False, 8, 0.1, "adam"])
def test_the_rule_is_that_of_the_sdk(default: Scalar) -> None:
    """Each value goes through the SDK's own conversion: what is taken arrives as it was given, and no other does."""
    kind = type(default).__name__
    for value in VALUES:
        assert takes(kind, value) == (_connected(default, str(value)) in _meant(kind, str(value))), (default, value)


def _meant(kind: str, text: str) -> list[Scalar]:
    """Return what may arrive of *text* if it is what was given."""
    try:
        match kind:
            case "bool":
                known = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
                return [known[text.lower()]]
            case "int":
                return [int(text)]
            case "float":
                return [float(text)]
    except (KeyError, ValueError):
        return []
    return [text]


def _connected(default: Scalar, text: str) -> Any:
    """Return what `connect` makes of a parameter whose text on the task is *text*."""
    from clearml.backend_interface.task.args import _Arguments

    class Task:
        """A task that has one parameter, as far as the conversion asks it."""

        class log:  # noqa: N801
            warning = staticmethod(lambda *args: None)

        def get_parameters(self) -> dict[str, str]:
            return {"General/p": text}

        def _get_task_property(self, *args: Any, **named: Any) -> dict[str, Any]:
            return {}

    found = _Arguments(Task()).copy_to_dict({"p": default}, prefix="General")
    return found["p"]
