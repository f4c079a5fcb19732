"""When an attempt began and ended, by the files in its folder."""

from __future__ import annotations

from typing import TypedDict

from eventhpo.core.fold.clocks import BootClock, ClockReading
from eventhpo.jobs.local.folder import AttemptFolder, Ticket

COARSE = 1_000_000  # microseconds; times of files lag some milliseconds


class Times(TypedDict):
    """The fields of an end that say when."""

    started_at: int | None
    started_boot_clock: BootClock | None
    finished_at: int | None
    finished_boot_clock: BootClock | None


def both(began: ClockReading | None, over: ClockReading | None) -> Times:
    """Return both times as the fields of an `Ended`."""
    return Times(
        started_at=None if began is None else began.wall,
        started_boot_clock=None if began is None else began.boot,
        finished_at=None if over is None else over.wall,
        finished_boot_clock=None if over is None else over.boot,
    )


def began(ticket: Ticket | None) -> ClockReading | None:
    """Return when the job started, by its *ticket*; None if that does not say."""
    return ClockReading(ticket.at, ticket.since_boot) if ticket is not None and ticket.at else None


def last_sign(folder: AttemptFolder, start: ClockReading | None, now: ClockReading) -> ClockReading | None:
    """Return when an attempt that began at *start* last wrote something, None if it never did."""
    sign = folder.last_sign()
    if start is None:
        return ClockReading(sign) if sign else None
    return ClockReading(max(sign, start.wall), _since_boot(start, sign, now))


def _since_boot(start: ClockReading, sign: int, now: ClockReading) -> BootClock | None:
    """Return when a file was written whose wall time is *sign*, by the boot clock of *start* and *now*.

    The wall clock may have been set in between, so *sign* may be by the wall clock of then or of
    now. Of the two moments the earlier one between start and now is taken.
    """
    if start.boot is None or now.boot is None or start.boot.boot != now.boot.boot:
        return None
    first, last = start.boot.at, now.boot.at
    moments = [first + sign - start.wall, last + sign - now.wall]
    moment = min((m for m in moments if first - COARSE <= m <= last + COARSE), default=moments[1])
    return BootClock(now.boot.boot, min(max(moment, first), last))
