"""What Python keeps of a module that it compiled (`__pycache__`), cut by a full disk or a loss of power."""

from __future__ import annotations

import traceback

from eventhpo.errors import StorageFailed


def cut_module(error: Exception) -> StorageFailed | None:
    """Return what to do about the compiled module that *error* met and could not read; None if it met something else.

    Python checks the head of such a file and not its end: it raises EOFError or ValueError, and names no file.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if not frames or frames[-1].f_code.co_name != "_compile_bytecode":
        return None
    path = frames[-1].f_locals.get("bytecode_path")
    return StorageFailed(
        f"Python cannot read the compiled module {path} ({error}), as a full disk or a loss of power leaves it; make "
        "room, delete that file and call the command again: Python compiles the module anew"
    )
