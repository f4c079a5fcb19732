"""Fit a line to noisy points: a script with flags, to be replaced by your own.

`python train.py --lr 0.1` runs it once. It needs nothing but Python. A search starts it
with other values; of eventhpo it knows one thing: where to write its reports.
"""

import argparse
import json
import math
import os
import time
from pathlib import Path

parser = argparse.ArgumentParser(description="Fit a line to noisy points by gradient descent.")
parser.add_argument("--lr", type=float, default=0.05)
parser.add_argument("--momentum", type=float, default=0.5)
parser.add_argument("--schedule", choices=["constant", "cosine"], default="constant")
parser.add_argument("--epochs", type=int, default=20)
args = parser.parse_args()


def report(series: str, value: float, iteration: int) -> None:
    """Append one line of JSON to the file that the search names; without a search, print it."""
    line = json.dumps({"title": "validation", "series": series, "iteration": iteration, "value": value})
    path = os.environ.get("EVENTHPO_REPORTS")
    if path is None:
        print(line)
        return
    with Path(path).open("a") as file:
        file.write(line + "\n")


points = [(x / 10, 2 * x / 10 - 1 + 0.1 * math.sin(37 * x)) for x in range(40)]
train, validation = points[::2], points[1::2]

slope, offset, slope_step, offset_step = 0.0, 0.0, 0.0, 0.0
for epoch in range(1, args.epochs + 1):
    lr = args.lr
    if args.schedule == "cosine":
        lr *= 0.5 * (1 + math.cos(math.pi * epoch / args.epochs))
    time.sleep(0.03)  # an epoch of a real model takes its time
    slope_gradient = sum(2 * (slope * x + offset - y) * x for x, y in train) / len(train)
    offset_gradient = sum(2 * (slope * x + offset - y) for x, y in train) / len(train)
    slope_step = args.momentum * slope_step - lr * slope_gradient
    offset_step = args.momentum * offset_step - lr * offset_gradient
    slope, offset = slope + slope_step, offset + offset_step
    report("loss", sum((slope * x + offset - y) ** 2 for x, y in validation) / len(validation), epoch)
