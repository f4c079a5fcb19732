"""Which trials ran the same code: the same commit with the same changes, and the same script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from eventhpo.core.fold.event_parts import Provenance
from eventhpo.core.fold.state import Attempt, Trial

Code: TypeAlias = tuple[str | None, str | None, str | None, str | None]  # script, its hash, commit, digest of the diff


def code_of(provenance: Provenance | None) -> Code | None:
    """Return what identifies the code that ran, None if the log does not know it.

    It is not known if there is neither a script's hash nor a commit, or if the tree was changed and its changes have
    no digest, as in logs of before it was recorded.
    """
    if provenance is None or (provenance.script_hash is None and provenance.commit is None):
        return None
    if provenance.dirty and provenance.diff_sha256 is None:
        return None
    return provenance.script, provenance.script_hash, provenance.commit, provenance.diff_sha256


def codes_of(trial: Trial) -> set[Code | None]:
    """Return the codes of the last attempt of *trial*, and of those whose points it took over."""
    return {code_of(attempt.provenance) for attempt in _attempts_of_value(trial)}


def with_the_code_of_the_best(trials: Sequence[Trial]) -> list[Trial] | None:
    """Return those of *trials*, best first, that ran the code of the first and no other, None if that is not known."""
    if not trials:
        return []
    codes = codes_of(trials[0])
    if None in codes or len(codes) != 1:
        return None
    return [trial for trial in trials if codes_of(trial) == codes]


def _attempts_of_value(trial: Trial) -> Iterator[Attempt]:
    for attempt in reversed(trial.attempts):
        yield attempt
        if attempt.inherited == 0:
            return
