"""The command `evidence`: a log with all that an auditor needs, in one file."""

from __future__ import annotations

from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import FILE, LOG_FILE, json_option
from eventhpo.core.fold.events import Head
from eventhpo.errors import Usage
from replay.cli.written_file import write_new


@click.command()
@click.argument("log", type=LOG_FILE)
@click.option(
    "-o",
    "--output",
    "target",
    type=FILE,
    metavar="FILE",
    help="The bundle; one that is there is replaced.  [default: the log's name with .zip, in this folder]",
)
@click.option("--check", is_flag=True, help="LOG is a bundle: check it.  [default: make one]")
@click.option(
    "--signed-by",
    type=FILE,
    metavar="FILE",
    help="With --check: a signer in this file must have signed the log.  [default: not asked]",
)
@json_option
@click.pass_context
def evidence(
    ctx: click.Context, log: Path, *, target: Path | None, check: bool, signed_by: Path | None, as_json: bool
) -> None:
    """Put LOG and all that an auditor needs into one zip file.

    The log, its signature, what ran where, the result of `replay`, `postmortem` and
    `verify`, the report, a manifest of digests, and a page that says which question is
    answered where. With --check, a bundle is checked: exit code 0 if all is as it should
    be, 1 if a check fails, 3 if the log in it or the bundle is damaged.
    """
    if check:
        ctx.exit(_check(log, signed_by, as_json=as_json))
    if signed_by is not None:
        raise Usage("--signed-by goes with --check: a bundle takes the signature along that lies next to the log")
    from replay.evidence.bundle import make  # noqa: PLC0415  the help must not wait for it

    bundle = target or Path(f"{log.stem}.zip")
    made = make(log)
    write_new(bundle, made.content, log)
    if as_json:
        told = {"bundle": str(bundle), "bytes": len(made.content), "verify": made.verify, "replay": made.replay}
        output.data(output.as_json(told))
    else:
        output.data([str(bundle)])
    if not made.good:
        output.note(f"what it says of the log is not good: verify {made.verify}, replay {made.replay}")
        ctx.exit(1)


def _check(bundle: Path, signed_by: Path | None, *, as_json: bool) -> int:
    from eventhpo.cli.read.log_checks import Verified, render_checks, verdict_of  # noqa: PLC0415  likewise
    from replay.evidence.check import check  # noqa: PLC0415

    checks, manifest = check(bundle, signed_by)
    unchecked = [
        "decisions: not decided again (unpack it, then `eventhpo replay search.db`)",
        "files: verify.txt, replay.txt and report.html are as the bundle says; only search.db is signed",
    ]
    if signed_by is None:
        unchecked.append("signed: no signer was given (--signed-by): a bundle can be made anew as a whole")
    result = Verified(
        checks=checks,
        verdict=verdict_of(checks),
        head=Head(manifest.seq, manifest.hash),
        notes=[],
        unchecked=unchecked,
    )
    output.data(output.as_json(result) if as_json else render_checks(result))
    return result.code
