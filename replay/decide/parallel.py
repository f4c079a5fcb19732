"""A log decided again by several processes: each takes a share of its ranges.

A process is a Python of its own that reads the log itself: nothing is forked next to
the threads of a BLAS, and nothing but JSON goes from one to the other.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from eventhpo.core.fold import codec
from eventhpo.core.fold.event_families import Decision
from eventhpo.core.fold.events import Event, Head, Recorded
from eventhpo.core.fold.progress import tell, told_to
from eventhpo.errors import Busy, DamagedLog, EventhpoError, Failed, StorageFailed, Usage
from eventhpo.log import reader
from replay.decide import supplied
from replay.decide.check_prefixes import check_prefixes
from replay.decide.checked import BLOCK, Checked, WalkShare
from replay.decide.divergence import Divergence
from replay.decide.fingerprints import FingerprintDifference
from replay.decide.nearness import Near
from replay.decide.rounding import Apart, Rounded

_WHAT = "deciding again"
_FAR = b"far "  # begins a line of a child that says how far it is
_LINES = 20  # rows from one such line to the next
_ERRORS: dict[int, type[EventhpoError]] = {e.code: e for e in (Failed, Usage, DamagedLog, Busy, StorageFailed)}


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows of which log are decided again, and by whom."""

    head: Head
    share: WalkShare = WalkShare()
    go_on: bool = False
    sampler: str | None = None
    pruner: str | None = None
    oracle: bool = False


class _DivergenceRecord(msgspec.Struct, frozen=True):
    """A divergence as it goes from process to process: what stands in the log is there."""

    seq: int
    decided: tuple[str, str] | None  # type and body
    cause: int | None
    due: str
    failed: str | None
    near: Near | None


class _RoundedRecord(msgspec.Struct, frozen=True):
    """A rounding likewise."""

    seq: int
    decided: tuple[str, str]
    apart: Apart
    because: tuple[FingerprintDifference, ...]


class _WorkerReport(msgspec.Struct, frozen=True):
    parted: list[_DivergenceRecord] = []
    skipped: list[tuple[int, str]] = []
    rounded: list[_RoundedRecord] = []
    error: tuple[int, str] | None = None  # code and message


def findings(checks: Iterable[Checked], *, go_on: bool) -> Iterator[Checked]:
    """Yield the checks that say more than "as recorded", up to the first divergence unless *go_on*."""
    for checked in checks:
        if checked.divergence is not None or checked.skipped is not None or checked.rounded is not None:
            yield checked
        if checked.divergence is not None and not go_on:
            return


