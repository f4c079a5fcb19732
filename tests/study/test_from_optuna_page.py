"""The blocks of docs/from-optuna.md run as they stand."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "from-optuna.md").read_text()
SCRIPT, WORKER = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.M | re.S)
COMMANDS = re.findall(r"^    eventhpo (.*)$", PAGE, flags=re.M)


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False)


def test_the_script_of_the_page_runs_twice_and_its_commands_answer(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    for _ in range(2):
        done = run(tmp_path, "train.py")
        assert (done.returncode, done.stdout) == (0, "20 trials\n"), done.stderr
    reading = [command for command in COMMANDS if command.split()[0] not in ("serve", "import", "dashboard", "cancel")]
    assert len(reading) >= 5
    for command in reading:
        done = run(tmp_path, "-m", "eventhpo", *shlex.split(command))
        assert done.returncode == 0, f"{command}: {done.stderr}"


def test_a_worker_of_the_page_runs_against_the_server_of_the_page(tmp_path: Path) -> None:
    objective = SCRIPT.partition("study = ")[0]
    (tmp_path / "make.py").write_text(f"{objective}\neventhpo.create_study('study.db').close()\n")
    assert run(tmp_path, "make.py").returncode == 0
    command = [sys.executable, "-m", "eventhpo", "serve", "study.db", "--port", "0"]
    server = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    port = server.stdout.readline().partition(" is served at ")[2].partition(":")[2].partition(" ")[0]
    server.stdout.close()
    (tmp_path / "worker.py").write_text(objective + WORKER.replace("13000", port).replace("100", "5"))
    done = run(tmp_path, "worker.py")
    server.terminate()
    server.wait()
    assert done.returncode == 0, done.stderr
