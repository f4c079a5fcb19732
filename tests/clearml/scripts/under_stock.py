"""HyperParameterOptimizer with our class and a task: argv is base, queue, log, highest lr, `own` for our one, `jobs=N`."""

import sys

from clearml import Task
from clearml.automation import DiscreteParameterRange, HyperParameterOptimizer, UniformParameterRange

import eventhpo
from eventhpo import OptimizerOptuna

base, queue, log, highest, *further = sys.argv[1:]
own, jobs = "own" in further, [int(text.removeprefix("jobs=")) for text in further if text.startswith("jobs=")]
controller = eventhpo.HyperParameterOptimizer if own else HyperParameterOptimizer
task = Task.init("eventhpo", "search", task_type=Task.TaskTypes.optimizer, auto_connect_frameworks=False)
sys.stdout.write(f"task {task.id}\n")
search = controller(
    base_task_id=base,
    hyper_parameters=[
        UniformParameterRange("General/lr", 0.0, float(highest)),
        DiscreteParameterRange("General/kind", ["a", "b"]),
    ],
    objective_metric_title="validation",
    objective_metric_series="loss",
    objective_metric_sign="min",
    max_number_of_concurrent_tasks=1,
    optimizer_class=OptimizerOptuna,
    execution_queue=queue,
    total_max_jobs=jobs[0] if jobs else 2,
    max_iteration_per_job=3,
    pool_period_min=1e-5,
    optuna_sampler="RandomSampler",
    optuna_pruner="NopPruner",
    log=log,
)
search.start(lambda *given: sys.stdout.write(f"callback {given[1:3]}\n"))
search.wait()
if own:
    search.stop()  # waits for the reports
