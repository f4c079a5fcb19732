"""Scripts with the real SDK, each in a process of its own: the SDK's session and configuration are global in one."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.clearml_server.server import ClearmlServer

LONG = 60  # seconds; an SDK job takes one to start on a free machine

# A session that sends each request once: the start of a script whose first argument is a task.
SESSION = """
import json, sys
from clearml.backend_api import Session
from clearml.backend_api.services import events, queues, tasks
session = Session(http_retries_config=dict(total=0, connect=0, read=0, status=0))
base = sys.argv[1]
"""


def sdk(server: ClearmlServer, script: str, *args: str, seconds: int = LONG) -> str:
    """What a script with the real SDK prints, run against the server in a process of its own."""
    environment = {**os.environ, **server.environment()}
    command = [sys.executable, "-W", "ignore", *([script] if script.endswith(".py") else ["-c", script]), *args]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
