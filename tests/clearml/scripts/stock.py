"""ClearML's own OptimizerOptuna on a test server, as a table in argv says; prints what it came to, as JSON.

{"base": ID, "queue": NAME, "task": ID or null, "jobs": 4, "workers": 1, "limit": null, "period": 0.001, "seed": 5}
"""

import json
import sys

import optuna
from clearml import Task
from clearml.automation import DiscreteParameterRange, UniformParameterRange
from clearml.automation.optimization import MultiObjective
from clearml.automation.optuna import OptimizerOptuna

asked = json.loads(sys.argv[1])
search = OptimizerOptuna(
    base_task_id=asked["base"],
    hyper_parameters=[
        UniformParameterRange("General/lr", 0.0, 1.0),
        DiscreteParameterRange("General/kind", ["a", "b"]),
    ],
    # a plain Objective fails in it, and its own controller passes one in a list
    objective_metric=MultiObjective(title=["validation"], series=["loss"], order=["min"], extremum=[False]),
    execution_queue=asked["queue"],
    num_concurrent_workers=1,
    max_iteration_per_job=None,
    total_max_jobs=asked["jobs"],
    pool_period_min=0.001,
    optuna_sampler=optuna.samplers.RandomSampler(seed=5),
    optuna_pruner=optuna.pruners.NopPruner(),
)
if asked["task"]:
    search.set_optimizer_task(Task.get_task(task_id=asked["task"]))
    search.set_job_default_parent(asked["task"])  # as its controller does
search.start()
