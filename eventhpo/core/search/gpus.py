"""GPUs as a search names them: the devices of each worker slot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from eventhpo.core.validation.validators import Validator, Wrong, integer

Gpus: TypeAlias = tuple[tuple[int, ...], ...]  # the device numbers of each slot; empty: the search names none

EXPECTED = "a list with an entry for each worker: a device's number, or a list of them, as [0, 1] or [[0, 1], [2, 3]]"
_DEVICE = integer(least=0, most=1023)


def gpus() -> Validator[Gpus]:
    """Return the kind of `gpus`: a list with an entry for each slot, which is a device's number or a list of them.

    A device may stand in several entries, whose jobs then share it, and once in each.
    """
    return Validator(EXPECTED, _read)


def _read(value: object) -> Gpus:
    if not isinstance(value, list | tuple) or not value:
        raise Wrong(EXPECTED)
    return tuple(_devices(entry) for entry in value)


def _devices(entry: object) -> tuple[int, ...]:
    numbers = entry if isinstance(entry, list | tuple) else [entry]
    try:
        devices = tuple(_DEVICE.read(number) for number in numbers)
    except Wrong:
        raise Wrong(EXPECTED) from None
    if not devices or len(set(devices)) < len(devices):
        raise Wrong(f"{EXPECTED}, each number once in an entry")
    return devices


def devices_of(gpus: Gpus) -> tuple[int, ...]:
    """Return the numbers of all devices of *gpus*, each once, in order."""
    return tuple(sorted({device for devices in gpus for device in devices}))


def variable(devices: Sequence[int]) -> str:
    """Return *devices* as `CUDA_VISIBLE_DEVICES` has them: `0,1`."""
    return ",".join(map(str, devices))


def as_written(gpus: Gpus) -> str:
    """Return *gpus* as a search file writes them: `[0, 1]`, or `[[0, 1], [2, 3]]` where a slot has several."""
    if all(len(devices) == 1 for devices in gpus):
        return str([device for (device,) in gpus])
    return str([list(devices) for devices in gpus])
