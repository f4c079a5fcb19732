"""Hyper-parameter search that cannot be lost and can always explain itself."""

TYPE_CHECKING = False  # typing's own costs a training script, which imports eventhpo.job, an import
if TYPE_CHECKING:
    from eventhpo.hpo_controller.hyper_parameter_optimizer import HyperParameterOptimizer
    from eventhpo.optimizer.jobs_argument import LocalJobs
    from eventhpo.optimizer.optimizer import OptimizerOptuna
    from eventhpo.study.connect import connect
    from eventhpo.study.create import create_study, optimize
    from eventhpo.study.loaded_study import load_study
    from eventhpo.study.storage import EventStorage
    from replay.query.loaded_search import load

__all__ = [
    "EventStorage",
    "HyperParameterOptimizer",
    "LocalJobs",
    "OptimizerOptuna",
    "connect",
    "create_study",
    "load",
    "load_study",
    "optimize",
]

_HOMES = {
    "EventStorage": "eventhpo.study.storage",
    "create_study": "eventhpo.study.create",
    "optimize": "eventhpo.study.create",
    "connect": "eventhpo.study.connect",
    "load": "replay.query.loaded_search",
    "load_study": "eventhpo.study.loaded_study",
    "HyperParameterOptimizer": "eventhpo.hpo_controller.hyper_parameter_optimizer",
    "LocalJobs": "eventhpo.optimizer.jobs_argument",
    "OptimizerOptuna": "eventhpo.optimizer.optimizer",
}


def __dir__() -> list[str]:
    """Return the public names, loaded or not, with what else is here."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    """Load the class when it is asked for: nobody else is to wait for ClearML and Optuna."""
    if name not in _HOMES:
        raise AttributeError(f"module 'eventhpo' has no attribute {name!r}")
    import importlib  # noqa: PLC0415  likewise

    from eventhpo.replay_package import sister  # noqa: PLC0415  likewise

    home = _HOMES[name]
    return getattr(sister(home) if home.startswith("replay.") else importlib.import_module(home), name)
