"""The commands that decide, compare and explain recorded searches."""
