"""Makes a bundle: the log, what was found out about it, and a manifest with the digest of each file."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

from eventhpo.cli.read import log_checks
from eventhpo.cli.read.log_checks import VerifyVerdict
from eventhpo.core.fold.events import ControllerStarted, Recorded, TextStored
from eventhpo.core.fold.evolve import fold
from eventhpo.core.fold.state import State
from eventhpo.errors import Failed
from eventhpo.log import paths, signature
from eventhpo.log.backup import backup
from eventhpo.views import csv_text, formatting, top
from replay.decide import render
from replay.decide.redecide import redecide
from replay.decide.report import ReplayVerdict
from replay.evidence.questions import LeftOut, page
from replay.postmortem.files_on_disk import look
from replay.postmortem.report import postmortem
from replay.postmortem.text import render_postmortem
from replay.verified_rows import verified_rows

FORMAT = "eventhpo-evidence-1"
LOG, MANIFEST, PAGE = "search.db", "manifest.json", "README.md"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of every member: the same log gives the same bundle


class BundledFile(msgspec.Struct, frozen=True):
    """Size and digest of a file of a bundle."""

    size: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a bundle holds: of which search, up to which event, made by which version, and its files by name."""

    format: str
    eventhpo: str
    search_id: str
    name: str
    seq: int
    hash: str
    files: dict[str, BundledFile]
    left_out: tuple[LeftOut, ...] = ()


class Made(msgspec.Struct, frozen=True):
    """A bundle as the bytes of a zip file, and what its log came to."""

    content: bytes
    verify: VerifyVerdict
    replay: ReplayVerdict

    @property
    def good(self) -> bool:
        """Whether the log is whole, and each decision was made again as recorded."""
        return self.verify == "ok" and self.replay in ("ok", "rounded")


def make(log: Path) -> Made:
    """Return a bundle of *log*, also of one that fails its checks: then the bundle says so.

    Every decision of the log is made again for it, which takes what `eventhpo replay` takes.

    Raises:
        Usage: there is no such log, or it may lack its last rows.
        DamagedLog: it is damaged or lost its tail: `eventhpo salvage` copies what is left.
        Busy, StorageFailed: it cannot be read or copied.
    """
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / LOG
        backup(log, copy)
        verified = verified_rows(copy)
        verified.require_whole(log)
        rows = verified.rows
        checks = log_checks.verified(log, None, decide=False)
        decided = redecide(copy, raise_on_divergence=False)
        files = dict(_files(log, rows))
        files["verify.txt"] = _text(log_checks.render_checks(checks))
        files["replay.txt"] = _text(line for line in render.render_report(decided) if str(copy) not in line)
        files |= {path.name: path.read_bytes() for path in (copy, paths.head(copy))}
    state = fold(rows)
    left_out = tuple(_left_out(files))
    names = [name for name in (LOG, f"{LOG}.head", f"{LOG}.sig", *_ORDER) if name in files]
    head = f"{state.head.seq}:{state.head.hash}"
    text = page(formatting.line(state.search.name), state.search_id, head, names, left_out)
    members = {PAGE: text.encode()} | {name: files[name] for name in names}
    manifest = Manifest(
        format=FORMAT,
        eventhpo=version("eventhpo"),
        search_id=state.search_id,
        name=state.search.name,
        seq=state.head.seq,
        hash=state.head.hash,
        files={name: digest(content) for name, content in members.items()},
        left_out=left_out,
    )
    encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    return Made(_zipped({MANIFEST: encoded} | members), checks.verdict, decided.verdict)


_ORDER = (
    "provenance.json",
    "trials.csv",
    "verify.txt",
    "replay.txt",
    "postmortem.txt",
    "postmortem.json",
    "report.html",
)


def digest(content: bytes) -> BundledFile:
    """Return size and digest of *content*."""
    return BundledFile(len(content), hashlib.sha256(content).hexdigest())


def _files(log: Path, rows: Sequence[Recorded]) -> Iterator[tuple[str, bytes]]:
    state = fold(rows)
    if paths.sig(log).exists():
        try:
            signature.read(log)
        except Failed:
            pass  # what lies there is no signature, and the page says that there is none
        else:
            yield f"{LOG}.sig", paths.sig(log).read_bytes()
    yield from derived(rows)
    report, _ = postmortem(rows, look(log))
    yield "postmortem.txt", _text(render_postmortem(report, state))
    yield "postmortem.json", _json(report)
    if _can_report():
        from replay.report.build import explanations, of_rows  # noqa: PLC0415  an extra
        from replay.report.page import content, report_page  # noqa: PLC0415

        data = of_rows(rows).data(Path(LOG), look(log), explained=explanations(rows))
        yield "report.html", report_page(content(data)).encode()


def derived(rows: Sequence[Recorded]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a bundle that follow from the rows of its log alone."""
    state = fold(rows)
    yield "provenance.json", _json(_provenance(state, rows))
    ranked = top.rows(state, None, include_failed=True, include_imported=True)
    yield "trials.csv", _text(csv_text.lines(*top.exact_table(state, ranked)))


def _can_report() -> bool:
    return all(importlib.util.find_spec(name) is not None for name in ("altair", "vl_convert"))


def _left_out(files: dict[str, bytes]) -> Iterator[LeftOut]:
    if f"{LOG}.sig" not in files:
        yield LeftOut(f"{LOG}.sig", "the log was not signed (`eventhpo sign`)")
    if "report.html" not in files:
        yield LeftOut("report.html", "the extra `report` was not installed where the bundle was made")


def _provenance(state: State, rows: Sequence[Recorded]) -> dict[str, object]:
    """Return what was asked for, each controller and each attempt with what it ran."""
    attempts = [
        {
            "trial": attempt.trial,
            "attempt": attempt.number,
            "job_id": attempt.job_id,
            "provenance": None if attempt.provenance is None else msgspec.structs.asdict(attempt.provenance),
        }
        for trial in state.trials
        for attempt in trial.attempts
    ]
    controllers = [
        {"seq": row.seq, "host": row.event.host, "pid": row.event.pid, "fingerprint": row.event.fingerprint}
        for row in rows
        if isinstance(row.event, ControllerStarted)
    ]
    return {
        "search_id": state.search_id,
        "search": state.search,
        "policy": state.policy,
        "created_with": state.fingerprint,
        "controllers": controllers,
        "changed_scripts": state.changed_scripts,
        "attempts": attempts,
        "texts": {
            row.event.sha256: {"kind": row.event.kind, "text": row.event.text}
            for row in rows
            if isinstance(row.event, TextStored)
        },
    }


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _text(lines: Iterator[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")


def _zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
