"""The data of a report, from the rows of a log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from eventhpo.core.fold.events import Recorded
from eventhpo.core.fold.state import State
from eventhpo.core.search.spec import ClearmlTasks
from eventhpo.views import as_of, formatting
from replay.explain.collect import of_all
from replay.explain.text import table
from replay.postmortem.files_on_disk import UNSEEN, FilesOnDisk
from replay.postmortem.report import Postmortem
from replay.postmortem.text import describe_epoch
from replay.report.data import ControllerRows, Explained, ImportanceRows, ReportData, ShownObjective
from replay.report.history import History
from replay.report.importance import importance
from replay.report.parameters import parameters, short_names, trial_rows
from replay.report.summary import Oddities, trouble, verdict

MOST_EXPLAINED = 2_000  # trials: the texts of more would take minutes, and `eventhpo explain` has each in a second


class ReportBuilder:
    """Reads a log row by row and gives the data of its report whenever it is asked."""

    def __init__(self, first: Recorded) -> None:
        self.history = History(first)
        self._last = first
        self._oddities = Oddities()
        self._importance: tuple[int, ImportanceRows] | None = None  # with the number of completed trials it rests on

    @property
    def state(self) -> State:
        """The state after the last row."""
        return self.history.state

    @property
    def seq(self) -> int:
        """The last row's seq."""
        return self._last.seq

    def add(self, row: Recorded) -> None:
        """Take in *row*, the one after the last."""
        self._oddities.add(row)
        self.history.add(row)
        self._last = row

    def data(
        self,
        log: Path,
        files: FilesOnDisk = UNSEEN,
        damage: Sequence[str] = (),
        *,
        cut: bool = False,
        goes_on: bool = False,
        explained: Explained | None = None,
    ) -> ReportData:
        """Return the data of a report up to the last row.

        *files* are the files next to the log, *damage* is what is wrong with it. *cut*: rows after these are
        missing. *goes_on*: the log has later rows, which are left out. *explained* has each trial's explanation.
        """
        state, history = self.state, self.history
        report = history.examination.close(files, damage, cut=cut, goes_on=goes_on)
        shown = parameters(state)
        last = as_of.named(self._last)
        return ReportData(
            name=formatting.line(state.search.name),
            search_id=state.search_id,
            log=formatting.line(log.name),
            seq=last.seq,
            head=f"{state.head.seq}:{state.head.hash}",
            as_of=last.at,
            goes_on=goes_on,
            damage=[formatting.line(line) for line in damage],
            tasks=isinstance(state.search.jobs, ClearmlTasks),
            objectives=[
                ShownObjective(formatting.line(formatting.metric(o)), o.maximize) for o in state.search.objectives
            ],
            parameters=shown,
            facts=_asked_for(state),
            verdict=verdict(state, report, short_names([*dict.fromkeys(n for t in state.trials for n in t.params)])),
            trouble=trouble(state, report, self._oddities),
            events=history.events,
            trials=trial_rows(state, shown, history.parameters_known),
            versions=history.versions,
            attempts=history.attempts,
            attempt_versions=history.attempt_versions,
            curves=history.curves,
            prunes=history.prunes,
            standing=history.standing,
            idle=history.idle,
            controllers=_controllers(report),
            importance=self._importances(),
            explained=explained,
        )

    def _importances(self) -> ImportanceRows:
        """Return the importances; they are worked out again only after a trial has completed."""
        completed = self.state.totals.trials["completed"]
        if self._importance is None or self._importance[0] != completed:
            self._importance = (completed, importance(self.state))
        return self._importance[1]


def of_rows(rows: Iterable[Recorded]) -> ReportBuilder:
    """Return a builder that has read the *rows* of a log, of which there is at least one."""
    remaining = iter(rows)
    builder = ReportBuilder(next(remaining))
    for row in remaining:
        builder.add(row)
    return builder


def explanations(rows: Sequence[Recorded]) -> Explained:
    """Return the explanation of each trial, as `eventhpo explain` prints it; of the first `MOST_EXPLAINED` only."""
    return [list(table(explanation)) for explanation in of_all(rows, MOST_EXPLAINED)]


def _controllers(report: Postmortem) -> ControllerRows:
    rows = ControllerRows()
    epochs = report.controllers
    for place, epoch in enumerate(epochs):
        before = epochs[place - 1] if place else None
        rows.seq.append(epoch.first)
        rows.at.append(epoch.began)
        rows.gap.append(0 if before is None else max(0, epoch.began - before.ended))
        rows.text.append(describe_epoch(epoch, epochs[place + 1] if place + 1 < len(epochs) else None))
    return rows


def _asked_for(state: State) -> list[tuple[str, str]]:
    """Return what the search was asked for, as pairs of a name and a text."""
    search, limits = state.search, state.limits
    pairs = [
        ("sampler", formatting.component(search.sampler)),
        ("pruner", formatting.component(search.pruner)),
        ("seed", str(search.seed)),
    ]
    if search.max_iteration_per_job is not None:
        pairs.append(("max_iteration_per_job", str(search.max_iteration_per_job)))
    pairs += [(name, f"{value:g}") for name, value in msgspec.structs.asdict(limits).items() if value is not None]
    return [(name, formatting.line(value)) for name, value in pairs]
