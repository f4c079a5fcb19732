"""A folder in memory for the logs of tests that make thousands: their fsyncs need no disk."""

from pathlib import Path

_SHM = Path("/dev/shm")  # noqa: S108
MEMORY = str(_SHM) if _SHM.is_dir() else None
