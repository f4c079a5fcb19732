"""Options of the whole suite, and the lane that each test is in."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tests import lanes

settings.register_profile("short", max_examples=100, deadline=None)
settings.register_profile("long", max_examples=2000, deadline=None)
settings.load_profile("short")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", default="50", help="kills in the loop of kills (50)")
    parser.addoption("--fuzz", default="200", help="logs of each kind that are fuzzed (200)")
    parser.addoption("--power", default="1", help="states at random after each call that the power is cut after (1)")
    parser.addoption("--stock", action="store_true", help="also run ClearML's own class, for docs/faults.md (off)")
    parser.addoption("--write-durations", action="store_true", help="measure each test for its lane (off)")


def pytest_configure(config: pytest.Config) -> None:
    os.environ["EVENTHPO_TRACEBACK"] = "1"  # a fault of ours is a failure, and no log that contradicts itself
    # What tests start is compiled once, also where Python is told to keep no compiled modules, as in many containers:
    # a command that compiles itself takes twice as long. The workers inherit it.
    if os.environ.get("PYTHONDONTWRITEBYTECODE") and hasattr(config, "cache"):
        del os.environ["PYTHONDONTWRITEBYTECODE"]
        os.environ["PYTHONPYCACHEPREFIX"] = str(config.cache.mkdir("compiled"))
    # not in a worker, which sees a part of the tests
    if config.getoption("--write-durations") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(lanes.Recorder())


@pytest.hookimpl(tryfirst=True)  # before pytest picks by marker
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    lanes.mark(items)
    for item in items:
        if item.path.name == "test_kills.py":  # as long as it is asked for, and no longer
            item.add_marker(pytest.mark.timeout(900 + 10 * int(config.getoption("--kills"))))
        if item.path.name == "test_fuzz.py":
            item.add_marker(pytest.mark.timeout(900 + int(config.getoption("--fuzz"))))
        if item.path.name == "test_power.py":
            item.add_marker(pytest.mark.timeout(900 + 60 * int(config.getoption("--power"))))
    if not config.getoption("--stock"):
        for item in items:
            if item.get_closest_marker("stock"):
                item.add_marker(pytest.mark.skip(reason="runs ClearML's own class: --stock"))
