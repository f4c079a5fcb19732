"""Signatures of a log's head, made and checked by OpenSSH (`ssh-keygen -Y`, namespace `eventhpo`).

The chain proves that no row was changed on its own. Somebody with the code can make all of it anew; a signature is what
such a log cannot have. The file next to the log holds blocks, one a signer: a statement of one line, then the signature
of that line in OpenSSH's armour. The line is what was signed, its line feed included.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from eventhpo.core.fold.events import Head
from eventhpo.errors import DamagedLog, Failed, StorageFailed, Usage
from eventhpo.log import filesystem, missing_wal, paths, reader, refusal

NAMESPACE = "eventhpo"
FORMAT = "eventhpo-signature-1"
LARGEST = 4 * 1024**2  # bytes of a signature file: some thousand files named in it
MOST = 100  # signers of one log
TIME_LIMIT = 120.0  # seconds that ssh-keygen may take: a person types a passphrase, or touches a key
_BLOCK = re.compile(r"(\{[^\n]*\}\n)(-----BEGIN SSH SIGNATURE-----\n[A-Za-z0-9+/=\n]+-----END SSH SIGNATURE-----\n)\n?")


class SignedFile(msgspec.Struct, frozen=True):
    """A file that a signature names: its name without folders, its size in bytes, and its digest."""

    name: str
    size: int
    sha256: str


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is signed: up to which row a log goes, by whom as claimed and when as claimed, and files bound to it."""

    format: str
    search_id: str
    seq: int
    hash: str
    signed: str
    by: str
    files: tuple[SignedFile, ...] = ()


class Signature(msgspec.Struct, frozen=True):
    """A statement as it stands in the file, what it says, and the signature of it."""

    line: str
    statement: Statement
    armour: str


class ValidSignature(msgspec.Struct, frozen=True):
    """A signature that an allowed signer made."""

    signer: str
    statement: Statement


# ---------------------------------------------------------------- signing


def sign(log: Path, key: Path, by: str, files: Sequence[Path] = (), *, ask: bool = True) -> Statement:
    """Sign the head of *log* with *key* and write it to the file next to it; return what was signed.

    A block of the same key is replaced, those of others stay.

    Args:
        log: A log that is whole, so far as can be told; it may be in use.
        key: A private key, or a public one whose private key an agent holds.
        by: Who signs, as claimed.
        files: Files whose digests the statement names, such as the winner's checkpoint.
        ask: Whether a person may be asked for a passphrase.

    Raises:
        Usage: there is no such log, key or file, or ssh-keygen is not installed.
        DamagedLog: the log is damaged or has lost its tail.
        Failed: ssh-keygen did not sign, or what lies there is no signature file.
        StorageFailed: the file cannot be written.
    """
    if not key.is_file():
        raise Usage(f"there is no key {key}; `ssh-keygen -t ed25519` makes one")
    snapshot = reader.read(log)
    if snapshot.contradiction is not None:
        raise DamagedLog(f"{log}: {snapshot.contradiction}; see `eventhpo verify {log}`")
    if snapshot.unproven is not None:
        raise Usage(f"{snapshot.unproven}; {missing_wal.way_on(log)}")
    statement = Statement(
        format=FORMAT,
        search_id=snapshot.search_id,
        seq=snapshot.head.seq,
        hash=snapshot.head.hash,
        signed=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        by=by,
        files=tuple(map(digest_of, files)),
    )
    line = msgspec.json.encode(statement).decode() + "\n"
    earlier = read(log) if paths.sig(log).exists() else []
    armour = _run(["-Y", "sign", "-q", "-f", str(key), "-n", NAMESPACE], line, ask=ask)
    kept = [s for s in earlier if _public_key(s.armour) != _public_key(armour)]
    _write(paths.sig(log), [*kept, Signature(line, statement, armour)])
    return statement