def useful(rows: Iterable[Recorded], processes: int) -> int:
    """Return how many of *processes* processes would have a share of *rows*."""
    blocks = -(-sum(isinstance(row.event, Decision) for row in rows) // BLOCK)
    return max(1, min(processes, blocks))


def asked(path: Path, question: Question, rows: list[Recorded], processes: int) -> list[Checked]:
    """Return the findings of *processes* processes, each with its share of *rows* of the log at *path*, by seq."""
    with contextlib.ExitStack() as stack:
        children = [stack.enter_context(_child(path, question, WalkShare(n, processes))) for n in range(processes)]
        answers = [_answer(child) for child in children]
    checks = [check for answer in answers for check in _checked(answer, rows)]
    return sorted(checks, key=lambda checked: checked.seq)


@contextlib.contextmanager
def _child(path: Path, question: Question, share: WalkShare) -> Iterator[subprocess.Popen[bytes]]:
    words = msgspec.json.encode(msgspec.structs.replace(question, share=share)).decode()
    # What is imported here shall be found there, wherever it lies.
    env = os.environ | {"PYTHONPATH": os.pathsep.join(place or str(Path.cwd()) for place in sys.path)}
    # -P: the current folder is on the path only if here. The log's path is bytes, which JSON need not be able to carry.
    command = [sys.executable, "-P", "-m", "replay.decide.parallel", words, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as child:
        try:
            yield child
        finally:
            child.kill()  # nothing, once it has ended


def _answer(child: subprocess.Popen[bytes]) -> _WorkerReport:
    out = _last_line(child)
    if child.wait() != 0:
        raise Failed(
            f"a process that decided a share of the log ended with {child.returncode} before it was done; "
            "fewer processes need less memory"
        )
    answer = msgspec.json.decode(out, type=_WorkerReport)
    if answer.error is not None:
        code, message = answer.error
        raise _ERRORS[code](message)
    return answer


def _last_line(child: subprocess.Popen[bytes]) -> bytes:
    """Return the answer of *child*, the line after those that say how far it is."""
    assert child.stdout is not None
    line = b""
    for line in child.stdout:
        if line.startswith(_FAR):
            done, total = line.removeprefix(_FAR).split()
            tell(_WHAT, int(done), int(total))
    tell(_WHAT, 0, 0)
    return line


def _checked(answer: _WorkerReport, rows: list[Recorded]) -> Iterator[Checked]:
    for record in answer.parted:
        row, event = rows[record.seq - 1], None if record.decided is None else _event(*record.decided)
        yield Checked(
            record.seq,
            False,
            Divergence(
                record.seq, row.event, row.cause, event, record.cause, record.due, record.failed, near=record.near
            ),
        )
    for seq, why in answer.skipped:
        yield Checked(seq, True, None, why)
    for rounding in answer.rounded:
        row = rows[rounding.seq - 1]
        near_equal = Rounded(
            rounding.seq, row.cause, row.event, _event(*rounding.decided), rounding.apart, rounding.because
        )
        yield Checked(rounding.seq, True, None, rounded=near_equal)


def _event(name: str, body: str) -> Event:
    return codec.decode(name, codec.VERSIONS[name], body)


# ---------------------------------------------------------------- in the other process


def _share(path: Path, question: Question) -> _WorkerReport:
    # The one that shares it out has proven the log; its head says that this is the same one.
    rows = [row for row in reader.read(path, verify=False).rows if row.seq <= question.head.seq]
    if not rows or Head(rows[-1].seq, rows[-1].hash) != question.head:
        raise DamagedLog(f"{path} was replaced while it was decided again")
    sampler, pruner = supplied.sampler(question.sampler), supplied.pruner(question.pruner)
    checks = check_prefixes(rows, sampler=sampler, pruner=pruner, share=question.share, oracle=question.oracle)
    checks_to_send = list(findings(checks, go_on=question.go_on))
    return _WorkerReport(
        [_sent(check.divergence) for check in checks_to_send if check.divergence is not None],
        [(check.seq, check.skipped) for check in checks_to_send if check.skipped is not None],
        [
            _RoundedRecord(check.seq, _event_sent(check.rounded.decided), check.rounded.apart, check.rounded.because)
            for check in checks_to_send
            if check.rounded is not None
        ],
    )


def _sent(divergence: Divergence) -> _DivergenceRecord:
    decided = None if divergence.decided is None else _event_sent(divergence.decided)
    return _DivergenceRecord(
        divergence.seq, decided, divergence.decided_cause, divergence.due, divergence.failed, divergence.near
    )


def _event_sent(event: Event) -> tuple[str, str]:
    return type(event).__name__, codec.encode(event)


def _main(words: str, path: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches all; the one that was called says what is said
    question = msgspec.json.decode(words, type=Question)
    # What a sampler of the user's own prints must not stand in the answer.
    out, sys.stdout = sys.stdout, sys.stderr

    def tell_parent(what: str, done: int, total: int) -> None:
        # One share stands for all.
        if question.share.number == 0 and what == _WHAT and done % _LINES == 0:
            out.buffer.write(b"%b%d %d\n" % (_FAR, done, total))
            out.flush()

    try:
        with told_to(tell_parent):
            answer = _share(Path(path), question)
    except EventhpoError as error:
        answer = _WorkerReport(error=(error.code, str(error)))
    out.buffer.write(msgspec.json.encode(answer))
    out.flush()


if __name__ == "__main__":
    _main(*sys.argv[1:])
