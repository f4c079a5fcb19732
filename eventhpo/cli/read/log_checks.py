"""All checks of a log and what they come to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from eventhpo.cli.read.rows import missing_files
from eventhpo.core.fold.events import Head, JobAdopted, JobCreated, Recorded, TasksLeft
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import State
from eventhpo.core.search.spec import ClearmlTasks, LocalCommand
from eventhpo.errors import DamagedLog, StorageFailed
from eventhpo.jobs.local import reconcile
from eventhpo.jobs.local.compare_reports import compare
from eventhpo.log import paths
from eventhpo.log import verify as checking
from eventhpo.log.verify import Check, SignedBy
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


def verified(log: Path, expect: Head | None, *, decide: bool, signed_by: SignedBy | None = None) -> Verified:
    """Return the checks of the log at *log*, those of what lies next to it, and those that are asked for.

    Raises:
        Usage: there is no such file.
    """
    folders = reconcile.listed(paths.jobs(log))  # before the log: a controller that writes makes a row first
    examined = checking.examine(log, expect, signed_by)
    state, folded = _fold(examined.rows)
    at = [check.name for check in examined.checks].index("decode") + 1 if len(examined.checks) > 1 else 1
    checks = [*examined.checks[:at], folded, *examined.checks[at:]]
    if folders and state is not None:
        checks.append(_jobs(log, folders, state, examined.rows))
    notes: list[str] = []
    unchecked: list[str] = []
    if state is not None and not any(check.damage for check in checks):
        check, unchecked = _next_to(log, state, examined.rows)
        checks += [] if check is None else [check]
        if not paths.head(log).exists():
            unchecked.append(f"tail: there is no head file {paths.head(log).name}, so rows may be missing at the end")
        asked = expect is not None or signed_by is not None
        unchecked += _not_asked(examined.rows, asked=asked, decide=decide)
    if decide:
        whole = not any(check.damage for check in checks)
        checks.append(
            decided(log, examined.head.seq) if whole else Check("decide", False, "not looked at: the log is damaged")
        )
        notes += [] if state is None else sister("replay.decide.fingerprints").other_platform(state.fingerprint)
    if state is not None:
        notes += [*adoptions(examined.rows), *missing_files(log, state)]
    return Verified(checks=checks, verdict=verdict_of(checks), head=examined.head, notes=notes, unchecked=unchecked)


def _fold(rows: list[Recorded]) -> tuple[State | None, Check]:
    try:
        state = fold(rows)
    except DamagedLog as error:
        return None, Check("fold", False, str(error))
    return state, Check("fold", True, f"{len(state.trials)} trials, {state.totals.jobs} jobs")


def _jobs(log: Path, names: Sequence[str], state: State, rows: Sequence[Recorded]) -> Check:
    """Return whether the log knows each of the job folders next to it."""
    survey = reconcile.surveyed(paths.jobs(log), names, state, [row.hash for row in rows])
    try:
        reconcile.refuse(survey, state.head, adopt=False)
    except DamagedLog as error:
        return Check("jobs", False, str(error))
    return Check("jobs", True, f"{formatting.plural(len(names), 'job folder')} next to it, and an intent for each")


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
        comparison = compare(rows, folder)
    except OSError as error:
        raise StorageFailed(f"{error.filename} cannot be read: {error.strerror}") from error
    left = []
    if comparison.missing:
        left.append(f"points of {formatting.plural(comparison.missing, 'attempt')}: the report file is gone")
    if comparison.rewritten:
        left.append(
            f"points of {formatting.plural(comparison.rewritten, 'attempt')}: the report file was cut or written anew"
        )
    points, attempts = formatting.plural(comparison.points, "point"), formatting.plural(comparison.attempts, "attempt")
    agreement = f"{points} of {attempts}, as their files have them"
    return Check("reports", comparison.wrong is None, comparison.wrong or agreement), left


def _not_asked(rows: Sequence[Recorded], *, asked: bool, decide: bool) -> Iterator[str]:
    """Yield what nobody asked for, and what would have been found by it."""
    intents = [row.seq for row in rows if isinstance(row.event, JobCreated)]
    if not asked:
        last = intents[-1] if intents else 0
        yield (
            "expected: whether this is the log that you expect: give --head or --signed-by. Keys do not show it: a log "
            f"that was rewritten whole has new keys, and no key names a row after event {last}"
        )
    if not decide:
        yield "decisions: not decided again (--decide)"


def verdict_of(checks: Iterable[Check]) -> VerifyVerdict:
    """Return what *checks* come to."""
    wrong = [check for check in checks if not check.ok]
    if any(check.damage for check in wrong):
        return "damaged"
    return "failed" if wrong else "ok"


def decided(log: Path, seq: int) -> Check:
    """Decide the log at *log* again up to event *seq*, as `eventhpo replay` does, and return the outcome as a check."""
    # Loaded by name: nothing in eventhpo imports replay.
    report = sister("replay.decide.redecide").redecide(log, raise_on_divergence=False, at=seq)
    detail = sister("replay.decide.render").describe_outcome(report)
    return Check("decide", report.verdict in ("ok", "rounded"), detail)


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


def render_checks(verified_log: Verified) -> Iterator[str]:
    """Yield *verified_log* as lines, a check a line, the verdict last."""
    for check in verified_log.checks:
        yield f"{check.name:<9} {'ok' if check.ok else 'WRONG':<6} {_line(check.detail)}"
    for unchecked in verified_log.unchecked:
        yield f"{'unchecked':<9} {'-':<6} {_line(unchecked)}"
    head = f"{verified_log.head.seq}:{verified_log.head.hash}"
    label = "verified up to" if verified_log.verdict == "damaged" else "head"
    yield f"{'verdict':<9} {verified_log.verdict:<6} {label} {head}"


def _line(detail: str) -> str:
    return "".join(c if c.isprintable() else " " for c in detail)
