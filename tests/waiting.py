"""Wait for something to become true, as whoever tests a door of their own does."""

from __future__ import annotations

from eventhpo.testing.waiting import eventually

__all__ = ["eventually"]
