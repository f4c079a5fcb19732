"""Decide again: what only a log of decisions can give."""

from replay.explain import explain as explain
