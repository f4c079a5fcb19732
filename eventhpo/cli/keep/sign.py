"""The command `eventhpo sign`: say with a key that a log goes so far, and which files belong to it."""

from __future__ import annotations

from pathlib import Path

import click

from eventhpo.cli import output
from eventhpo.cli.options import FILE, json_option


@click.command()
@click.argument("log", type=FILE)
@click.option("--key", type=FILE, required=True, metavar="FILE", help="A private SSH key, or a public one of an agent.")
@click.option(
    "--artifact",
    "files",
    type=FILE,
    multiple=True,
    metavar="FILE",
    help="A file whose content the signature names, such as the winner's model; repeatable.  [default: none]",
)
@click.option("--by", default="", metavar="NAME", help="Who signs, as the signature has it.  [default: login@host]")
@json_option
def sign(log: Path, key: Path, files: tuple[Path, ...], by: str, as_json: bool) -> None:
    """Sign the last event of LOG with an SSH key; the signature is LOG.sig.

    A log can be made anew as a whole, with other results; a signature cannot, without the
    key. `eventhpo verify --signed-by` checks it. A signature by the same key is replaced,
    those of others stay. Uses ssh-keygen.
    """
    from eventhpo.controller.author import this_author  # noqa: PLC0415  reading commands do without
    from eventhpo.log import paths, signature  # noqa: PLC0415

    statement = signature.sign(log, key.expanduser(), this_author(by).by, [file.expanduser() for file in files])
    named = "".join(f", with {file.name}" for file in statement.files)
    text = f"signed: {log} up to event {statement.seq}{named} ({paths.sig(log).name})"
    output.data(output.as_json(statement) if as_json else [text])
