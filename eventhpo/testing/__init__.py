"""Simulated jobs and clock: a whole search in a test, in milliseconds."""
