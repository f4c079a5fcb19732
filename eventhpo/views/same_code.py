"""Which trials ran the same code on the same data: commit, changes to it, script and declared files are equal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec

from eventhpo.core.fold.event_parts import Provenance
from eventhpo.core.fold.state import Attempt, State, Trial
from eventhpo.views import formatting

# script, its hash, commit, digest of the diff, digest of the declared data
Code: TypeAlias = tuple[str | None, str | None, str | None, str | None, str | None]

MOST_NAMED = 3  # files or packages in a line


class CodeChange(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that ran other code than the attempt before it, or on other packages or data, and what differs."""

    trial: int
    attempt: int
    seq: int  # of its intent
    script_changed: bool
    commit_changed: bool
    changes_changed: bool  # what the tree changes of its commit
    packages_changed: bool = False  # of the jobs' interpreter
    data_changed: bool = False  # the content of a declared file
    search_file_changed: bool = False
    what: str


def code_changes(state: State) -> list[CodeChange]:
    """Return the attempts whose code is not that of the attempt before, in the order of the log.

    What the log does not know of an attempt is compared at the next one of which it knows it.
    """
    attempts = sorted((a for trial in state.trials for a in trial.attempts if a.provenance), key=lambda a: a.seq)
    last: dict[str, object] = {}  # what is known of the newest attempt that said it
    changes = []
    for attempt in attempts:
        known = known_code(attempt.provenance)
        parts = {part: last[part] for part, value in known.items() if part in last and last[part] != value}
        if parts:
            changes.append(_change(attempt, parts, state.stored_texts))
        last |= known
    return changes


def describe_change(change: CodeChange) -> str:
    """Return *change* in a line: `from trial 5, attempt 0 on: another train.py`."""
    return f"from trial {change.trial}, attempt {change.attempt} on: {change.what}"


def known_code(provenance: Provenance | None) -> dict[str, object]:
    """Return what the log knows of script, commit, changes, packages, data and search file of an attempt."""
    known: dict[str, object] = {}
    if provenance is None:
        return known
    if provenance.script_hash is not None:
        known["script"] = (provenance.script, provenance.script_hash)
    if provenance.commit is not None:
        known["commit"] = provenance.commit
    if provenance.dirty is False or provenance.diff_sha256 is not None:
        known["changes"] = provenance.diff_sha256
    if provenance.packages_sha256 is not None:
        known["packages"] = provenance.packages_sha256
    if provenance.data_sha256 is not None:
        known["data"] = provenance.data_sha256
    if provenance.search_file_sha256 is not None:
        known["search file"] = provenance.search_file_sha256
    return known


def _change(attempt: Attempt, before: dict[str, object], texts: Mapping[str, str]) -> CodeChange:
    """Return how *attempt* differs; *before* holds what was so until then, for each part that differs.

    *texts* are the lists that the log has, by their digests.
    """
    new = attempt.provenance
    assert new is not None
    words = {
        "script": f"another {formatting.line(new.script or 'script')}",
        "commit": f"commit {formatting.line(str(new.commit)[:12])}, not "
        f"{formatting.line(str(before.get('commit'))[:12])}",
        "changes": f"{'no' if new.diff_sha256 is None else 'other'} changes to the commit",
        "packages": f"other packages{_differing(before.get('packages'), new.packages_sha256, texts)}",
        "data": f"other data{_differing(before.get('data'), new.data_sha256, texts)}",
        "search file": "another search file",
    }
    return CodeChange(
        trial=attempt.trial,
        attempt=attempt.number,
        seq=attempt.seq,
        script_changed="script" in before,
        commit_changed="commit" in before,
        changes_changed="changes" in before,
        packages_changed="packages" in before,
        data_changed="data" in before,
        search_file_changed="search file" in before,
        what=", ".join(text for part, text in words.items() if part in before),
    )


def _differing(before: object, now: str | None, texts: Mapping[str, str]) -> str:
    """Return the names in lines that only one of two lists has, as ` (train.csv)`; empty if a list is not known."""
    old, new = (set(texts.get(str(digest), "").splitlines()) for digest in (before, now))
    if not old or not new:
        return ""
    names = sorted({_name(line) for line in old ^ new})
    more = f" and {len(names) - MOST_NAMED} more" * (len(names) > MOST_NAMED)
    return f" ({', '.join(map(formatting.line, names[:MOST_NAMED]))}{more})"


def _name(line: str) -> str:
    """Return the name in a line of a list: `numpy` of `numpy==2.3.1`, `train.csv` of `<digest> 4 train.csv`."""
    digest, _, rest = line.partition(" ")
    return rest.partition(" ")[2] if rest else digest.partition("==")[0]


def code_of(provenance: Provenance | None) -> Code | None:
    """Return what identifies the code that ran and its data, None if the log does not know it.

    It is not known if there is neither a script's hash nor a commit, or if the tree was changed and its changes have
    no digest, as in logs of before it was recorded.
    """
    if provenance is None or (provenance.script_hash is None and provenance.commit is None):
        return None
    if provenance.dirty and provenance.diff_sha256 is None:
        return None
    script = provenance.script, provenance.script_hash
    return *script, provenance.commit, provenance.diff_sha256, provenance.data_sha256


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
