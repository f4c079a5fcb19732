"""Commands that keep a log: copy it, make it one file, save what is left of it."""
