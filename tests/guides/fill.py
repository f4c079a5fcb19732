"""Run the commands of a page and write what they print into its console blocks, for a person to shorten.

python -m tests.guides.fill docs/first-search.md FOLDER
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.guides.page import run


def main(page: Path, folder: Path) -> None:
    """Fill *page*; what its blocks show now is replaced."""
    text = page.read_text()
    for command in run(page, folder):
        shown = "".join(f"{line}\n" for line in command.shown)
        printed = "".join(f"{line}\n" for line in command.printed)
        block = f"$ {command.words}\n{shown}"
        if not re.search(f"^{re.escape(block)}", text, re.M):
            sys.exit(f"{page}: no block has {command.words}")
        text = text.replace(block, f"$ {command.words}\n{printed}", 1)
    page.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
