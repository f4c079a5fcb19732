"""Compare two logs: the first decision that differs, and the inputs that each search had before it."""
