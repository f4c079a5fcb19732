"""ClearML's `HyperParameterOptimizer`, around the class of `eventhpo.optimizer`."""
