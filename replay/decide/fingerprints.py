"""Fingerprints side by side: what a log was decided with, what decides it again, and what differs first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from eventhpo.core.fold.events import ControllerStarted, Recorded, SearchCreated
from eventhpo.core.search.spec import knows_policy

# From what most likely changes a decision to what least does: our rules, the samplers, what rounds; at the end what
# a search may do without.
ORDER = (
    *("eventhpo", "policy", "optuna", "numpy"),
    *("python", "system", "machine", "libc", "simd", "blas"),
    *("scipy", "cmaes", "torch"),
)


class FingerprintDifference(msgspec.Struct, frozen=True):
    """An entry of two fingerprints that is not the same; None where there is none."""

    name: str
    recorded: str | None
    here: str | None


class Fingerprints(msgspec.Struct, frozen=True):
    """The fingerprint that row `seq` recorded, the one of this process, and where they first differ (None: nowhere).

    `seq` is the first row that recorded another one than ours, else the first row.
    """

    seq: int
    recorded: dict[str, str]
    here: dict[str, str]
    first: FingerprintDifference | None

    def differences(self) -> list[FingerprintDifference]:
        """Return all differences in their order."""
        return differences(self.recorded, self.here)


def differences(recorded: Mapping[str, str], here: Mapping[str, str]) -> list[FingerprintDifference]:
    """Return what differs, in `ORDER`; entries of later versions after them, by name.

    An older policy is no difference: the log is still decided by those rules.
    """
    names = [*ORDER, *sorted({*recorded, *here} - {*ORDER})]
    entries = (FingerprintDifference(name, recorded.get(name), here.get(name)) for name in names)
    return [
        entry
        for entry in entries
        if entry.recorded != entry.here and not (entry.name == "policy" and knows_policy(entry.recorded))
    ]


def first(recorded: Mapping[str, str], here: Mapping[str, str]) -> FingerprintDifference | None:
    """Return the first difference, None if there is none."""
    return next(iter(differences(recorded, here)), None)


def of_log(rows: Sequence[Recorded], here: dict[str, str]) -> Fingerprints:
    """Compare *here* with the first recorded fingerprint that differs from it, or with the first if they are equal."""
    for seq, recorded in _recorded(rows):
        if (difference := first(recorded, here)) is not None:
            return Fingerprints(seq, recorded, here, difference)
    seq, recorded = next(_recorded(rows))
    return Fingerprints(seq, recorded, here, None)


def of_row(rows: Sequence[Recorded], seq: int) -> dict[str, str]:
    """Return the fingerprint of the controller that wrote row *seq*."""
    return [recorded for at, recorded in _recorded(rows) if at < seq][-1]


def _recorded(rows: Sequence[Recorded]) -> Iterator[tuple[int, dict[str, str]]]:
    for row in rows:
        if isinstance(row.event, SearchCreated | ControllerStarted):
            yield row.seq, row.event.fingerprint


def other_platform(recorded: Mapping[str, str]) -> list[str]:
    """Return a note that names what differs between the platform that *recorded* describes and this one, if any."""
    from eventhpo.optuna_adapter.fingerprint import fingerprint  # noqa: PLC0415  it loads Optuna

    here = fingerprint()
    differing = (name for name in {*recorded, *here} if recorded.get(name) != here.get(name))
    parts = sorted(name for name in differing if name != "policy" or not knows_policy(recorded.get(name)))
    if not parts:
        return []
    return [f"decided on another platform than this one ({', '.join(parts)}), so decisions may differ by rounding"]
