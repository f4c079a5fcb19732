"""The command `whatif`: a recorded search under other rules."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import LOG_FILE, at_option, json_option
from replay.cli.verified import verified
from replay.whatif import evaluate, rules
from replay.whatif.text import lines


@click.command()
@click.argument("log", type=LOG_FILE)
@click.option(
    "--pruner",
    "pruners",
    multiple=True,
    metavar="NAME[:KEY=VALUE,...]",
    help="A pruner of Optuna's, or a JSON object with its name; repeatable.  "
    f"[default: {', '.join(rules.DEFAULT)}, if nothing else is asked]",
)
@click.option("--total-max-jobs", type=int, metavar="N", help="A smaller budget.  [default: the record's]")
@click.option("--num-concurrent-workers", type=int, metavar="N", help="Fewer workers.  [default: the record's]")
@click.option(
    "--orders",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Repeat over so many shuffled orders of the recorded curves.",
)
@at_option
@click.option("--trials", is_flag=True, help="The trials below each rule.  [default: off; --json has them]")
@json_option
def whatif(
    log: Path,
    *,
    pruners: tuple[str, ...],
    total_max_jobs: int | None,
    num_concurrent_workers: int | None,
    orders: int,
    at: int | datetime | None,
    trials: bool,
    as_json: bool,
) -> None:
    """Say what the search recorded in LOG would have come to under other rules, as far as its curves know.

    A row for each pruner, budget and number of workers. What is not known is said to be
    unknown, with the reason, and is in no sum; the exit code is 0 all the same. The chain
    is checked; of a damaged log only what is verified is asked about, and the exit code is 3.
    """
    chosen = pruners or (rules.DEFAULT if total_max_jobs is None and num_concurrent_workers is None else ())
    named = [rules.pruner(text) for text in chosen]
    with verified(log, at) as rows:
        answer = evaluate.of_rows(
            rows, named, max_total_jobs=total_max_jobs, workers=num_concurrent_workers, orders=orders
        )
        output.data(output.as_json(answer) if as_json else lines(answer, trials=trials))