def digest_of(path: Path) -> SignedFile:
    """Return name, size and digest of the file at *path*.

    Raises:
        Usage: there is no such file, or it cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
                size += len(block)
    except OSError as error:
        raise Usage(f"{path} cannot be read: {error.strerror}") from error
    return SignedFile(path.name.encode("utf-8", "backslashreplace").decode(), size, digest.hexdigest())


def _write(target: Path, signatures: Sequence[Signature]) -> None:
    text = "\n".join(s.line + s.armour for s in signatures)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:50]}.", dir=target.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            Path(name).chmod(0o644)
            filesystem.sync_file(Path(name))  # else a loss of power leaves an empty file, which `sign` refuses
            Path(name).replace(target)
            filesystem.sync_folder(target.parent)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StorageFailed(f"{target} cannot be written: {refusal.why(error, target)}") from error


# ---------------------------------------------------------------- reading and checking


def read(log: Path, signature: Path | None = None) -> list[Signature]:
    """Return the signatures of *log*, which stand next to it or in the file *signature*.

    Raises:
        Failed: there is no such file, or it holds something else.
    """
    path = signature or paths.sig(log)
    try:
        if not path.is_file():
            raise Failed(f"there is no signature {path}")
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise StorageFailed(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > LARGEST:
        raise Failed(f"{path} is no signature of eventhpo: it has more than {LARGEST:,} bytes")
    try:
        signatures = list(_blocks(content.decode()))
    except (UnicodeDecodeError, msgspec.DecodeError) as error:
        raise Failed(f"{path} is no signature of eventhpo: {error}") from error
    if not 0 < len(signatures) <= MOST:
        raise Failed(f"{path} is no signature of eventhpo: it has {len(signatures)} of them, expected 1 to {MOST}")
    return signatures


def _blocks(text: str) -> Iterator[Signature]:
    place = 0
    while place < len(text):
        block = _BLOCK.match(text, place)
        if block is None:
            raise msgspec.DecodeError(f"what stands at character {place} is neither a statement nor its signature")
        statement = msgspec.json.decode(block[1].encode(), type=Statement)
        if statement.format != FORMAT:
            raise msgspec.DecodeError(f"its format is {statement.format}, and this version knows {FORMAT}")
        yield Signature(block[1], statement, block[2])
        place = block.end()


def valid(signatures: Sequence[Signature], allowed: Path) -> list[ValidSignature]:
    """Return those of *signatures* that a signer of the file *allowed* made (OpenSSH's ALLOWED SIGNERS format).

    Raises:
        Usage: there is no such file, or ssh-keygen is not installed.
    """
    if not allowed.is_file():
        raise Usage(f"there is no file of allowed signers {allowed}; a line of it is: NAME ssh-ed25519 AAAA...")
    found = []
    with tempfile.TemporaryDirectory() as folder:
        armour = Path(folder) / "armour"
        for signature in signatures:
            armour.write_text(signature.armour)
            signer = _signer(signature, armour, allowed)
            if signer is not None:
                found.append(ValidSignature(signer, signature.statement))
    return found


def _signer(signature: Signature, armour: Path, allowed: Path) -> str | None:
    """Return the principal of the allowed signer who made *signature*; None if none did."""
    among = ["-s", str(armour), "-f", str(allowed)]
    try:
        principals = _run(["-Y", "find-principals", *among], "", ask=False).splitlines()
    except Failed:
        return None
    for principal in principals:
        try:
            _run(["-Y", "verify", *among, "-I", principal, "-n", NAMESPACE], signature.line, ask=False)
        except Failed:
            continue
        return principal
    return None


def contradiction(valid_signature: ValidSignature, search_id: str, end: Head, hash_at: str | None) -> str | None:
    """Return in words how a log contradicts a signature; None if it does not.

    *end* is the last row that the chain proves, *hash_at* the hash of the row that was signed, None if there is none.
    """
    statement = valid_signature.statement
    if statement.search_id != search_id:
        return f"{valid_signature.signer} signed another search ({statement.search_id})"
    if hash_at is None:
        return (
            f"{valid_signature.signer} signed seq {statement.seq}, and the log is proven up to {end.seq}: "
            "it has lost its tail since, or is another log"
        )
    if hash_at != statement.hash:
        return (
            f"{valid_signature.signer} signed seq {statement.seq} with another hash: the log was made anew after it "
            "was signed"
        )
    return None


def _public_key(armour: str) -> bytes:
    """Return the public key that an armoured signature names: the field after magic and version."""
    blob = base64.b64decode("".join(armour.splitlines()[1:-1]))
    length = int.from_bytes(blob[10:14], "big")
    return blob[14 : 14 + length]


def _run(words: Sequence[str], text: str, *, ask: bool) -> str:
    """Return what ssh-keygen prints.

    Raises:
        Usage: it is not installed.
        Failed: it ended with an error, or took too long.
    """
    environment = os.environ if ask else {**os.environ, "SSH_ASKPASS_REQUIRE": "never"}
    try:
        done = subprocess.run(
            ["ssh-keygen", *words],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIME_LIMIT,
            env=environment,
            start_new_session=not ask,  # without a terminal it cannot ask
        )
    except FileNotFoundError as error:
        raise Usage("ssh-keygen is not installed: it comes with OpenSSH (apt-get install openssh-client)") from error
    except subprocess.TimeoutExpired as error:
        raise Failed(f"ssh-keygen did not answer within {TIME_LIMIT:g} s") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise Failed(f"ssh-keygen refused: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout
