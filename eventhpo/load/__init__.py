"""A search file, read into a typed search: all of its mistakes at once, or none."""

from __future__ import annotations

from eventhpo.load.compare import differences
from eventhpo.load.file import SearchFileMistaken
from eventhpo.load.search import Loaded, load

__all__ = ["Loaded", "SearchFileMistaken", "differences", "load"]
