"""How much time passed between two looks at a machine's clocks: by one that cannot be set, wherever that is known.

Wall time is what people read, and it is set: by hand, by the first NTP answer, when a
virtual machine is resumed. A boot clock only goes forward, and begins anew with each boot.
"""

from __future__ import annotations

import msgspec


class BootClock(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A clock that nobody can set: the boot that it counts from, and microseconds since then."""

    boot: str
    at: int


class ClockReading(msgspec.Struct, frozen=True, gc=False):
    """What the clocks of one machine said at one moment; `wall` is microseconds since 1970, UTC.

    `boot` is None where it is not known: on a server, and in logs from before it was recorded.
    """

    wall: int
    boot: BootClock | None = None

    def later(self, microseconds: int) -> ClockReading:
        """Return what the same clocks say so much later."""
        boot = self.boot and BootClock(self.boot.boot, self.boot.at + microseconds)
        return ClockReading(self.wall + microseconds, boot)


def elapsed(since: ClockReading, until: ClockReading) -> int:
    """Return microseconds between two readings: by the boot clock if both are of one boot, else by wall time.

    Between two boots that is never negative; between readings without a boot clock it may be.
    """
    if since.boot is not None and until.boot is not None and since.boot.boot == until.boot.boot:
        return until.boot.at - since.boot.at
    wall = until.wall - since.wall
    return wall if until.boot is None else max(0, wall)


def one_boot(first: ClockReading, second: ClockReading) -> bool:
    """Whether both readings have a boot clock, and of the same boot."""
    return first.boot is not None and second.boot is not None and first.boot.boot == second.boot.boot


class Course(msgspec.Struct, frozen=True, gc=False):
    """Our time, through all boots of a search: wall time as it would be if no clock had been set within a boot.

    It begins with the wall time of the first reading. Where no reading has a boot clock it is wall time.
    """

    newest: ClockReading | None = None
    time: int = 0

    def time_of(self, reading: ClockReading) -> int:
        """Return our time at a *reading* that is not older than the newest."""
        return reading.wall if self.newest is None else self.time + elapsed(self.newest, reading)

    def after(self, reading: ClockReading) -> Course:
        """Return the course with *reading* as its newest."""
        return Course(reading, self.time_of(reading))

    def wall_of(self, time: int) -> int:
        """Return *time* as a wall clock shows it that goes on as the newest reading had it."""
        return time if self.newest is None else time - self.time + self.newest.wall
