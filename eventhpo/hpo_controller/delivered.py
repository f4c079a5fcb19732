"""What a controller has handed on, in a file next to its log: jobs that were called back, trials that were reported."""

from __future__ import annotations

from pathlib import Path

SUFFIX = ".delivered"


class Delivered:
    """Lines `called <task id>` and `reported <number of trials>`; the file is only appended to.

    A call is noted after it was made. So a crash between both repeats one call and loses none. Task ids are
    unique, so a file that lies next to another log changes nothing; without the file all is handed on again.
    """

    def __init__(self, log: Path) -> None:
        real = log.resolve()
        self._path = real.with_name(real.name + SUFFIX)
        self.called: set[str] = set()
        self.reported = 0
        if self._path.exists():
            for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
                self._take(*line.partition(" ")[::2])

    def _take(self, kind: str, text: str) -> None:
        if kind == "called":
            self.called.add(text)
        elif kind == "reported" and text.isdecimal():
            self.reported = int(text)

    def note_called(self, task_id: str) -> None:
        """Note that the callback for *task_id* has returned."""
        self._note("called", task_id)

    def note_reported(self, trials: int) -> None:
        """Note that the curves have been sent for the first *trials* trials."""
        self._note("reported", str(trials))

    def _note(self, kind: str, text: str) -> None:
        self._take(kind, text)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{kind} {text}\n")
