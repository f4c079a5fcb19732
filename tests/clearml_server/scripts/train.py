"""A job that only knows ClearML: connects its parameters, reports, and ends as its parameters say."""

import os
import sys
import threading

from clearml import Task

task = Task.init(
    project_name="eventhpo", task_name="train", auto_connect_frameworks=False, auto_resource_monitoring=False
)
params = {"lr": 0.1, "epochs": 3, "fail": 0, "sleep": 0.0}
task.connect(params)
for step in range(1, params["epochs"] + 1):
    task.get_logger().report_scalar("validation", "accuracy", iteration=step, value=1 - params["lr"] / step)
    threading.Event().wait(params["sleep"])  # an epoch that takes that long
task.get_logger().flush(wait=True)
sys.stdout.write(f"lr={params['lr']!r}\n")
if params["fail"]:
    sys.stdout.flush()
    os._exit(params["fail"])
