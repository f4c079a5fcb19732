"""The controller: the loop that decides, acts and records, and what others ask of it."""
