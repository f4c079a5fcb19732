"""Jobs as tasks on a ClearML server."""
