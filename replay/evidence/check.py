"""Checks a bundle with nothing but the bundle: its files against the manifest, the log in it, and who signed it."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from eventhpo.errors import DamagedLog, StorageFailed, Usage
from eventhpo.log.verify import Check, SignedBy, examine
from replay.evidence.bundle import FORMAT, LOG, MANIFEST, Manifest, digest

LARGEST = 4 * 1024**3  # bytes of all files together: a log of ten million events
MOST = 100  # files
_READ = 1 << 20


def check(bundle: Path, allowed: Path | None = None) -> tuple[list[Check], Manifest]:
    """Return the checks of *bundle*: `manifest`, those of the log, and with *allowed* signers `signed`.

    Raises:
        Usage: there is no such file, or none of allowed signers.
        DamagedLog: it is no bundle, or one of its files is too large to be read.
        StorageFailed: it cannot be read.
    """
    if not bundle.is_file():
        raise Usage(f"there is no bundle {bundle}")
    try:
        with zipfile.ZipFile(bundle) as archive, tempfile.TemporaryDirectory() as name:
            manifest = _manifest(archive, bundle)
            wrong = list(_differences(archive, manifest, Path(name)))
            checks = [Check("manifest", not wrong, "; ".join(wrong) or f"{len(manifest.files)} files, each as listed")]
            log = Path(name) / LOG
            if log.exists():
                checks += examine(log, signed_by=None if allowed is None else SignedBy(allowed)).checks
                checks.append(_same_head(log, manifest))
            return checks, manifest
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise DamagedLog(f"{bundle} is no bundle of eventhpo: {error}") from error
    except OSError as error:
        raise StorageFailed(f"{bundle} cannot be read: {error.strerror or error}") from error


def _manifest(archive: zipfile.ZipFile, bundle: Path) -> Manifest:
    infos = archive.infolist()
    if len(infos) > MOST or sum(info.file_size for info in infos) > LARGEST:
        raise DamagedLog(
            f"{bundle} is no bundle of eventhpo: it has {len(infos)} files, or more than {LARGEST:,} bytes"
        )
    try:
        manifest = msgspec.json.decode(_content(archive, MANIFEST), type=Manifest)
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedLog(f"{bundle} is no bundle of eventhpo: it has no {MANIFEST} that can be read") from error
    if manifest.format != FORMAT:
        raise DamagedLog(f"{bundle} has the format {manifest.format}, and this version knows {FORMAT}")
    return manifest


def _content(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return a member; it is read no further than its size says."""
    info = archive.getinfo(name)
    with archive.open(info) as file:
        content = file.read(info.file_size + 1)
    if len(content) > info.file_size:
        raise zipfile.BadZipFile(f"{name} is longer than it says")
    return content


def _differences(archive: zipfile.ZipFile, manifest: Manifest, folder: Path) -> Iterator[str]:
    """Yield how the files differ from the manifest; write the log and what belongs to it into *folder*."""
    names = [info.filename for info in archive.infolist()]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{name} is there twice"
    for name in sorted(set(names) - {*manifest.files, MANIFEST}):
        yield f"{name} is not listed"
    for name, listed in manifest.files.items():
        if name not in names:
            yield f"{name} is missing"
            continue
        content = _content(archive, name)
        if digest(content) != listed:
            yield f"{name} is not the file that is listed"
        if name in (LOG, f"{LOG}.head", f"{LOG}.sig"):
            (folder / name).write_bytes(content)


def _same_head(log: Path, manifest: Manifest) -> Check:
    head = examine(log).head
    same = (head.seq, head.hash) == (manifest.seq, manifest.hash)
    return Check(
        "expected", same, f"the manifest names seq {manifest.seq}" + ("" if same else f", the log ends at {head.seq}")
    )
