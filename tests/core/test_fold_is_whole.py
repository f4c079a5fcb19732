"""An event without its line in the fold cannot come to be: the fold refuses to be loaded."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest

from eventhpo.core.fold import codec
from eventhpo.core.fold.event_families import FAMILIES, Decision
from eventhpo.core.fold.events import Event, ReportsRead, RequestRefused, SearchCreated
from eventhpo.core.fold.evolve import PARTS, whole


def test_each_type_of_event_has_one_line_in_the_fold_and_one_codec() -> None:
    assert set(whole(*PARTS)) == set(get_args(Event)) == set(codec.TYPES.values())
    assert {kind for family in FAMILIES for kind in _leaves(family)} == set(get_args(Event))


def _leaves(family: type) -> set[type]:
    below = family.__subclasses__()
    return {leaf for kind in below for leaf in _leaves(kind)} if below else {family}


@pytest.mark.parametrize("kind", [ReportsRead, RequestRefused, SearchCreated])
def test_a_line_that_is_missing_doubled_or_unknown_is_refused_by_name(kind: type[Event]) -> None:
    without = [{one: line for one, line in part.items() if one is not kind} for part in PARTS]
    with pytest.raises(TypeError, match=f"no line for {kind.__name__}"):
        whole(*without)
    line = next(part[kind] for part in PARTS if kind in part)
    with pytest.raises(TypeError, match=f"two lines for {kind.__name__}"):
        whole(*PARTS, {kind: line})
    with pytest.raises(TypeError, match="a line for Decision, which the union Event lacks"):
        whole(*PARTS, {Decision: line})  # type: ignore[dict-item]


def test_without_a_line_the_fold_is_not_even_loaded() -> None:
    """What a change sees that adds an event and forgets the fold: not a damaged log, weeks later."""
    code = """
from eventhpo.core.fold.events import ReportsRead
from eventhpo.core.fold.apply import curves
del curves.FOLD[ReportsRead]
import eventhpo.core.fold.evolve
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "TypeError: the fold has no line for ReportsRead" in done.stderr
