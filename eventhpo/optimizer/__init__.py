"""ClearML's `OptimizerOptuna`, on the event log."""
