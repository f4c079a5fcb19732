"""The demo: its search file and its script."""
