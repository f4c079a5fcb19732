"""Advice on a search file, as notes on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventhpo.cli import output
from eventhpo.core.advice import advice

if TYPE_CHECKING:
    from eventhpo.search_file import Loaded


def print_advice(loaded: Loaded) -> None:
    """Write to stderr what is unwise in the search file *loaded*, a note each."""
    for text in advice(loaded.search, len(loaded.trials)):
        output.note(f"note: {text}")
