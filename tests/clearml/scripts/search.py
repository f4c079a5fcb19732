"""A script for ClearML's class: its import changed, and log= added."""

import sys

from clearml import Task
from clearml.automation import Objective, UniformIntegerParameterRange
from optuna.pruners import NopPruner

from eventhpo import OptimizerOptuna

base_task_id, queue = sys.argv[1:]
task = Task.init(
    project_name="Hyper-Parameter Optimization",
    task_name="Automatic Hyper-Parameter Optimization",
    task_type=Task.TaskTypes.optimizer,
    reuse_last_task_id=False,
    auto_connect_frameworks=False,
    auto_resource_monitoring=False,
)
optimizer = OptimizerOptuna(
    base_task_id=base_task_id,
    hyper_parameters=[UniformIntegerParameterRange("General/units", min_value=1, max_value=6)],
    objective_metric=Objective("validation", "accuracy", order="max"),
    execution_queue=queue,
    num_concurrent_workers=2,
    max_iteration_per_job=3,
    total_max_jobs=6,
    pool_period_min=0.002,
    optuna_pruner=NopPruner(),
    log="search.db",
)
optimizer.set_optimizer_task(task)
optimizer.start()
for found in optimizer.get_top_experiments_details(top_k=1):
    sys.stdout.write(f"best: {found['hyper_parameters']['General/units']} of task {found['task_id']}\n")
task.close()
