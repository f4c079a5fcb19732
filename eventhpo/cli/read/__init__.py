"""Commands that read a log and change nothing."""
