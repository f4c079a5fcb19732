"""Which files a search may declare as its data."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def undeclarable(folder: Path, name: str) -> str | None:
    """Return what was expected where *name*, relative to *folder*, cannot be declared as data; None if it can.

    A log lists the files in lines, so a name without a line of its own is refused.
    """
    if not name.isprintable():
        return "the name of a file, without line ends and other control characters"
    path = folder / name
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return f"a file, at {path}"
    except OSError as error:
        return f"a file, at {path} ({os.strerror(error.errno or 0)})"
    if stat.S_ISDIR(mode):
        return "a file, not a folder: name its files"
    if not stat.S_ISREG(mode):
        return "a file, not a pipe, socket or device: its content could not be read twice"
    return None if os.access(path, os.R_OK) else f"a file that can be read, at {path}"
