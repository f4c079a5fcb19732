"""A job that runs under both backends: its accuracy is its units."""

from eventhpo import job

params = job.connect({"units": 0})
for step in (1, 2, 3):
    job.report_scalar("validation", "accuracy", params["units"] - 1 / step, step)
