"""A controller that is killed, or not answered, at any of its requests to the server, and goes on.

`sweep` says how such runs are compared; `python -m tests.clearml.sweep` does more of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unittest import mock

import pytest

from eventhpo.controller.controller import Controller
from eventhpo.core.scheduler import actions
from eventhpo.jobs.clearml import session
from eventhpo.log.reader import read
from replay.decide.check_prefixes import check_prefixes
from tests.clearml.sweep import SCENARIOS, Plan, World, plans, world

# The SDK reads its configuration by names that its parser has given up.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

NAMES = list(SCENARIOS)
KINDS = {
    "a crash": lambda plan: plan.lost is None,
    "a lost answer": lambda plan: plan.crash is None,
    "a crash behind a lost answer": lambda plan: plan.lost is not None and plan.crash is not None,
}


def sweep(one: World, which: str) -> tuple[list[tuple[Plan, str]], int]:
    """Return each plan of a kind that changed something and what it changed, and how many plans came about."""
    alone, points, requests = one.left_alone()
    wrong, came = [], 0
    for plan in filter(KINDS[which], plans(points, requests)):
        found, done = one.parted(alone, plan)
        came += done
        wrong += [(plan, found)] if found is not None else []
    return wrong, came


@pytest.mark.parametrize("which", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_a_search_goes_on_as_if_nothing_had_happened_at_any_request(name: str, which: str) -> None:
    with world(SCENARIOS[name]) as one:
        wrong, came = sweep(one, which)
    assert wrong == []
    assert came > 10


@pytest.mark.parametrize("name", NAMES)
def test_a_log_with_crashes_and_lost_answers_is_decided_again_alike(name: str) -> None:
    with world(SCENARIOS[name]) as one:
        _, points, requests = one.left_alone()
        for plan in (Plan(crash=points // 2), Plan(lost=len(requests) // 3), Plan(lost=6, crash=3)):
            path, done = one.run(plan)
            assert done
            assert [c.divergence for c in check_prefixes(read(path, verify=True).rows) if c.divergence] == []


def test_the_scenarios_meet_what_they_are_for() -> None:
    found: dict[str, set[str]] = {}
    for name, scenario in SCENARIOS.items():
        with world(scenario) as one:
            path, _, _ = one.left_alone()
            found[name] = {type(row.event).__name__ for row in read(path).rows}
            found[name] |= {row.event.how for row in read(path).rows if type(row.event).__name__ == "JobEnded"}
            if name == "by hand":
                assert [t["script"]["branch"] for t in one.server.state.tasks.values() if t.get("script")] == ["tried"]
                assert one.server.count("tasks.edit") == 1
    assert "JobPruned" in found["pruned"]
    assert "failed" in found["failed and tried again"]
    assert "lost" in found["lost and tried again"]
    assert {"stopped", "JobStopSent"} <= found["stopped"]


# ---------------------------------------------------------------- controls: the sweep must see these


class ClonesFirst(Controller):
    """Asks the server first, and writes what it meant to do and what came of it afterwards."""

    def _perform(self, action: actions.Effect) -> None:
        commit, self.commit = self.commit, lambda: None  # type: ignore[method-assign]
        try:
            super()._perform(action)
        finally:
            self.commit = commit  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("surveys", "says"),
    [(False, "another controller works on a copy of this log"), (True, "lost its tail")],
    ids=["alone", "with a survey"],
)
def test_the_sweep_sees_a_controller_that_clones_before_it_writes(surveys: bool, says: str) -> None:
    with world(SCENARIOS["plain"], make=ClonesFirst, surveys=surveys) as one:
        alone, points, _ = one.left_alone()
        found = (one.parted(alone, Plan(crash=at))[0] for at in range(1, points + 1))
        assert any(says in (what or "") for what in found)


def sdk(mark: str) -> Any:
    """The SDK's session with its own transport and retries, our mark on each request."""
    from clearml.backend_api.session.session import Session as Sdk

    class Session(Sdk):
        def __init__(self, **ours: object) -> None:
            super().__init__()

        def _send_request(self, *args: Any, headers: Mapping[str, str] | None = None, **more: Any) -> session._Got:
            got = super()._send_request(*args, headers={**(headers or {}), session.MARK: mark}, **more)
            return session._Got(got.status_code, got.reason, got.content, dict(got.headers))

    return Session


def test_the_sweep_sees_the_transport_of_the_sdk() -> None:
    """It repeats a clone whose answer was lost."""
    with mock.patch.object(session, "_session_class", sdk), world(SCENARIOS["plain"]) as one:
        alone, _, requests = one.left_alone()
        found = [
            one.parted(alone, Plan(lost=n))[0] or "" for n, name in enumerate(requests, 1) if name == "tasks.clone"
        ]
    assert found
    assert all("has 2 tasks" in what for what in found)
