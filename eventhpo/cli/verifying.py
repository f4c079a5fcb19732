"""All checks of a log and what they come to."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from eventhpo.core.fold import codec
from eventhpo.core.fold.events import Event, Head, JobAdopted, JobCreated, Recorded, TasksLeft
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import State
from eventhpo.core.search.spec import ClearmlTasks, LocalCommand, knows_policy
from eventhpo.errors import DamagedLog, StorageFailed
from eventhpo.jobs.local import reconcile
from eventhpo.jobs.local.compare_reports import compare
from eventhpo.log import paths
from eventhpo.log import verify as checking
from eventhpo.log.verify import Check
from eventhpo.replay_package import sister
from eventhpo.views import formatting

VerifyVerdict: TypeAlias = Literal["ok", "failed", "damaged"]
_CODES: dict[VerifyVerdict, int] = {"ok": 0, "failed": 1, "damaged": 3}


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """The checks in their order and the verdict.

    `notes` name what is missing next to the log, `unchecked` what this verdict does not rest on.
    """

    checks: list[Check]
    verdict: VerifyVerdict
    head: Head
    notes: list[str]
    unchecked: list[str]

    @property
    def code(self) -> int:
        """The exit code of the verdict."""
        return _CODES[self.verdict]


def verified(log: Path, expect: Head | None, *, decide: bool) -> Verified:
    """Return the checks of the log at *log*, those of what lies next to it, and those that are asked for.

    Raises:
        Usage: there is no such file.
    """
    folders = reconcile.listed(paths.jobs(log))  # before the log: a controller that writes makes a row first
    found = checking.examine(log, expect)
    state, folded = _fold(found.rows)
    at = [check.name for check in found.checks].index("decode") + 1 if len(found.checks) > 1 else 1
    checks = [*found.checks[:at], folded, *found.checks[at:]]
    if folders and state is not None:
        checks.append(_jobs(log, folders, state, found.rows))
    notes: list[str] = []
    unchecked: list[str] = []
    if state is not None and not any(check.damage for check in checks):
        check, unchecked = _next_to(log, state, found.rows)
        checks += [] if check is None else [check]
        if not paths.head(log).exists():
            unchecked.append(f"tail: there is no head file {paths.head(log).name}, so rows may be missing at the end")
        unchecked += _not_asked(found.rows, expect, decide=decide)
    if decide:
        whole = not any(check.damage for check in checks)
        checks.append(decided(found.rows) if whole else Check("decide", False, "not looked at: the log is damaged"))
        notes += [] if state is None else other_platform(state.fingerprint)
    if state is not None:
        from eventhpo.cli.reading import missing  # noqa: PLC0415  which loads this module

        notes += [*adoptions(found.rows), *missing(log, state)]
    return Verified(checks=checks, verdict=_verdict(checks), head=found.head, notes=notes, unchecked=unchecked)


def _fold(rows: list[Recorded]) -> tuple[State | None, Check]:
    try:
        state = fold(rows)
    except DamagedLog as error:
        return None, Check("fold", False, str(error))
    return state, Check("fold", True, f"{len(state.trials)} trials, {state.totals.jobs} jobs")


def _jobs(log: Path, names: Sequence[str], state: State, rows: Sequence[Recorded]) -> Check:
    """Return whether the log knows each of the job folders beside it."""
    found = reconcile.surveyed(paths.jobs(log), names, state, [row.hash for row in rows])
    try:
        reconcile.refuse(found, state.head, adopt=False)
    except DamagedLog as error:
        return Check("jobs", False, str(error))
    return Check("jobs", True, f"{formatting.plural(len(names), 'job folder')} beside it, and an intent for each")


def _next_to(log: Path, state: State, rows: Sequence[Recorded]) -> tuple[Check | None, list[str]]:
    """Return the check of the recorded points against what the jobs wrote, and what of it could not be made."""
    if isinstance(state.search.jobs, ClearmlTasks):
        return None, ["points: the ClearML server was not asked for them"]
    if not isinstance(state.search.jobs, LocalCommand):
        return None, []  # simulated: there is nothing to compare with
    folder = paths.jobs(log)
    if not folder.is_dir():
        return None, [f"points: there is no folder {folder.name} with the jobs' reports"]
    try:
        found = compare(rows, folder)
    except OSError as error:
        raise StorageFailed(f"{error.filename} cannot be read: {error.strerror}") from error
    left = []
    if found.missing:
        left.append(f"points of {formatting.plural(found.missing, 'attempt')}: the report file is gone")
    if found.rewritten:
        left.append(
            f"points of {formatting.plural(found.rewritten, 'attempt')}: the report file was cut or written anew"
        )
    points, attempts = formatting.plural(found.points, "point"), formatting.plural(found.attempts, "attempt")
    what = f"{points} of {attempts}, as their files have them"
    return Check("reports", found.wrong is None, found.wrong or what), left


def _not_asked(rows: Sequence[Recorded], expect: Head | None, *, decide: bool) -> Iterator[str]:
    """Yield what nobody asked for, and what would have been found by it."""
    intents = [row.seq for row in rows if isinstance(row.event, JobCreated)]
    if expect is None:
        last = intents[-1] if intents else 0
        yield (
            f"expected: no head was given (--head); no key names rows after seq {last}, the last intent, and the keys "
            "prove nothing against somebody who has made them anew too"
        )
    if not decide:
        yield "decisions: not decided again (--decide)"


def _verdict(checks: Iterable[Check]) -> VerifyVerdict:
    wrong = [check for check in checks if not check.ok]
    if any(check.damage for check in wrong):
        return "damaged"
    return "failed" if wrong else "ok"


def decided(rows: Iterable[Recorded]) -> Check:
    """Decide every decision in *rows* again; the check names the first that comes out otherwise.

    It counts those that are equal up to rounding, on another platform than the recorder's,
    and those that nobody is there to decide again, and says why.
    """
    check_prefixes = sister("replay.decide.check_prefixes").check_prefixes  # by its name: the core never imports replay
    decisions = rounded = 0
    skipped: Counter[str] = Counter()
    for checked in check_prefixes(rows):
        if checked.divergence is not None:
            return Check("decide", False, parted(checked.divergence))
        rounded += checked.rounded is not None
        if checked.skipped is None:
            decisions += checked.decision
        else:
            skipped[checked.skipped] += 1
    left = [f"; {count} not decided again ({why})" for why, count in sorted(skipped.items())]
    same = f"{decisions - rounded} as recorded, {rounded} equal up to rounding" if rounded else "all as recorded"
    return Check("decide", True, f"{formatting.plural(decisions, 'decision')}, {same}{''.join(left)}")


def parted(divergence: Any) -> str:
    """Return both sides of a divergence."""
    recorded = _side(divergence.recorded, divergence.recorded_cause)
    mine = "nothing" if divergence.decided is None else _side(divergence.decided, divergence.decided_cause)
    return f"seq {divergence.seq}: recorded {recorded}; decided {mine}; due was {divergence.due}"


def _side(event: Event, cause: int | None) -> str:
    return f"{type(event).__name__} {codec.encode(event)} (cause {cause})"


def adoptions(rows: Sequence[Recorded]) -> list[str]:
    """Return a note for each row at which jobs were taken up that the log had lost, or left to another copy."""
    seqs = [row.seq for row in rows if isinstance(row.event, JobAdopted)]
    starts = [seq for seq in seqs if seq - 1 not in seqs]
    left = [
        f"another copy of this log went on too when this one was resumed before seq {row.seq}: "
        f"{formatting.named_some(row.event.job_ids)} are its tasks, and not counted here"
        for row in rows
        if isinstance(row.event, TasksLeft)
    ]
    return left + [
        f"the log had lost its tail when jobs were taken up again at seq {seq}: what was decided in the lost rows is "
        "not known, and replay starts anew there"
        for seq in starts
    ]


def other_platform(recorded: Mapping[str, str]) -> list[str]:
    """Return a note that names what differs between the log's platform and this one, if anything does."""
    fingerprint = importlib.import_module("eventhpo.optuna_adapter.fingerprint").fingerprint
    here: dict[str, str] = fingerprint()
    differing = (name for name in {*recorded, *here} if recorded.get(name) != here.get(name))
    parts = sorted(name for name in differing if name != "policy" or not knows_policy(recorded.get(name)))
    if not parts:
        return []
    return [f"decided on another platform than this one ({', '.join(parts)}), so decisions may differ by rounding"]


def text(found: Verified) -> Iterator[str]:
    """Yield *found* as lines, a check a line, the verdict last."""
    for check in found.checks:
        yield f"{check.name:<9} {'ok' if check.ok else 'WRONG':<6} {_line(check.detail)}"
    for what in found.unchecked:
        yield f"{'unchecked':<9} {'-':<6} {_line(what)}"
    at = f"{found.head.seq}:{found.head.hash}"
    yield f"{'verdict':<9} {found.verdict:<6} {'verified up to' if found.verdict == 'damaged' else 'head'} {at}"


def _line(detail: str) -> str:
    return "".join(c if c.isprintable() else " " for c in detail)
