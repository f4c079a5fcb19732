"""Let today's code decide a log again, and report where the two part."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from eventhpo.core.fold.events import Decision, Head, Recorded, SearchCreated
from eventhpo.core.fold.evolve import fold
from eventhpo.errors import DamagedLog, Usage
from eventhpo.log import head, verify
from eventhpo.views import as_of
from replay import verified_rows
from replay.decide import divergence, fingerprints, rounding
from replay.decide.divergence import Divergence
from replay.decide.report import Diverged, Report, Undecided

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    from replay.decide.check_prefixes import Checked

AnyPath: TypeAlias = str | os.PathLike[str]


def redecide(
    path: AnyPath,
    *,
    raise_on_divergence: bool = True,
    all: bool = False,  # noqa: A002  as the command's option
    processes: int = 1,
    sampler: BaseSampler | str | None = None,
    pruner: BasePruner | str | None = None,
    at: int | str | datetime | None = None,
) -> Report:
    """Decide the log at *path* again, row by row, and return what that came to.

    It stops at the first divergence, with *all* it goes on behind it, the record taken
    as the truth. The report is the same whatever *processes* is. *sampler* and *pruner*
    stand in where the log has one that is not Optuna's own: an instance, or where one
    stands as `module:attribute`; with several processes only the latter. With *at*, a seq
    or a time as `rebuild` takes it, the log ends with that event.

    Raises:
        Diverged: a decision comes out otherwise or is missing (code 1); it carries the report.
        DamagedLog: the log is damaged, from a newer version, or lost its tail (code 3).
        Usage: there is no such file or event, or an argument does not fit (code 2).

    Without *raise_on_divergence* the first two are in the report instead. What is equal up
    to rounding, where this platform rounds otherwise than the recorder's, is in the report
    and raises nothing.
    """
    if processes < 1:
        raise Usage(f"processes is {processes}, and at least one must decide")
    if processes > 1 and any(one is not None and not isinstance(one, str) for one in (sampler, pruner)):
        raise Usage("an instance stays in its process: give it as 'module:attribute', or decide with processes=1")
    report = _report(Path(path), all, processes, sampler, pruner, at)
    if raise_on_divergence:
        _raise(report)
    return report


@contextlib.contextmanager
def redecide_many(
    paths: Iterable[AnyPath],
    *,
    raise_on_divergence: bool = True,
    all: bool = False,  # noqa: A002
    processes: int = 1,
    sampler: BaseSampler | str | None = None,
    pruner: BasePruner | str | None = None,
    at: int | str | datetime | None = None,
) -> Iterator[Iterator[Report]]:
    """Give an iterator over the reports of *paths*, in their order, each made when it is asked for.

    One log is in memory at a time. Arguments and errors are those of `redecide`.
    """
    reports = (
        redecide(
            path,
            raise_on_divergence=raise_on_divergence,
            all=all,
            processes=processes,
            sampler=sampler,
            pruner=pruner,
            at=at,
        )
        for path in paths
    )
    try:
        yield reports
    finally:
        reports.close()


def _raise(report: Report) -> None:
    if report.damage is not None:
        raise DamagedLog(f"{report.path} is damaged: {report.damage}; see `eventhpo verify {report.path}`")
    if report.divergences:
        first = report.divergences[0]
        differs = "" if first.fingerprint is None else f"; the first difference in fingerprint is {_named(first)}"
        raise Diverged(
            f"{report.path} is not decided again as it was recorded: {divergence.brief(first)}{differs}; "
            f"see `eventhpo replay {report.path}`",
            report,
        )


def _named(one: Divergence) -> str:
    assert one.fingerprint is not None
    return f"{one.fingerprint.name} ({one.fingerprint.recorded}, here {one.fingerprint.here})"


def _report(
    path: Path,
    go_on: bool,
    processes: int,
    sampler: BaseSampler | str | None,
    pruner: BasePruner | str | None,
    at: int | str | datetime | None,
) -> Report:
    found = verify.examine(path)
    damage = _damage(found)
    whole = found.head
    if at is not None and damage is None:
        found = _as_of(found, at)
    first = found.rows[0].event if found.rows else None
    created = first if isinstance(first, SearchCreated) else None
    checks = [] if damage is not None else _findings(path, found, go_on, processes, sampler, pruner)
    parted = [one.divergence for one in checks if one.divergence is not None]
    last = found.head.seq if go_on or not parted else parted[0].seq
    undecided = tuple(Undecided(one.seq, one.skipped) for one in checks if one.skipped is not None and one.seq <= last)
    decisions = sum(isinstance(row.event, Decision) for row in found.rows[:last]) - len(undecided)
    fingerprint = None if damage is not None else fingerprints.of_log(found.rows, _here())
    return Report(
        path=str(path),
        search_id=None if created is None else created.search_id,
        name=None if created is None else created.search.name,
        head=found.head,
        decisions=0 if damage is not None else decisions,
        undecided=undecided,
        divergences=tuple(_told(one, found.rows) for one in (parted if go_on else parted[:1])),
        fingerprint=fingerprint,
        damage=damage,
        notes=() if created is None else tuple(_notes(path, created, found.head, whole)),
        rounded=tuple(one.rounded for one in checks if one.rounded is not None and one.seq <= last),
    )


def _as_of(found: verify.Verification, at: int | str | datetime) -> verify.Verification:
    rows = as_of.rows_at(found.rows, verified_rows.moment(at))
    return msgspec.structs.replace(found, rows=rows, head=Head(rows[-1].seq, rows[-1].hash))


def _notes(path: Path, created: SearchCreated, end: Head, whole: Head) -> Iterator[str]:
    if end != whole:
        yield f"as of event {end.seq} of {whole.seq}: what stands after it was not looked at"
    outside = head.of_search(head.read(path), created.search_id)
    if outside.head is None:
        yield f"{outside.why}: whether the log lost its tail cannot be told"


def _damage(found: verify.Verification) -> str | None:
    for check in found.checks:
        if check.damage:
            return f"{check.name}: {check.detail}"
    try:
        fold(found.rows)
    except DamagedLog as error:
        return f"fold: {error}"
    return None


def _findings(
    path: Path,
    found: verify.Verification,
    go_on: bool,
    processes: int,
    sampler: BaseSampler | str | None,
    pruner: BasePruner | str | None,
) -> list[Checked]:
    from replay.decide import check_prefixes, parallel, supplied  # noqa: PLC0415  they load Optuna

    processes = parallel.useful(found.rows, processes)
    if processes == 1:
        checks = check_prefixes.check_prefixes(
            found.rows, sampler=supplied.sampler(sampler), pruner=supplied.pruner(pruner)
        )
        return list(parallel.findings(checks, go_on=go_on))
    question = parallel.Question(
        head=found.head,
        go_on=go_on,
        sampler=sampler if isinstance(sampler, str) else None,
        pruner=pruner if isinstance(pruner, str) else None,
    )
    return parallel.asked(path, question, found.rows, processes)


def _here() -> dict[str, str]:
    from eventhpo.optuna_adapter.fingerprint import fingerprint  # noqa: PLC0415  it loads numpy

    return fingerprint()


def _told(one: Divergence, rows: list[Recorded]) -> Divergence:
    """Return *one* with what the decision saw, and what differs between who recorded it and here."""
    recorder, here = fingerprints.of_row(rows, one.seq), _here()
    return msgspec.structs.replace(
        one,
        inputs=divergence.seen(rows, one.seq, (one.recorded, one.decided)),
        fingerprint=fingerprints.first(recorder, here),
        rounds=rounding.because(recorder, here),
    )
