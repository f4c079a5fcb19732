"""Say what happened in a search, from its log and the files next to it."""
