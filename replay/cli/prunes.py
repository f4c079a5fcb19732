"""The command `prunes`: all verdicts of the pruner in one list."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from eventhpo.cli import output
from eventhpo.cli.options import LOG_FILE, TRIAL, at_option, csv_option, json_option
from eventhpo.core.fold.evolve import fold
from eventhpo.errors import Usage
from eventhpo.views import csv_text, formatting, top
from replay.cli.verified import verified


@click.command()
@click.argument("log", type=LOG_FILE)
@click.option("--trial", type=TRIAL, metavar="N", help="Only verdicts on this trial.  [default: all]")
@click.option("--pruned", is_flag=True, help="Only verdicts that pruned.  [default: those to go on too]")
@at_option
@csv_option
@json_option
def prunes(
    log: Path, *, trial: int | None, pruned: bool, at: int | datetime | None, as_csv: bool, as_json: bool
) -> None:
    """List the pruner's verdicts in the search recorded in LOG, in their order, each with its reason.

    MARGIN is how far a verdict was from being a prune, in the unit of what was compared;
    it is negative where the trial was pruned. NEEDED is the value that would have let a
    pruned trial go on. Both are computed again from the curves that the pruner saw.
    """
    from replay.query.decisions import decisions_of  # noqa: PLC0415  the help must not wait for it

    with verified(log, at) as rows:
        if trial is not None and trial >= (trials := len(fold(rows).trials)):
            raise Usage(f"there is no trial {trial}: the log has {formatting.plural(trials, 'trial')}")
        verdicts = [
            decision
            for decision in decisions_of(rows)
            if decision.verdict is not None
            and trial in (None, decision.trial)
            and (decision.verdict == "prune" or not pruned)
        ]
        records = [msgspec.structs.asdict(verdict) | {"at": formatting.rfc3339(verdict.at)} for verdict in verdicts]
        if as_json:
            output.data(output.as_json(records))
        elif as_csv:
            output.data(csv_text.lines(_FIELDS, ([record[name] for name in _FIELDS] for record in records)))
        else:
            output.data(_table(records))


_FIELDS = ("seq", "at", "trial", "attempt", "iteration", "verdict", "value", "needed", "margin", "reason")
_HEAD = ("event", "trial", "iteration", "verdict", "value", "needed", "margin", "reason")


def _table(records: Sequence[dict[str, Any]]) -> list[str]:
    return top.aligned([_HEAD, *(_cells(record) for record in records)])


def _cells(record: dict[str, Any]) -> list[str]:
    attempt = f".{record['attempt']}" * bool(record["attempt"])
    return [
        str(record["seq"]),
        f"{record['trial']}{attempt}",
        str(record["iteration"]),
        record["verdict"],
        *(formatting.number(record[name]) for name in ("value", "needed", "margin")),
        formatting.line(record["reason"]),
    ]
