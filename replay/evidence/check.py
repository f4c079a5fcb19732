"""Checks a bundle with nothing but the bundle: its files against the manifest, the log in it, and who signed it."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

from eventhpo.core.fold.events import Recorded
from eventhpo.errors import DamagedLog, StorageFailed, Usage
from eventhpo.log.verify import Check, SignedBy, examine
from replay.evidence.bundle import FORMAT, LOG, MANIFEST, Manifest, derived, digest
from replay.postmortem.controllers import Epoch
from replay.postmortem.files_on_disk import UNSEEN
from replay.postmortem.report import Postmortem, postmortem
from replay.postmortem.text import render_postmortem
from replay.verified_rows import verified_rows

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
                checks += _derived(archive, log, manifest)
            return checks, manifest
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise DamagedLog(f"{bundle} is no bundle of eventhpo: {error}") from error
    except OSError as error:
        raise StorageFailed(f"{bundle} cannot be read: {error.strerror or error}") from error


def _derived(archive: zipfile.ZipFile, log: Path, manifest: Manifest) -> Iterator[Check]:
    """Yield whether what a bundle says of its log follows from the log, as this version derives it."""
    try:
        rows = verified_rows(log).rows
    except DamagedLog:
        return  # another check says so
    if manifest.eventhpo != version("eventhpo"):
        yield Check("derived", True, f"not compared: another version of eventhpo made it, {manifest.eventhpo}")
        return
    contents = {name: _content(archive, name) for name in manifest.files if name in archive.namelist()}
    wrong = [name for name, content in derived(rows) if contents.get(name) != content]
    wrong += _postmortem_differences(contents, rows)
    told = "provenance.json, trials.csv, postmortem.json and postmortem.txt follow from the log"
    yield Check("derived", not wrong, f"{', '.join(wrong)}: not what follows from the log" if wrong else told)


def _postmortem_differences(contents: Mapping[str, bytes], rows: Sequence[Recorded]) -> list[str]:
    """Return which files of the post-mortem do not follow from *rows*.

    How the last controller ended is also told from the files that lay next to the log, which a bundle does not have.
    """
    wrong = []
    report, state = postmortem(rows, UNSEEN)
    try:
        bundled = msgspec.json.decode(contents.get("postmortem.json", b"{}"), type=Postmortem)
    except (msgspec.DecodeError, ValueError):
        return ["postmortem.json", "postmortem.txt"]
    own = msgspec.structs.replace(
        report, end=bundled.end, signature=bundled.signature, controllers=_same_ends(report, bundled)
    )
    if msgspec.json.encode(own) != msgspec.json.encode(bundled):
        wrong.append("postmortem.json")
    text = "".join(f"{line}\n" for line in render_postmortem(bundled, state)).encode("utf-8", "backslashreplace")
    if text != contents.get("postmortem.txt"):
        wrong.append("postmortem.txt")
    return wrong


def _same_ends(report: Postmortem, bundled: Postmortem) -> list[Epoch]:
    """Return the controllers of *report*, the last of them as it is in *bundled*."""
    return [*report.controllers[:-1], *bundled.controllers[-1:]]


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
