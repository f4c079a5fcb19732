"""ClearML's own HyperParameterOptimizer and OptimizerOptuna on the base task of argv; prints the best as JSON."""

import json
import sys

from clearml import Task
from clearml.automation import DiscreteParameterRange, HyperParameterOptimizer, UniformParameterRange
from clearml.automation.optuna import OptimizerOptuna

base, queue = sys.argv[1:]
task = Task.init(
    project_name="eventhpo",
    task_name="search",
    task_type=Task.TaskTypes.optimizer,
    auto_connect_frameworks=False,
    auto_resource_monitoring=False,
    reuse_last_task_id=False,
)
search = HyperParameterOptimizer(
    base_task_id=base,
    hyper_parameters=[
        UniformParameterRange("General/lr", min_value=0.01, max_value=0.5),
        DiscreteParameterRange("General/epochs", values=[2, 3]),
    ],
    objective_metric_title="validation",
    objective_metric_series="accuracy",
    objective_metric_sign="max",
    max_number_of_concurrent_tasks=2,
    optimizer_class=OptimizerOptuna,
    execution_queue=queue,
    total_max_jobs=3,
    max_iteration_per_job=None,
    pool_period_min=0.01,
)
search.start()
search.wait()
top = search.get_top_experiments(top_k=3)
search.stop()
sys.stdout.write("\n" + json.dumps([[job.id, job.get_parameters()] for job in top]) + "\n")
task.close()
