"""Tests of what asks Optuna."""
