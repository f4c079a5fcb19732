"""`whatif`'s answer as lines of text: a table, and below it one line for each thing that a cell leaves out."""

from __future__ import annotations

from collections.abc import Iterator

from eventhpo.core.search.spec import Num
from eventhpo.views import formatting
from eventhpo.views.top import aligned
from replay.whatif.answer import Regret, Row, Spread, TrialRow, WhatIf

HEAD = ("rule", "known", "pruned", "saved", "compute", "best", "winner", "rank corr.", "same search")
NOTHING = "unknown"


def lines(answer: WhatIf, *, trials: bool = False) -> list[str]:
    """Return *answer* as lines of text; with *trials*, a table of the trials follows each rule."""
    table = aligned([HEAD, *(_cells(answer, row) for row in answer.rows)])
    return [*_about(answer), "", *table, *_below(answer, trials)]


def _about(answer: WhatIf) -> Iterator[str]:
    jobs = formatting.plural(answer.rows[0].totals.trials, "trial")
    iterations, time = formatting.plural(answer.iterations, "iteration"), formatting.duration(answer.compute_time)
    yield f"{formatting.line(answer.name)}: {jobs}, {iterations}, {time} of compute time, up to event {answer.seq}"
    if answer.winner is None:
        yield f"winner: none, {answer.rows[0].regret.why}"
    else:
        yield f"winner: trial {answer.winner}, {formatting.line(answer.objective)} = {formatting.number(answer.value)}"
    for note in answer.notes:
        yield f"note: {note}"


def _cells(answer: WhatIf, row: Row) -> list[str]:
    return [_label(row), _known(row), *_sums(answer, row), _best(row), _winner(row.regret, answer.winner), *_rest(row)]


def _label(row: Row) -> str:
    return formatting.line(f"recorded: {row.rule}" if row.kind == "recorded" else row.rule)


def _known(row: Row) -> str:
    unknown = sum(not trial.known for trial in row.trials)
    return f"{len(row.trials) - unknown} of {len(row.trials)}"


def _sums(answer: WhatIf, row: Row) -> list[str]:
    if row.kind == "recorded":
        return [str(row.totals.pruned), "-", "-"]
    if row.trials and not any(trial.known for trial in row.trials):
        return [NOTHING] * 3
    saved = row.totals.iterations_saved
    share = f" ({100 * saved / answer.iterations:.0f} %)" if answer.iterations else ""
    return [str(row.totals.pruned), f"{saved}{share}", formatting.duration(row.totals.compute_time_saved)]


def _best(row: Row) -> str:
    if row.best.value is None:
        return "-" if row.best.known else NOTHING
    return formatting.number(row.best.value) + ("" if row.best.known else " ?")


def _winner(regret: Regret, winner: int | None) -> str:
    if regret.killed is None:
        return "-" if winner is None else NOTHING
    if not regret.killed:
        return "kept"
    how = "not started" if regret.iteration is None else f"pruned at {regret.iteration}"
    return f"{how}, costs {_cost(regret)}"


def _cost(regret: Regret) -> str:
    return "?" if regret.cost is None else formatting.number(regret.cost)


def _rest(row: Row) -> list[str]:
    value = row.correlation.value
    correlation = "-" if value is None else f"{value:.2f}"
    return [correlation, "yes" if row.search.known else _same(row)]


def _same(row: Row) -> str:
    if row.search.seq is None:
        return "but for its end" if row.known else NOTHING
    return f"first {formatting.plural(row.search.trials, 'trial')}"


def _below(answer: WhatIf, trials: bool) -> Iterator[str]:
    for row in answer.rows:
        row_lines = list(_details(answer, row))
        if trials:
            row_lines += aligned([_TRIAL_HEAD, *map(_trial, row.trials)])
        if row_lines:
            yield ""
            yield f"{_label(row)}:"
            yield from (f"  {row_line}" for row_line in row_lines)


def _details(answer: WhatIf, row: Row) -> Iterator[str]:
    if row.why:
        yield f"unknown: {row.why}"
    if row.unknown.trials > row.gone_on and row.gone_on:
        rest = row.unknown
        count = formatting.plural(rest.trials - row.gone_on, "unknown trial")
        yield f"  {count}, by the recorded curves alone: {rest.pruned} pruned, {rest.iterations_saved} iterations saved"
    if row.regret.killed and row.regret.why:
        yield f"winner: its cost is unknown: {row.regret.why}"
    if row.regret.killed is None and answer.winner is not None and row.regret.why != row.why:
        yield f"winner: unknown: {row.regret.why}"
    if row.why != row.search.why and row.search.why:
        where = "" if row.search.seq is None else f"from event {row.search.seq} on "
        yield f"same search: {where}{row.search.why}"
    if row.search.seq is not None and row.kind == "pruner":
        sums = row.search.totals
        known = formatting.plural(sums.trials, "known trial")
        yield f"  {known} before it: {sums.pruned} pruned, {sums.iterations_saved} iterations saved"
    if row.correlation.value is None and row.correlation.at:
        yield f"rank corr.: {row.correlation.why}"
    if row.orders is not None:
        yield from _orders(row.orders)


def _orders(spread: Spread) -> Iterator[str]:
    yield f"orders: {spread.known} of {spread.orders} shuffled ones are known (seed {spread.seed})" + (
        f"; {spread.why}" if spread.why else ""
    )
    if spread.iterations_saved is not None and spread.pruned is not None:
        yield f"  saved {_three(spread.iterations_saved)} of {spread.of} iterations, pruned {_three(spread.pruned)}"
        cost = "" if not spread.killed else f", which costs up to {formatting.number(spread.worst_cost)}"
        yield f"  the winner is pruned in {spread.killed} of {spread.known}{cost}"


def _three(values: tuple[int, float, int]) -> str:
    least, middle, most = values
    return str(least) if least == most else f"{least} to {most} (median {middle:g})"


_TRIAL_HEAD = ("trial", "recorded", "here", "pruned at", "iterations", "saved", "")


def _trial(row: TrialRow) -> list[str]:
    here = row.outcome or ("not started" if not row.started else NOTHING)
    numbers = [_or_dash(row.iteration), _or_dash(row.iterations), _or_dash(row.iterations_saved)]
    return [str(row.trial), row.recorded, here, *numbers, f"unknown: {row.why}" if row.why else ""]


def _or_dash(value: Num | None) -> str:
    return "-" if value is None else str(value)
