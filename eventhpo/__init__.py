"""Hyper-parameter search that cannot be lost and can always explain itself."""
