"""Reads a search file into a typed search, or reports all of its mistakes at once."""

from __future__ import annotations

from eventhpo.search_file.changed_keys import differences
from eventhpo.search_file.read_search import Loaded, load
from eventhpo.search_file.toml import SearchFileMistaken

__all__ = ["Loaded", "SearchFileMistaken", "differences", "load"]
