"""The command `eventhpo verify`: check a log."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from eventhpo.cli import arguments, output
from eventhpo.cli.options import FILE, LOG_FILE, json_option


@click.command()
@click.argument("log", type=LOG_FILE)
@click.option(
    "--head", "expect", metavar="SEQ:HASH", help="A head that was written down: it must be in the log.  [default: none]"
)
@click.option(
    "--signed-by",
    type=FILE,
    metavar="FILE",
    help="A signer in this file (ssh-keygen's ALLOWED SIGNERS) must have signed the log.  [default: not asked]",
)
@click.option("--signature", type=FILE, metavar="FILE", help="The signature.  [default: LOG.sig]")
@click.option(
    "--artifact",
    "files",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="The signature must name the content of this file; repeatable.  [default: none]",
)
@click.option("--decide", is_flag=True, help="Decide every decision again, with the samplers of today.  [default: off]")
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    log: Path,
    *,
    expect: str | None,
    signed_by: Path | None,
    signature: Path | None,
    files: tuple[Path, ...],
    decide: bool,
    as_json: bool,
) -> None:
    """Check the log LOG: file, chain, decode, fold, head; the verdict is the last line.

    Exit code 0 if every check is ok, 3 if the log is damaged, 1 if it is whole and a
    check that was asked for fails.
    """
    from eventhpo.cli.read import log_checks  # noqa: PLC0415  the other commands do without
    from eventhpo.log.verify import SignedBy  # noqa: PLC0415

    if signed_by is None and (signature is not None or files):
        raise click.UsageError("--signature and --artifact say what --signed-by checks: name the allowed signers")
    signers = None if signed_by is None else SignedBy(signed_by.expanduser(), signature, files)
    result = log_checks.verified(
        log, None if expect is None else arguments.head(expect), signed_by=signers, decide=decide
    )
    for note in result.notes:
        output.note(f"note: {note}")
    with contextlib.suppress(BrokenPipeError):  # the verdict is the exit code too
        output.data(output.as_json(result) if as_json else log_checks.render_checks(result))
    ctx.exit(result.code)
