"""Which part may know which: the rules that keep the core pure and the doors apart."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from eventhpo.core.fold.event_families import FAMILIES, Input, Observation, Receipt, Tick, UserInput
from eventhpo.core.fold.events import Event

ROOT = Path(__file__).parents[2]
IMPURE = {"sqlite3", "clearml", "random", "secrets", "time", "socket", "os", "pathlib", "io", "subprocess", "threading"}
DOORS = ("eventhpo.log", "eventhpo.jobs.local", "eventhpo.jobs.clearml")
SHARED = ("eventhpo.jobs.protocol", "eventhpo.jobs.reconcile")  # what all backends know


def modules(package: str) -> list[Path]:
    found = sorted((ROOT / package.replace(".", "/")).rglob("*.py"))
    assert found, f"no module in {package}"
    return found


def imported(path: Path) -> Iterator[str]:
    """Yield the full name of everything that *path* imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def offenders(package: str, forbidden: tuple[str, ...]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules(package)
        for name in imported(path)
        if any(name == f or name.startswith(f + ".") for f in forbidden)
    ]


def test_the_core_imports_msgspec_and_nothing_else_outside_itself() -> None:
    allowed = {"eventhpo.core", "eventhpo.errors", "msgspec"}
    for path in modules("eventhpo.core"):
        for name in imported(path):
            top = name.split(".")[0]
            known = any(name == a or name.startswith(a + ".") for a in allowed)
            assert known or name == "eventhpo" or top in sys.stdlib_module_names, f"{path.name}: {name}"
            assert top not in IMPURE, f"{path.name}: {name}"
            assert name != "datetime", f"{path.name}: {name}"


def test_the_parts_of_the_core_import_downwards_only() -> None:
    order = ("validation", "search", "fold", "scheduler")
    for number, part in enumerate(order):
        above = tuple(f"eventhpo.core.{name}" for name in order[number + 1 :])
        assert offenders(f"eventhpo.core.{part}", above) == []


@pytest.mark.parametrize("door", DOORS)
def test_the_doors_never_import_each_other_nor_what_lies_above_them(door: str) -> None:
    others = tuple(d for d in DOORS if d != door)
    above = (
        "optuna_adapter",
        "controller",
        "cli",
        "views",
        "optimizer",
        "search_file",
        "testing",
        "jobs.backend_choice",
    )
    libraries = ("replay", "optuna") if door == "eventhpo.jobs.clearml" else ("replay", "optuna", "clearml")
    assert offenders(door, (*others, *(f"eventhpo.{name}" for name in above), *libraries)) == []


def test_what_all_backends_know_is_the_protocol_and_how_a_log_is_reconciled() -> None:
    for path in modules("eventhpo.jobs.clearml") + modules("eventhpo.jobs.local"):
        own = ".".join(path.relative_to(ROOT).parts[:3])
        for name in imported(path):
            if name.startswith("eventhpo.jobs."):
                assert name.startswith((own, *SHARED)), f"{path.name}: {name}"


def test_only_the_adapter_calls_optuna() -> None:
    for package in ("core", "log", "jobs", "controller", "views", "cli", "search_file", "testing", "demo"):
        assert offenders(f"eventhpo.{package}", ("optuna",)) == []
    for path in (ROOT / "eventhpo").glob("*.py"):
        assert not [n for n in imported(path) if n.split(".")[0] == "optuna"], path


def test_nothing_in_eventhpo_imports_replay_but_the_front_for_a_type_checker() -> None:
    names = {"replay.query.loaded_search", "replay.query.loaded_search.load"}
    assert set(offenders("eventhpo", ("replay",))) == {f"eventhpo/__init__.py: {name}" for name in names}
    code = "import sys, eventhpo; sys.exit(any(name.split('.')[0] == 'replay' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_adapter_knows_no_door() -> None:
    assert offenders("eventhpo.optuna_adapter", DOORS) == []


def test_no_pickle_is_read_but_the_one_that_this_process_wrote() -> None:
    users = [p.name for p in modules("eventhpo") + modules("replay") if "pickle" in set(imported(p))]
    assert users == ["cma_state.py"]


def test_every_event_type_belongs_to_exactly_one_family() -> None:
    for kind in get_args(Event):
        assert sum(issubclass(kind, family) for family in FAMILIES) == 1, kind
    assert {UserInput, Receipt, Observation, Tick} == set(Input.__subclasses__())


def test_the_rule_sees_an_import_that_breaks_it(tmp_path: Path) -> None:
    """Negative control."""
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from optuna import samplers\n")
    assert "optuna.samplers" in set(imported(bad))


def circles(modules_of: dict[str, set[str]]) -> list[str]:
    """Return the modules that import themselves, directly or by way of others, in order of name."""
    return [name for name in sorted(modules_of) if name in reached_from(name, modules_of)]


def reached_from(start: str, modules_of: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    open_ends = [start]
    while open_ends:
        new = modules_of.get(open_ends.pop(), set()) - reached
        reached |= new
        open_ends.extend(new)
    return reached


def import_graph() -> dict[str, set[str]]:
    """Return the modules of both packages, each with those of them that it imports, also in a function or for types."""
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in modules("eventhpo") + modules("replay")
    }
    graph = {}
    for name, path in paths.items():
        names = set(imported(path)) & paths.keys()
        submodules = {parent for parent in names if any(n.startswith(parent + ".") for n in names)}
        graph[name] = names - submodules - {name}
    return graph


def test_no_two_modules_import_each_other_not_even_by_way_of_others() -> None:
    graph = import_graph()
    assert "eventhpo.optimizer.optimizer" in graph
    assert circles(graph) == []


def test_a_circle_of_three_modules_is_seen() -> None:
    """Negative control."""
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c"]
