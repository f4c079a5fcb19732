"""The command that a person set for the end of a search: run by a shell, its exit as an event."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from eventhpo.core.fold.events import EndCommandRan
from eventhpo.core.fold.state import State

_PAUSE = 0.1  # seconds between two looks whether the run is to end
GRACE = 5.0  # seconds from SIGTERM to SIGKILL for a command whose run is interrupted


def run_end_command(log: Path, state: State, interrupted: Callable[[], bool]) -> EndCommandRan | None:
    """Run the end command of *state*, whose log lies at *log*; return how it exited.

    None if *interrupted* became true before that: the command is ended, and has to run again.
    What it prints goes to stderr, because stdout is for data.
    """
    assert state.end_command is not None
    assert state.end_command.command is not None
    assert state.finished is not None
    command = state.end_command.command
    environment = os.environ | {
        "EVENTHPO_LOG": str(log.resolve()),
        "EVENTHPO_SEARCH": state.search.name,
        "EVENTHPO_STATE": state.finished.state,
        "EVENTHPO_REASON": state.finished.reason,
    }
    try:
        child = subprocess.Popen(
            ["/bin/sh", "-c", command],
            cwd=state.end_command.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=2,
            start_new_session=True,  # Ctrl-C ends it through us, with all that it started
        )
    except OSError as error:
        folder = state.end_command.folder
        return EndCommandRan(command=command, why=f"it cannot be started in {folder}: {error.strerror}")
    code = _wait(child, interrupted)
    if code is None:
        return None
    return EndCommandRan(command=command, code=code) if code >= 0 else EndCommandRan(command=command, signal=-code)


def _wait(child: subprocess.Popen[bytes], interrupted: Callable[[], bool]) -> int | None:
    while True:
        try:
            return child.wait(_PAUSE)
        except subprocess.TimeoutExpired:
            if interrupted():
                _end(child)
                return None


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the session of *child*: ask first, then kill."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.wait(GRACE)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return
