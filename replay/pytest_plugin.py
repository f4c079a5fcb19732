"""The plugin's first place: `-p replay.pytest_plugin` loads the one of `eventhpo/testing/pytest_plugin.py`."""

from eventhpo.testing.pytest_plugin import assert_replays

__all__ = ["assert_replays"]
