"""Decide a log again with the code of today, and say where it comes to something else."""
