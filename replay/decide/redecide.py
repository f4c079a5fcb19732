"""Let today's code decide a log again, and report where the decisions differ from the record."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from eventhpo.core.fold.event_families import Decision
from eventhpo.core.fold.events import Head, Recorded, SearchCreated
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

    from replay.decide.checked import Checked

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
    oracle: bool = False,
) -> Report:
    """Decide the log at *path* again, row by row, and return a report.

    Args:
        path: the log.
        raise_on_divergence: raise for a divergence or damage, rather than only report it.
        all: go on from the recorded row after a divergence, rather than stop at the first.
        processes: how many processes share the work; the report does not depend on it.
        sampler: used where the log has a sampler that is not Optuna's own: an instance, or `module:attribute`, which
            is the only form for several processes.
        pruner: likewise.
        at: the last event of the log to check: a seq or a time, as `rebuild` takes it.
        oracle: ask Optuna's own pruners for each verdict. Otherwise the rules of some are looked up in sorted columns,
            which gives the same verdicts sooner.

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
    if processes > 1 and any(given is not None and not isinstance(given, str) for given in (sampler, pruner)):
        raise Usage("an instance stays in its process: give it as 'module:attribute', or decide with processes=1")
    report = _report(Path(path), all, processes, sampler, pruner, at, oracle)
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
    oracle: bool = False,
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
            oracle=oracle,
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
        differs = (
            ""
            if first.fingerprint is None
            else f"; the first difference in fingerprint is {_describe_fingerprint(first)}"
        )
        raise Diverged(
            f"{report.path} is not decided again as it was recorded: {divergence.describe_divergence(first)}{differs}; "
            f"see `eventhpo replay {report.path}`",
            report,
        )


def _describe_fingerprint(diverged: Divergence) -> str:
    assert diverged.fingerprint is not None
    return f"{diverged.fingerprint.name} ({diverged.fingerprint.recorded}, here {diverged.fingerprint.here})"


def _report(
    path: Path,
    go_on: bool,
    processes: int,
    sampler: BaseSampler | str | None,
    pruner: BasePruner | str | None,
    at: int | str | datetime | None,
    oracle: bool,
) -> Report:
    verification = verify.examine(path)
    damage = _damage(verification)
    whole = verification.head
    if at is not None and damage is None:
        verification = _as_of(verification, at)
    first = verification.rows[0].event if verification.rows else None
    created = first if isinstance(first, SearchCreated) else None
    checks = [] if damage is not None else _findings(path, verification, go_on, processes, sampler, pruner, oracle)
    diverged = [check.divergence for check in checks if check.divergence is not None]
    last = verification.head.seq if go_on or not diverged else diverged[0].seq
    undecided = tuple(
        Undecided(check.seq, check.skipped) for check in checks if check.skipped is not None and check.seq <= last
    )
    decisions = sum(isinstance(row.event, Decision) for row in verification.rows[:last]) - len(undecided)
    fingerprint = None if damage is not None else fingerprints.of_log(verification.rows, _here())
    return Report(
        path=str(path),
        search_id=None if created is None else created.search_id,
        name=None if created is None else created.search.name,
        head=verification.head,
        decisions=0 if damage is not None else decisions,
        undecided=undecided,
        divergences=tuple(_with_context(check, verification.rows) for check in (diverged if go_on else diverged[:1])),
        fingerprint=fingerprint,
        damage=damage,
        notes=() if created is None else tuple(_notes(path, created, verification.head, whole)),
        rounded=tuple(check.rounded for check in checks if check.rounded is not None and check.seq <= last),
    )


def _as_of(verification: verify.Verification, at: int | str | datetime) -> verify.Verification:
    rows = as_of.rows_at(verification.rows, verified_rows.moment(at))
    return msgspec.structs.replace(verification, rows=rows, head=Head(rows[-1].seq, rows[-1].hash))


def _notes(path: Path, created: SearchCreated, end: Head, whole: Head) -> Iterator[str]:
    if end != whole:
        yield f"as of event {end.seq} of {whole.seq}: what stands after it was not looked at"
    outside = head.of_search(head.read(path), created.search_id)
    if outside.head is None:
        yield f"{outside.why}: whether the log lost its tail cannot be told"


def _damage(verification: verify.Verification) -> str | None:
    for check in verification.checks:
        if check.damage:
            return f"{check.name}: {check.detail}"
    try:
        fold(verification.rows)
    except DamagedLog as error:
        return f"fold: {error}"
    return None


def _findings(
    path: Path,
    verification: verify.Verification,
    go_on: bool,
    processes: int,
    sampler: BaseSampler | str | None,
    pruner: BasePruner | str | None,
    oracle: bool,
) -> list[Checked]:
    from replay.decide import check_prefixes, parallel, supplied  # noqa: PLC0415  they load Optuna

    processes = parallel.useful(verification.rows, processes)
    if processes == 1:
        checks = check_prefixes.check_prefixes(
            verification.rows, sampler=supplied.sampler(sampler), pruner=supplied.pruner(pruner), oracle=oracle
        )
        return list(parallel.findings(checks, go_on=go_on))
    question = parallel.Question(
        head=verification.head,
        go_on=go_on,
        sampler=sampler if isinstance(sampler, str) else None,
        pruner=pruner if isinstance(pruner, str) else None,
        oracle=oracle,
    )
    return parallel.asked(path, question, verification.rows, processes)


def _here() -> dict[str, str]:
    from eventhpo.optuna_adapter.fingerprint import fingerprint  # noqa: PLC0415  it loads numpy

    return fingerprint()


def _with_context(diverged: Divergence, rows: list[Recorded]) -> Divergence:
    """Add to *diverged* the inputs that the decision saw, and how the recorder's platform differs from this one."""
    recorder, here = fingerprints.of_row(rows, diverged.seq), _here()
    return msgspec.structs.replace(
        diverged,
        inputs=divergence.seen(rows, diverged.seq, (diverged.recorded, diverged.decided)),
        fingerprint=fingerprints.first(recorder, here),
        rounds=rounding.because(recorder, here),
    )
