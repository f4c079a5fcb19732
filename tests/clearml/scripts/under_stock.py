"""A controller and its task: argv is base, queue, log, highest lr; `own` for our one, `jobs=N`, `top=K`."""

import sys

from clearml import Task
from clearml.automation import DiscreteParameterRange, HyperParameterOptimizer, UniformParameterRange

import eventhpo
from eventhpo import OptimizerOptuna

base, queue, log, highest, *further = sys.argv[1:]
own = "own" in further
numbers = {name: int(number) for name, _, number in (text.partition("=") for text in further) if number}
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
    total_max_jobs=numbers.get("jobs", 2),
    save_top_k_tasks_only=numbers.get("top"),
    spawn_project="spawned" if "top" in numbers else None,
    max_iteration_per_job=3,
    pool_period_min=1e-5,
    optuna_sampler="RandomSampler",
    seed=7,
    optuna_pruner="NopPruner",
    log=log,
)
search.start(lambda *given: sys.stdout.write(f"callback {given[1:3]}\n"))
search.wait()
if own:
    search.stop()  # waits for the reports
