"""The one place that calls Optuna: suggestions and verdicts from a view over the state."""
