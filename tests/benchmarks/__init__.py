"""What eventhpo costs next to its peers, measured in one run: `python -m tests.benchmarks`."""
