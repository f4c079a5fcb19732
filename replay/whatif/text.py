"""`whatif`'s answer as lines of text: a table, and below it a line for all that a cell leaves open."""

from __future__ import annotations

from collections.abc import Iterator

from eventhpo.core.search.spec import Num
from eventhpo.views import formatting
from eventhpo.views.top import aligned
from replay.whatif.answer import Regret, Row, Spread, TrialRow, WhatIf

HEAD = ("rule", "known", "pruned", "saved", "compute", "best", "winner", "rank corr.", "same search")
NOTHING = "unknown"


def lines(found: WhatIf, *, trials: bool = False) -> list[str]:
    """Return *found* as lines; with *trials* the trials of each rule behind it."""
    return [*_about(found), "", *aligned([HEAD, *(_cells(found, row) for row in found.rows)]), *_below(found, trials)]


def _about(found: WhatIf) -> Iterator[str]:
    jobs = formatting.plural(found.rows[0].totals.trials, "trial")
    spent = (
        f"{formatting.plural(found.iterations, 'iteration')}, {formatting.duration(found.compute_time)} of compute time"
    )
    yield f"{formatting.line(found.name)}: {jobs}, {spent}, up to event {found.seq}"
    if found.winner is None:
        yield f"winner: none, {found.rows[0].regret.why}"
    else:
        yield f"winner: trial {found.winner}, {formatting.line(found.objective)} = {formatting.number(found.value)}"
    for note in found.notes:
        yield f"note: {note}"


def _cells(found: WhatIf, row: Row) -> list[str]:
    return [_label(row), _known(row), *_sums(found, row), _best(row), _winner(row.regret, found.winner), *_rest(row)]


def _label(row: Row) -> str:
    return formatting.line(f"recorded: {row.rule}" if row.kind == "recorded" else row.rule)


def _known(row: Row) -> str:
    unknown = sum(not one.known for one in row.trials)
    return f"{len(row.trials) - unknown} of {len(row.trials)}"


def _sums(found: WhatIf, row: Row) -> list[str]:
    if row.kind == "recorded":
        return [str(row.totals.pruned), "-", "-"]
    if row.trials and not any(one.known for one in row.trials):
        return [NOTHING] * 3
    saved = row.totals.iterations_saved
    share = f" ({100 * saved / found.iterations:.0f} %)" if found.iterations else ""
    return [str(row.totals.pruned), f"{saved}{share}", formatting.duration(row.totals.compute_time_saved)]


def _best(row: Row) -> str:
    if row.best.value is None:
        return "-" if row.best.known else NOTHING
    return formatting.number(row.best.value) + ("" if row.best.known else " ?")


def _winner(found: Regret, winner: int | None) -> str:
    if found.killed is None:
        return "-" if winner is None else NOTHING
    if not found.killed:
        return "kept"
    how = "not started" if found.iteration is None else f"pruned at {found.iteration}"
    return f"{how}, costs {_cost(found)}"


def _cost(found: Regret) -> str:
    return "?" if found.cost is None else formatting.number(found.cost)


def _rest(row: Row) -> list[str]:
    value = row.correlation.value
    correlation = "-" if value is None else f"{value:.2f}"
    return [correlation, "yes" if row.search.known else _same(row)]


def _same(row: Row) -> str:
    if row.search.seq is None:
        return "but for its end" if row.known else NOTHING
    return f"first {formatting.plural(row.search.trials, 'trial')}"


def _below(found: WhatIf, trials: bool) -> Iterator[str]:
    for row in found.rows:
        said = list(_said(found, row))
        if trials:
            said += aligned([_TRIAL_HEAD, *map(_trial, row.trials)])
        if said:
            yield ""
            yield f"{_label(row)}:"
            yield from (f"  {one}" for one in said)


def _said(found: WhatIf, row: Row) -> Iterator[str]:
    if row.why:
        yield f"unknown: {row.why}"
    if row.unknown.trials > row.gone_on and row.gone_on:
        rest = row.unknown
        count = formatting.plural(rest.trials - row.gone_on, "unknown trial")
        yield f"  {count}, by the recorded curves alone: {rest.pruned} pruned, {rest.iterations_saved} iterations saved"
    if row.regret.killed and row.regret.why:
        yield f"winner: its cost is unknown: {row.regret.why}"
    if row.regret.killed is None and found.winner is not None and row.regret.why != row.why:
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


def _orders(found: Spread) -> Iterator[str]:
    yield f"orders: {found.known} of {found.orders} shuffled ones are known (seed {found.seed})" + (
        f"; {found.why}" if found.why else ""
    )
    if found.iterations_saved is not None and found.pruned is not None:
        yield f"  saved {_three(found.iterations_saved)} of {found.of} iterations, pruned {_three(found.pruned)}"
        cost = "" if not found.killed else f", which costs up to {formatting.number(found.worst_cost)}"
        yield f"  the winner is pruned in {found.killed} of {found.known}{cost}"


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
