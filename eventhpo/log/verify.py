"""Check a log as far as it goes: what is damaged is reported, not raised."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from eventhpo.core.fold.codec import GENESIS
from eventhpo.core.fold.collector import collector_paused
from eventhpo.core.fold.events import Head, Recorded, SearchCreated
from eventhpo.errors import DamagedLog, Failed, StorageFailed
from eventhpo.log import chain, check_keys, head, missing_wal, paths, reader, signature, sql
from eventhpo.log.head import HeadFile
from eventhpo.log.signature import ValidSignature
from eventhpo.log.sql import StoredRow

# Checks that fail on a log which is whole in itself: what was asked for, and what lies next to it.
FINDINGS = frozenset({"manifest", "derived", "signature", "expected", "signed", "files", "decide", "wal", "reports"})


class Check(msgspec.Struct, frozen=True):
    """One thing that was checked, and what was found."""

    name: str
    ok: bool
    detail: str

    @property
    def damage(self) -> bool:
        """Whether it says that the log is damaged."""
        return not self.ok and self.name not in FINDINGS


class SignedBy(msgspec.Struct, frozen=True):
    """What signatures are asked of a log: whose (OpenSSH's file of allowed signers), where, and of which files."""

    allowed: Path
    signature: Path | None = None  # default: next to the log
    files: tuple[Path, ...] = ()


class Verification(msgspec.Struct, frozen=True):
    """All checks, the last head that the chain proves, and the rows up to there that could be decoded."""

    checks: list[Check]
    head: Head
    rows: list[Recorded]

    @property
    def ok(self) -> bool:
        """Whether every check is."""
        return all(check.ok for check in self.checks)


def verify(path: Path, expect: Head | None = None) -> list[Check]:
    """Return the checks of `examine`: file, chain, decode, keys, head, wal and, with *expect*, expected.

    Raises:
        Usage: there is no such file.
    """
    return examine(path, expect).checks


def examine(path: Path, expect: Head | None = None, signed_by: SignedBy | None = None) -> Verification:
    """Check the log at *path* and return what its chain proves.

    *expect* is a head that somebody wrote down: it must be a row of the log. With *signed_by* an allowed signer must
    have signed a row of the log, and each of the files.

    Raises:
        Usage: there is no such file, or none of allowed signers.
        StorageFailed, Busy: it cannot be read, and nothing is known about it.
    """
    found = head.read(path)
    try:
        return reader.consult(path, lambda db: _examine(db, path, found, expect, signed_by))
    except DamagedLog as error:  # no database, or not even a file
        return Verification([Check("file", False, str(error))], GENESIS, [])


def _examine(
    db: sqlite3.Connection, path: Path, head_file: HeadFile | str, expect: Head | None, signed_by: SignedBy | None
) -> Verification:
    sql.begin_to_read(db)
    file = _file(db, path)
    proven = _Prefix(db)
    rows, decode = _decode(proven)
    checks = [
        file,
        proven.check(),
        decode,
        _keys(rows),
        _head(head_file, proven, rows, path),
        _wal(head_file, rows, path),
    ]
    if expect is not None:
        checks.append(_expected(expect, proven))
    if signed_by is not None:
        checks += _signed(path, signed_by, _search_id(rows) or "", proven)
    elif paths.sig(path).exists():
        checks += _named_by_signatures(path, _search_id(rows) or "", proven)
    return Verification(checks, proven.head, rows)


class _Prefix:
    """The rows of a log as far as its chain holds, and what ended them."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.head = GENESIS
        self.hashes = [GENESIS.hash]
        self.why: str | None = None
        self._db = db

    def __iter__(self) -> Iterator[StoredRow]:
        seq = 0
        try:
            for row in chain.verified(chain.stored(self._db, 0), GENESIS):
                seq = row[0]
                self.hashes.append(row[7])
                yield row
        except DamagedLog as error:
            self.why = str(error)
        self.head = Head(seq, self.hashes[-1])

    def check(self) -> Check:
        """Return what the chain proves."""
        text = f"{self.head.seq}:{self.head.hash}"
        if self.why is not None:
            return Check("chain", False, f"{self.why}; the last verified head is {text}")
        return Check("chain", self.head.seq > 0, f"{self.head.seq} rows, head {text}")


def _file(db: sqlite3.Connection, path: Path) -> Check:
    try:
        chain.recognise(db, path)
        found = sql.integrity(db)
        wrong = _schema(sql.schema(db))
    except DamagedLog as error:
        return Check("file", False, str(error))
    except sql.TROUBLE as error:
        if not sql.is_damage(error):
            raise
        return Check("file", False, f"SQLite cannot read it: {error}")
    if found != "ok":
        return Check("file", False, f"SQLite's integrity check: {found}")
    return Check("file", not wrong, wrong or "SQLite's integrity check, schema and triggers")


def _schema(statements: dict[str, str]) -> str:
    missing = [name for name in sql.SCHEMA if name not in statements]
    changed = [name for name in sql.SCHEMA if name in statements and statements[name] != sql.SCHEMA[name]]
    foreign = [name for name in statements if name not in sql.SCHEMA]
    parts = (("missing", missing), ("changed", changed), ("not of a log", foreign))
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in parts if names)


def _decode(rows: Iterable[StoredRow]) -> tuple[list[Recorded], Check]:
    known: list[Recorded] = []
    remaining = iter(rows)
    try:
        with collector_paused():
            known.extend(chain.decoded(remaining))  # it keeps what came before an error
    except DamagedLog as error:
        for _ in remaining:  # to the end, whatever can be decoded: the chain is proven on the way
            pass
        return known, Check("decode", False, str(error))
    if known and not isinstance(known[0].event, SearchCreated):
        return known, Check("decode", False, f"seq 1 is no SearchCreated but a {type(known[0].event).__name__}")
    return known, Check("decode", True, f"{len(known)} events")


def _search_id(rows: list[Recorded]) -> str | None:
    first = rows[0].event if rows else None
    return first.search_id if isinstance(first, SearchCreated) else None


def _keys(rows: list[Recorded]) -> Check:
    search_id = _search_id(rows)
    if search_id is None:
        return Check("keys", False, "the log does not say which search it is")
    try:
        intents = check_keys.require(rows, GENESIS, search_id)
    except DamagedLog as error:
        return Check("keys", False, str(error))
    return Check("keys", True, f"each of {intents} intents names the row before it")


def _wal(head_file: HeadFile | str, rows: list[Recorded], path: Path) -> Check:
    outside = head.of_search(head_file, _search_id(rows) or "")
    if (why := missing_wal.unproven(path, outside)) is not None:
        return Check("wal", False, f"{why}; {missing_wal.way_on(path)}")
    if missing_wal.lacks_wal(path):
        return Check("wal", True, "the log was not put to rest, and the head file says that its rows are there")
    return Check("wal", True, "read with the log" if paths.wal(path).exists() else "none: the log is at rest")


def _head(head_file: HeadFile | str, proven: _Prefix, rows: list[Recorded], path: Path) -> Check:
    search_id = _search_id(rows)
    if search_id is None:
        return Check("head", False, "the log does not say which search it is")
    outside = head.of_search(head_file, search_id)
    if outside.head is None:
        return Check("head", True, f"{outside.why}: whether the log lost its tail cannot be told")
    seq = outside.head.seq
    there = proven.hashes[seq] if seq <= proven.head.seq else None
    wrong = head.contradiction(outside.head, proven.head, there)
    if wrong is not None and seq > proven.head.seq:
        wrong += missing_wal.hint(path)
    return Check(
        "head", wrong is None, wrong or f"the head file names seq {seq}, {proven.head.seq - seq} before the last"
    )


def _expected(expect: Head, proven: _Prefix) -> Check:
    if expect.seq > proven.head.seq:
        return Check("expected", False, f"seq {expect.seq} is not in the log, which is proven up to {proven.head.seq}")
    there = proven.hashes[expect.seq]
    same = there == expect.hash
    return Check("expected", same, f"seq {expect.seq} has hash {there}" + ("" if same else f", not {expect.hash}"))


def _signed(path: Path, asked: SignedBy, search_id: str, proven: _Prefix) -> Iterator[Check]:
    """Yield whether an allowed signer signed a row of the log, and the files that are asked for."""
    try:
        signatures = signature.read(path, asked.signature)
    except Failed as error:
        yield Check("signed", False, str(error))
        return
    by_allowed = signature.valid(signatures, asked.allowed)
    if not by_allowed:
        yield Check("signed", False, f"none of its {len(signatures)} signatures is of a signer in {asked.allowed}")
        return
    good, wrong = [], []
    for found in by_allowed:
        seq = found.statement.seq
        there = proven.hashes[seq] if 0 < seq <= proven.head.seq else None
        problem = signature.contradiction(found, search_id, proven.head, there)
        if problem is None:
            good.append(found)
        else:
            wrong.append(problem)
    told = [*wrong, *(_describe_signature(found, proven.head.seq) for found in good)]
    yield Check("signed", not wrong, "; ".join(told))
    if asked.files:
        yield _signed_files(asked.files, good)


def _named_by_signatures(path: Path, search_id: str, proven: _Prefix) -> Iterator[Check]:
    """Yield whether the log has what the signatures next to it name; whose they are needs a file of allowed signers."""
    try:
        signatures = signature.read(path)
    except (Failed, StorageFailed) as error:
        yield Check("signature", False, str(error))
        return
    wrong = []
    for found in signatures:
        statement = found.statement
        there = proven.hashes[statement.seq] if 0 < statement.seq <= proven.head.seq else None
        unnamed = ValidSignature("somebody", statement)
        problem = signature.contradiction(unnamed, search_id, proven.head, there)
        if problem is not None:
            wrong.append(problem)
    named = (
        f"{len(signatures)} next to the log, of rows that it has; --signed-by FILE says whether an allowed signer did"
    )
    yield Check("signature", not wrong, "; ".join(wrong) or named)


def _describe_signature(found: ValidSignature, last: int) -> str:
    statement = found.statement
    after = f", and {last - statement.seq} rows came after it" if last > statement.seq else ""
    files = f"; it names {', '.join(file.name for file in statement.files)}" if statement.files else ""
    return f"{found.signer} signed seq {statement.seq}{after}, at {statement.signed} by their own clock{files}"


def _signed_files(files: Iterable[Path], good: list[ValidSignature]) -> Check:
    """Return whether each of *files* has a digest that a good signature names."""
    signers = {file.sha256: found.signer for found in good for file in found.statement.files}
    digests = [(path, signature.digest_of(path).sha256) for path in files]
    foreign = [path.name for path, digest in digests if digest not in signers]
    if foreign:
        return Check("files", False, f"no good signature names the content of {', '.join(foreign)}")
    return Check("files", True, ", ".join(f"{path.name}, signed by {signers[digest]}" for path, digest in digests))
