"""`python -m eventhpo` is the command `eventhpo`."""

from eventhpo.cli import main

main(prog_name="eventhpo")
