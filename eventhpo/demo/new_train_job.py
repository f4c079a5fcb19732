"""Fit a line to noisy points: a script that uses eventhpo.job, to be replaced by your own.

`python train_job.py` runs it once with the parameters below. In a search each job gets others, by
name.
"""

import math
import time

from eventhpo import job

EPOCHS = 20

# The defaults. A search replaces those that are in its space, as General/lr, General/momentum, ...
params = job.connect({"lr": 0.05, "momentum": 0.5, "schedule": "constant"})

points = [(x / 10, 2 * x / 10 - 1 + 0.1 * math.sin(37 * x)) for x in range(40)]
train, validation = points[::2], points[1::2]

slope, offset, slope_step, offset_step = 0.0, 0.0, 0.0, 0.0
for epoch in range(1, EPOCHS + 1):
    lr = params["lr"]
    if params["schedule"] == "cosine":
        lr *= 0.5 * (1 + math.cos(math.pi * epoch / EPOCHS))
    time.sleep(0.03)  # an epoch of a real model takes its time
    slope_gradient = sum(2 * (slope * x + offset - y) * x for x, y in train) / len(train)
    offset_gradient = sum(2 * (slope * x + offset - y) for x, y in train) / len(train)
    slope_step = params["momentum"] * slope_step - lr * slope_gradient
    offset_step = params["momentum"] * offset_step - lr * offset_gradient
    slope, offset = slope + slope_step, offset + offset_step
    loss = sum((slope * x + offset - y) ** 2 for x, y in validation) / len(validation)
    job.report_scalar("validation", "loss", value=loss, iteration=epoch)
