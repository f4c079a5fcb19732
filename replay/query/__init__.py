"""A log as Python objects, data frames and tables, for questions that no command answers."""

from replay.query.loaded_search import load

__all__ = ["load"]
