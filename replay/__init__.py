"""Decide again: what only a log of decisions can give."""
