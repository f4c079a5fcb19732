"""Any Optuna study on the log: a storage, studies whose decisions are recorded, and workers on other machines."""
