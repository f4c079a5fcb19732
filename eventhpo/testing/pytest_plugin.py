"""Fixtures for a project that keeps logs next to its tests: `assert_replays`.

pytest finds this module by its entry point. It imports pytest alone, and what decides
again when the fixture is called: from the package `replay`, which another one of that
name may have taken the place of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from eventhpo.replay_package import sister

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def assert_replays() -> Callable[..., object]:
    """`assert_replays(path)` fails with both sides unless today's code decides the log as it was recorded.

    On another platform than the recorder's, equal up to rounding is enough.
    """
    from eventhpo.errors import EventhpoError  # noqa: PLC0415

    try:
        check: Callable[..., object] = sister("replay.decide.assert_replays").check
    except EventhpoError as error:
        pytest.fail(str(error), pytrace=False)
    return check
