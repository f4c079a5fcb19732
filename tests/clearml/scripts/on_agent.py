"""A controller that an agent runs in a folder of its own each time: argv is base, queue, seconds to wait, and `own`.

The log has no name of its own, and lies in a folder that does not last.
"""

import sys

from clearml import Task
from clearml.automation import DiscreteParameterRange, HyperParameterOptimizer, UniformParameterRange

import eventhpo
from eventhpo import OptimizerOptuna

base, queue, jobs, *own = sys.argv[1:]
controller = eventhpo.HyperParameterOptimizer if own else HyperParameterOptimizer
task = Task.init("eventhpo", "search", task_type=Task.TaskTypes.optimizer, auto_connect_frameworks=False)
sys.stdout.write(f"task {task.id}\n")
sys.stdout.flush()
search = controller(
    base_task_id=base,
    hyper_parameters=[
        UniformParameterRange("General/lr", 0.0, 1.0),
        DiscreteParameterRange("General/kind", ["a", "b"]),
    ],
    objective_metric_title="validation",
    objective_metric_series="loss",
    objective_metric_sign="min",
    max_number_of_concurrent_tasks=1,
    optimizer_class=OptimizerOptuna,
    execution_queue=queue,
    total_max_jobs=int(jobs),
    max_iteration_per_job=3,
    pool_period_min=1e-5,
    optuna_sampler="RandomSampler",
    optuna_pruner="NopPruner",
    seed=3,
    upload_every=0.001,
)
search.start(lambda *given: sys.stdout.write(f"callback {given[0]}\n"))
search.wait()
search.stop()
