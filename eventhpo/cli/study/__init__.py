"""The commands for Optuna studies."""
