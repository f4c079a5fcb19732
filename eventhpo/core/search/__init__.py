"""What is asked for: the search, its space and its limits, as data."""
